package scsi

import "fmt"

// A LUN is a logical unit number as it stands in a PDU (SAM-5 section 4.7).
type LUN [8]byte

// Addressing methods: the top two bits of a LUN (SAM-5 section 4.7.7).
const (
	methodPeripheral = 0x00
	methodFlat       = 0x40
	methodExtended   = 0xc0
	methodMask       = 0xc0

	// Extended flat space addressing with a three byte number: method 11b,
	// length 01b, extended method 2h.
	extendedFlat = 0xd2

	maxFlat = 0x3fff
)

// EncodeLUN makes the LUN of number n: peripheral device addressing below 256,
// flat space addressing below 16384, extended flat space above.
//
// Targets differ above 255: some know only the form that they report in REPORT
// LUNS. There the entry whose Number is n is the LUN to use.
func EncodeLUN(n uint16) LUN {
	var l LUN
	switch {
	case n > maxFlat:
		l[0], l[2], l[3] = extendedFlat, byte(n>>8), byte(n)
	case n > 0xff:
		l[0], l[1] = methodFlat|byte(n>>8), byte(n)
	default:
		l[1] = byte(n)
	}
	return l
}

// Number gives the number of a LUN of one level. A peripheral address with a
// bus number counts as a number of 14 bits, since targets without buses (the
// Linux one) write theirs so. It is false for other forms.
func (l LUN) Number() (uint32, bool) {
	rest := l[2:]
	var n uint32
	switch {
	case l[0]&methodMask == methodPeripheral, l[0]&methodMask == methodFlat:
		n = uint32(l[0]&^methodMask)<<8 | uint32(l[1])
	case l[0] == extendedFlat:
		n = uint32(l[1])<<16 | uint32(l[2])<<8 | uint32(l[3])
		rest = l[4:]
	default:
		return 0, false
	}
	for _, b := range rest {
		if b != 0 {
			return 0, false
		}
	}
	return n, true
}

// String is the number in decimal, or for LUNs without a number all 16 digits.
func (l LUN) String() string {
	if n, ok := l.Number(); ok {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%x", l[:])
}

const lunsHeader = 8

// AppendLUNs appends the data of REPORT LUNS (SPC-4 section 6.33).
func AppendLUNs(dst []byte, list []LUN) []byte {
	dst = be.AppendUint32(dst, uint32(len(list)*len(LUN{})))
	dst = append(dst, 0, 0, 0, 0)
	for i := range list {
		dst = append(dst, list[i][:]...)
	}
	return dst
}

// ParseLUNs reads the data of REPORT LUNS. If the allocation length cut the
// list, need tells the bytes that the whole has; else it is at most len(b).
func ParseLUNs(b []byte) (list []LUN, need uint64, err error) {
	if len(b) < lunsHeader {
		return nil, 0, tooShort("REPORT LUNS data", len(b), lunsHeader)
	}
	need = lunsHeader + uint64(be.Uint32(b))
	if need < uint64(len(b)) {
		b = b[:need]
	}
	for b = b[lunsHeader:]; len(b) >= len(LUN{}); b = b[len(LUN{}):] {
		list = append(list, LUN(b))
	}
	return list, need, nil
}
