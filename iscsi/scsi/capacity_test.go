package scsi

import "testing"

func TestCapacity10(t *testing.T) {
	c, err := ParseCapacity10(unhex(t, tgtCapacity10))
	noError(t, err)
	equal(t, c, Capacity{Blocks: 131072, BlockSize: 512})
	equal(t, c.Bytes(), uint64(64<<20))
	equalBytes(t, c.Append10(nil), unhex(t, tgtCapacity10))

	c, err = ParseCapacity10(unhex(t, "ffffffff 00000200"))
	noError(t, err)
	equal(t, c.More, true)
	big := Capacity{Blocks: 1 << 33, BlockSize: 512}
	equalBytes(t, big.Append10(nil), unhex(t, "ffffffff 00000200"))
	one := Capacity{Blocks: 1 << 32, BlockSize: 512}
	equalBytes(t, one.Append10(nil), unhex(t, "ffffffff 00000200"))
}

func TestCapacity16(t *testing.T) {
	c, err := ParseCapacity16(unhex(t, tgtCapacity16))
	noError(t, err)
	equal(t, c, Capacity{
		Blocks: 131072, BlockSize: 512, PhysicalExponent: 3, LBPME: true, LBPRZ: true,
	})
	equalBytes(t, c.Append16(nil), unhex(t, tgtCapacity16))

	want := Capacity{
		Blocks: 1 << 40, BlockSize: 4096, PhysicalExponent: 5, LowestAligned: 0x3fff,
		Protection: true, LBPRZ: true,
	}
	got, err := ParseCapacity16(want.Append16(nil))
	noError(t, err)
	equal(t, got, want)

	got, err = ParseCapacity16(want.Append16(nil)[:12])
	noError(t, err)
	equal(t, got, Capacity{Blocks: 1 << 40, BlockSize: 4096})
}

func TestCapacityHostile(t *testing.T) {
	for _, b := range []string{
		"", "000000000001ffff000002", // short
		"000000000001ffff 00000000", // blocks of nothing
		"ffffffffffffffff 00000200", // no block, or one too many
		"007fffffffffffff 00000200", // 2^64 bytes
		"00ffffffffffffff 00001000",
	} {
		_, err := ParseCapacity16(unhex(t, b))
		wantFormatError(t, err)
	}
	_, err := ParseCapacity16(nil)
	equal(t, err.Error(), "READ CAPACITY(16) data: 0 bytes, at least 12 are needed")
	for _, b := range []string{"", "0001ffff000002", "0001ffff00000000"} {
		_, err := ParseCapacity10(unhex(t, b))
		wantFormatError(t, err)
	}
	c, err := ParseCapacity16(unhex(t, "007ffffffffffffe 00000200"))
	noError(t, err)
	equal(t, c.Bytes(), ^uint64(0)-511)
}
