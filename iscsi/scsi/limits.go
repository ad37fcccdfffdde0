package scsi

// BlockLimits is what a logical unit likes and takes (page B0h, SBC-3 section
// 6.6.4). Lengths are in logical blocks; zero is "not said" unless noted.
type BlockLimits struct {
	WSNZ            bool   // a WRITE SAME of 0 blocks is refused
	MaxCompareWrite uint8  // 0: COMPARE AND WRITE is not supported
	OptGranularity  uint16 // transfers should be multiples of it
	MaxTransfer     uint32 // longest READ or WRITE
	OptTransfer     uint32 // above it things get slower
	MaxPrefetch     uint32

	MaxUnmapLBAs        uint32 // in one UNMAP, all ranges together; 0: UNMAP not supported
	MaxUnmapDescriptors uint32 // ranges in one UNMAP; 0: UNMAP not supported
	UnmapGranularity    uint32
	UnmapAlignment      uint32 // first block that lies on the granularity
	UnmapAlignmentValid bool   // UGAVALID

	MaxWriteSame uint64
}

const (
	limitsLength    = 0x3c
	alignmentIsGood = 1 << 31
)

// ParseBlockLimits reads VPD page B0h. Older, shorter forms of the page are
// read as far as they go.
func ParseBlockLimits(b []byte) (BlockLimits, error) {
	body, err := vpdBody(PageBlockLimits, b)
	if err != nil {
		return BlockLimits{}, err
	}
	var f [vpdHeader + limitsLength]byte
	copy(f[vpdHeader:], body)
	l := BlockLimits{
		WSNZ:                f[4]&1 != 0,
		MaxCompareWrite:     f[5],
		OptGranularity:      be.Uint16(f[6:]),
		MaxTransfer:         be.Uint32(f[8:]),
		OptTransfer:         be.Uint32(f[12:]),
		MaxPrefetch:         be.Uint32(f[16:]),
		MaxUnmapLBAs:        be.Uint32(f[20:]),
		MaxUnmapDescriptors: be.Uint32(f[24:]),
		UnmapGranularity:    be.Uint32(f[28:]),
		MaxWriteSame:        be.Uint64(f[36:]),
	}
	if a := be.Uint32(f[32:]); a&alignmentIsGood != 0 {
		l.UnmapAlignment, l.UnmapAlignmentValid = a&^alignmentIsGood, true
	}
	return l, nil
}

// Append appends VPD page B0h.
func (l BlockLimits) Append(dst []byte) []byte {
	var f [vpdHeader + limitsLength]byte
	f[0], f[1], f[3] = DiskType, PageBlockLimits, limitsLength
	setBit(&f[4], 1, l.WSNZ)
	f[5] = l.MaxCompareWrite
	be.PutUint16(f[6:], l.OptGranularity)
	be.PutUint32(f[8:], l.MaxTransfer)
	be.PutUint32(f[12:], l.OptTransfer)
	be.PutUint32(f[16:], l.MaxPrefetch)
	be.PutUint32(f[20:], l.MaxUnmapLBAs)
	be.PutUint32(f[24:], l.MaxUnmapDescriptors)
	be.PutUint32(f[28:], l.UnmapGranularity)
	if l.UnmapAlignmentValid {
		be.PutUint32(f[32:], l.UnmapAlignment|alignmentIsGood)
	}
	be.PutUint64(f[36:], l.MaxWriteSame)
	return append(dst, f[:]...)
}

// BlockCharacteristics is page B1h (SBC-3 section 6.6.2).
type BlockCharacteristics struct {
	// Rotation is the medium's rotation rate: 0 not said, 1 it does not
	// rotate, else turns per minute.
	Rotation   uint16
	FormFactor uint8 // NOMINAL FORM FACTOR
	Zoned      uint8 // 1 host aware, 2 device managed
	FUAB       bool  // FUA and SYNCHRONIZE CACHE go by SBC-3, not by older rules
}

const (
	characteristicsLength = 0x3c

	// NonRotating is the Rotation of solid state media.
	NonRotating = 1
)

// Rotational reports whether the medium is said to rotate.
func (c BlockCharacteristics) Rotational() bool { return c.Rotation > 0x400 && c.Rotation < 0xffff }

// ParseBlockCharacteristics reads VPD page B1h.
func ParseBlockCharacteristics(b []byte) (BlockCharacteristics, error) {
	body, err := vpdBody(PageBlockCharacteristics, b)
	if err != nil {
		return BlockCharacteristics{}, err
	}
	var f [5]byte
	copy(f[:], body)
	return BlockCharacteristics{
		Rotation:   be.Uint16(f[0:]),
		FormFactor: f[3] & 0x0f,
		Zoned:      f[4] >> 4 & 3,
		FUAB:       f[4]&2 != 0,
	}, nil
}

// Append appends VPD page B1h.
func (c BlockCharacteristics) Append(dst []byte) []byte {
	var f [vpdHeader + characteristicsLength]byte
	f[0], f[1], f[3] = DiskType, PageBlockCharacteristics, characteristicsLength
	be.PutUint16(f[4:], c.Rotation)
	f[7] = c.FormFactor & 0x0f
	f[8] = c.Zoned & 3 << 4
	setBit(&f[8], 2, c.FUAB)
	return append(dst, f[:]...)
}

// Provisioning types (SBC-3 section 6.6.5).
const (
	ProvisioningUnknown uint8 = 0 // fully provisioned, or not said
	ProvisioningSparse  uint8 = 1 // resource provisioned
	ProvisioningThin    uint8 = 2
)

// LogicalProvisioning is page B2h (SBC-3 section 6.6.5): what may be unmapped,
// and how.
type LogicalProvisioning struct {
	ThresholdExponent uint8
	LBPU              bool // UNMAP
	LBPWS             bool // WRITE SAME(16) with UNMAP
	LBPWS10           bool // WRITE SAME(10) with UNMAP
	LBPRZ             bool // unmapped blocks read as zeroes
	Anchor            bool // ANC_SUP
	Type              uint8
}

// ParseLogicalProvisioning reads VPD page B2h.
func ParseLogicalProvisioning(b []byte) (LogicalProvisioning, error) {
	body, err := vpdBody(PageLogicalProvisioning, b)
	if err != nil {
		return LogicalProvisioning{}, err
	}
	var f [4]byte
	copy(f[:], body)
	return LogicalProvisioning{
		ThresholdExponent: f[0],
		LBPU:              f[1]&0x80 != 0,
		LBPWS:             f[1]&0x40 != 0,
		LBPWS10:           f[1]&0x20 != 0,
		// SBC-4 made LBPRZ three bits wide; the old bit still means zeroes,
		// 010b is a pattern of the vendor's.
		LBPRZ:  f[1]&0x04 != 0,
		Anchor: f[1]&0x02 != 0,
		Type:   f[2] & 7,
	}, nil
}

// Append appends VPD page B2h.
func (p LogicalProvisioning) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendVPD(dst, PageLogicalProvisioning)
	var flags uint8
	setBit(&flags, 0x80, p.LBPU)
	setBit(&flags, 0x40, p.LBPWS)
	setBit(&flags, 0x20, p.LBPWS10)
	setBit(&flags, 0x04, p.LBPRZ)
	setBit(&flags, 0x02, p.Anchor)
	return endVPD(append(dst, p.ThresholdExponent, flags, p.Type&7, 0), start)
}
