package scsi

// Mode pages (SPC-4 section 7.5, SBC-3 section 6.5).
const (
	ModePageCaching uint8 = 0x08
	ModePageControl uint8 = 0x0a
	ModePageAll     uint8 = 0x3f
)

// Mode is what MODE SENSE tells of a disk: of the many pages the two that matter
// to one who writes.
type Mode struct {
	WriteProtected bool // WP
	DPOFUA         bool // the DPO and FUA bits are obeyed

	HasCaching bool // the caching page is there; without it WCE says nothing
	WCE        bool // write cache enabled
	RCD        bool // read cache disabled

	HasControl       bool  // the control page is there
	DescriptorSense  bool  // D_SENSE
	SoftwareProtect  bool  // SWP
	TaskAbortedState bool  // TAS: commands aborted by others end with TASK ABORTED
	QueueAlgorithm   uint8 // QUEUE ALGORITHM MODIFIER: 0 restricted, 1 unrestricted reordering
	UAIntlck         uint8 // UA_INTLCK_CTRL
}

const (
	modeHeader6  = 4
	modeHeader10 = 8

	bitWP      = 0x80
	bitDPOFUA  = 0x10
	bitSubPage = 0x40 // SPF

	cachingLength = 0x12
	controlLength = 0x0a
)

// ParseMode6 reads MODE SENSE(6) data (SPC-4 section 7.5.4).
func ParseMode6(b []byte) (Mode, error) {
	if len(b) < modeHeader6 {
		return Mode{}, tooShort("MODE SENSE(6) data", len(b), modeHeader6)
	}
	b = b[:min(len(b), max(modeHeader6, 1+int(b[0])))]
	return senseMode(b[2], int(b[3]), b[modeHeader6:]), nil
}

// ParseMode10 reads MODE SENSE(10) data (SPC-4 section 7.5.4).
func ParseMode10(b []byte) (Mode, error) {
	if len(b) < modeHeader10 {
		return Mode{}, tooShort("MODE SENSE(10) data", len(b), modeHeader10)
	}
	b = b[:min(len(b), max(modeHeader10, 2+int(be.Uint16(b))))]
	return senseMode(b[3], int(be.Uint16(b[6:])), b[modeHeader10:]), nil
}

// senseMode reads block descriptors, which are skipped, and pages. Pages cut
// short by the allocation length count if what matters of them is there.
func senseMode(device uint8, descriptors int, b []byte) Mode {
	m := Mode{WriteProtected: device&bitWP != 0, DPOFUA: device&bitDPOFUA != 0}
	for b = b[min(descriptors, len(b)):]; len(b) > 0; {
		page := b[:min(pageLength(b), len(b))]
		m.addPage(page)
		b = b[len(page):]
	}
	return m
}

// pageLength tells how long the mode page at the start of b is, header
// included. It is more than b has if b does not even have the header.
func pageLength(b []byte) int {
	switch {
	case len(b) < 2:
		return 2
	case b[0]&bitSubPage == 0:
		return 2 + int(b[1])
	case len(b) < 4:
		return 4
	}
	return 4 + int(be.Uint16(b[2:]))
}

// addPage takes over a page, and is false if it is another or too short.
func (m *Mode) addPage(p []byte) bool {
	switch code := p[0] & 0x7f; {
	case code == ModePageCaching && len(p) >= 3:
		m.HasCaching = true
		m.WCE, m.RCD = p[2]&0x04 != 0, p[2]&0x01 != 0
	case code == ModePageControl && len(p) >= 6:
		m.HasControl = true
		m.DescriptorSense = p[2]&0x04 != 0
		m.QueueAlgorithm = p[3] >> 4
		m.UAIntlck = p[4] >> 4 & 3
		m.SoftwareProtect = p[4]&0x08 != 0
		m.TaskAbortedState = p[5]&0x40 != 0
	default:
		return false
	}
	return true
}

// Append6 appends MODE SENSE(6) data: the header, no block descriptor, and the
// pages that m has.
func (m Mode) Append6(dst []byte) []byte {
	start := len(dst)
	dst = m.appendPages(append(dst, 0, 0, m.device(), 0))
	dst[start] = uint8(len(dst) - start - 1)
	return dst
}

// Append10 appends MODE SENSE(10) data.
func (m Mode) Append10(dst []byte) []byte {
	start := len(dst)
	dst = m.appendPages(append(dst, 0, 0, 0, m.device(), 0, 0, 0, 0))
	be.PutUint16(dst[start:], uint16(len(dst)-start-2))
	return dst
}

func (m Mode) device() (b uint8) {
	setBit(&b, bitWP, m.WriteProtected)
	setBit(&b, bitDPOFUA, m.DPOFUA)
	return b
}

func (m Mode) appendPages(dst []byte) []byte {
	if m.HasCaching {
		p := [2 + cachingLength]byte{ModePageCaching, cachingLength}
		setBit(&p[2], 0x04, m.WCE)
		setBit(&p[2], 0x01, m.RCD)
		dst = append(dst, p[:]...)
	}
	if m.HasControl {
		p := [2 + controlLength]byte{ModePageControl, controlLength}
		setBit(&p[2], 0x04, m.DescriptorSense)
		p[3] = m.QueueAlgorithm << 4
		p[4] = m.UAIntlck & 3 << 4
		setBit(&p[4], 0x08, m.SoftwareProtect)
		setBit(&p[5], 0x40, m.TaskAbortedState)
		dst = append(dst, p[:]...)
	}
	return dst
}
