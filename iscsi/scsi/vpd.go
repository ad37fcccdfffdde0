package scsi

import "fmt"

// Pages of vital product data (SPC-4 section 7.8, SBC-3 section 6.6).
const (
	PageSupported            uint8 = 0x00
	PageUnitSerial           uint8 = 0x80
	PageDeviceID             uint8 = 0x83
	PageBlockLimits          uint8 = 0xb0
	PageBlockCharacteristics uint8 = 0xb1
	PageLogicalProvisioning  uint8 = 0xb2
)

const vpdHeader = 4

// vpdBody checks the page code and gives what follows the header, cut at the
// page length.
func vpdBody(page uint8, b []byte) ([]byte, error) {
	what := fmt.Sprintf("VPD page %02Xh", page)
	if len(b) < vpdHeader {
		return nil, tooShort(what, len(b), vpdHeader)
	}
	if b[1] != page {
		return nil, &FormatError{what, fmt.Sprintf("it is page %02Xh", b[1])}
	}
	n := int(be.Uint16(b[2:]))
	return b[vpdHeader:min(len(b), vpdHeader+n)], nil
}

// appendVPD begins a page of a disk; endVPD sets its length.
func appendVPD(dst []byte, page uint8) []byte {
	return append(dst, DiskType, page, 0, 0)
}

func endVPD(dst []byte, start int) []byte {
	n := len(dst) - start - vpdHeader
	if n > 0xffff {
		panic("scsi: VPD page too long")
	}
	be.PutUint16(dst[start+2:], uint16(n))
	return dst
}

// SupportedPages is the list of VPD pages that a logical unit has (page 00h,
// SPC-4 section 7.8.14), ascending.
type SupportedPages []uint8

// Has reports whether page is in the list.
func (p SupportedPages) Has(page uint8) bool {
	for _, x := range p {
		if x == page {
			return true
		}
	}
	return false
}

// ParseSupportedPages reads VPD page 00h.
func ParseSupportedPages(b []byte) (SupportedPages, error) {
	body, err := vpdBody(PageSupported, b)
	if err != nil {
		return nil, err
	}
	// There are but 256 pages: more than that is a faulty device.
	return append(SupportedPages(nil), body[:min(len(body), 256)]...), nil
}

// Append appends VPD page 00h. The list must be ascending.
func (p SupportedPages) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendVPD(dst, PageSupported)
	return endVPD(append(dst, p...), start)
}

// UnitSerial is the unit serial number (page 80h, SPC-4 section 7.8.18).
type UnitSerial string

// ParseUnitSerial reads VPD page 80h. Padding goes, bytes that are not
// printable ASCII become question marks; an empty serial number is possible.
func ParseUnitSerial(b []byte) (UnitSerial, error) {
	body, err := vpdBody(PageUnitSerial, b)
	if err != nil {
		return "", err
	}
	return UnitSerial(text(body)), nil
}

// Append appends VPD page 80h.
func (s UnitSerial) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendVPD(dst, PageUnitSerial)
	return endVPD(append(dst, s...), start)
}
