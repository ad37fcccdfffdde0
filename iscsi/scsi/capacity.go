package scsi

import "math"

// Capacity is the answer to READ CAPACITY, of either length.
type Capacity struct {
	Blocks    uint64
	BlockSize uint32 // bytes

	// More: READ CAPACITY(10) has no room for the real count, and Blocks is
	// too low: ask READ CAPACITY(16).
	More bool

	// The rest is zero in the answer to READ CAPACITY(10).
	PhysicalExponent uint8  // a physical block is 2^n logical ones
	LowestAligned    uint16 // first logical block that begins a physical one
	Protection       bool   // PROT_EN: formatted with protection information
	LBPME            bool   // thin: blocks may be unmapped
	LBPRZ            bool   // unmapped blocks read as zeroes
}

// Bytes is the capacity in bytes. Parsing has made sure that it fits.
func (c Capacity) Bytes() uint64 { return c.Blocks * uint64(c.BlockSize) }

const (
	capacity10Length = 8
	capacity16Length = 32
	capacity16Min    = 12
)

// ParseCapacity10 reads READ CAPACITY(10) data (SBC-3 section 5.15.2).
func ParseCapacity10(b []byte) (Capacity, error) {
	const what = "READ CAPACITY(10) data"
	if len(b) < capacity10Length {
		return Capacity{}, tooShort(what, len(b), capacity10Length)
	}
	last := be.Uint32(b)
	return makeCapacity(what, Capacity{More: last == math.MaxUint32}, uint64(last), b[4:])
}

// ParseCapacity16 reads READ CAPACITY(16) data (SBC-3 section 5.16.2), at least
// its first 12 bytes.
func ParseCapacity16(b []byte) (Capacity, error) {
	const what = "READ CAPACITY(16) data"
	if len(b) < capacity16Min {
		return Capacity{}, tooShort(what, len(b), capacity16Min)
	}
	var f [capacity16Length]byte
	copy(f[:], b)
	c := Capacity{
		Protection:       f[12]&1 != 0,
		PhysicalExponent: f[13] & 0x0f,
		LBPME:            f[14]&0x80 != 0,
		LBPRZ:            f[14]&0x40 != 0,
		LowestAligned:    be.Uint16(f[14:]) & 0x3fff,
	}
	return makeCapacity(what, c, be.Uint64(f[0:]), f[8:])
}

func makeCapacity(what string, c Capacity, last uint64, size []byte) (Capacity, error) {
	c.BlockSize = be.Uint32(size)
	if c.BlockSize == 0 {
		return Capacity{}, &FormatError{what, "the block size is 0"}
	}
	if last >= math.MaxUint64/uint64(c.BlockSize) {
		return Capacity{}, &FormatError{what, "the capacity in bytes exceeds 64 bits"}
	}
	c.Blocks = last + 1
	return c, nil
}

// Append10 appends READ CAPACITY(10) data. Blocks must not be 0.
func (c Capacity) Append10(dst []byte) []byte {
	dst = be.AppendUint32(dst, uint32(min(c.Blocks-1, math.MaxUint32)))
	return be.AppendUint32(dst, c.BlockSize)
}

// Append16 appends READ CAPACITY(16) data. Blocks must not be 0.
func (c Capacity) Append16(dst []byte) []byte {
	var f [capacity16Length]byte
	be.PutUint64(f[0:], c.Blocks-1)
	be.PutUint32(f[8:], c.BlockSize)
	setBit(&f[12], 1, c.Protection)
	f[13] = c.PhysicalExponent & 0x0f
	be.PutUint16(f[14:], c.LowestAligned&0x3fff)
	setBit(&f[14], 0x80, c.LBPME)
	setBit(&f[14], 0x40, c.LBPRZ)
	return append(dst, f[:]...)
}
