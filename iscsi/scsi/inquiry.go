package scsi

import "strings"

// Peripheral qualifiers and device types (SPC-4 section 6.6.2).
const (
	QualifierConnected uint8 = 0 // the logical unit is there, or may be
	QualifierNotHere   uint8 = 1 // supported, but not there now
	QualifierNone      uint8 = 3 // no logical unit can be at this LUN

	DiskType    uint8 = 0x00 // direct access block device
	UnknownType uint8 = 0x1f
)

// TPGS values of InquiryData (SPC-4 section 6.6.2).
const (
	TPGSNone     uint8 = 0
	TPGSImplicit uint8 = 1
	TPGSExplicit uint8 = 2
	TPGSBoth     uint8 = 3
)

// InquiryData is the standard INQUIRY data (SPC-4 section 6.6.2).
type InquiryData struct {
	PeripheralQualifier uint8
	DeviceType          uint8
	Removable           bool
	Version             uint8 // 5 SPC-3, 6 SPC-4
	HiSup               bool
	TPGS                uint8 // asymmetric access: see TPGSNone and its like
	ThirdPartyCopy      bool
	Protect             bool
	MultiPort           bool
	CommandQueuing      bool

	Vendor   string // at most 8 bytes
	Product  string // at most 16 bytes
	Revision string // at most 4 bytes

	// Descriptors are the version descriptors: standards claimed.
	Descriptors [8]uint16
}

const (
	inquiryMin     = 36 // the part that every device has
	inquiryLength  = 96 // what Append writes
	versionsOffset = 58
)

// Present reports whether there is a logical unit behind the answer.
func (d InquiryData) Present() bool {
	return d.PeripheralQualifier == QualifierConnected && d.DeviceType != UnknownType
}

// ParseInquiry reads standard INQUIRY data. Text is given without padding, and
// bytes in it that are not printable ASCII as question marks.
func ParseInquiry(b []byte) (InquiryData, error) {
	if len(b) < 5 {
		return InquiryData{}, tooShort("INQUIRY data", len(b), 5)
	}
	// Old devices give an additional length that leaves out the names.
	b = b[:min(len(b), max(inquiryMin, 5+int(b[4])))]
	var f [inquiryLength]byte
	copy(f[:], b)
	d := InquiryData{
		PeripheralQualifier: f[0] >> 5,
		DeviceType:          f[0] & 0x1f,
		Removable:           f[1]&0x80 != 0,
		Version:             f[2],
		HiSup:               f[3]&0x10 != 0,
		TPGS:                f[5] >> 4 & 3,
		ThirdPartyCopy:      f[5]&0x08 != 0,
		Protect:             f[5]&0x01 != 0,
		MultiPort:           f[6]&0x10 != 0,
		CommandQueuing:      f[7]&0x02 != 0,
		Vendor:              text(f[8:16]),
		Product:             text(f[16:32]),
		Revision:            text(f[32:36]),
	}
	for i := range d.Descriptors {
		d.Descriptors[i] = be.Uint16(f[versionsOffset+2*i:])
	}
	return d, nil
}

// Append appends the data as a target sends it, 96 bytes. Names that are too
// long are cut.
func (d InquiryData) Append(dst []byte) []byte {
	var f [inquiryLength]byte
	f[0] = d.PeripheralQualifier<<5 | d.DeviceType&0x1f
	setBit(&f[1], 0x80, d.Removable)
	f[2] = d.Version
	f[3] = 2 // response data format
	setBit(&f[3], 0x10, d.HiSup)
	f[4] = inquiryLength - 5
	f[5] = d.TPGS & 3 << 4
	setBit(&f[5], 0x08, d.ThirdPartyCopy)
	setBit(&f[5], 0x01, d.Protect)
	setBit(&f[6], 0x10, d.MultiPort)
	setBit(&f[7], 0x02, d.CommandQueuing)
	padText(f[8:16], d.Vendor)
	padText(f[16:32], d.Product)
	padText(f[32:36], d.Revision)
	for i, v := range d.Descriptors {
		be.PutUint16(f[versionsOffset+2*i:], v)
	}
	return append(dst, f[:]...)
}

func setBit(b *byte, bit byte, on bool) {
	if on {
		*b |= bit
	}
}

// text reads a padded ASCII field.
func text(b []byte) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == 0:
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, string(b))
	return strings.TrimSpace(s)
}

// padText writes an ASCII field, left aligned and padded with spaces.
func padText(dst []byte, s string) {
	for i := range dst {
		dst[i] = ' '
	}
	copy(dst, s)
}
