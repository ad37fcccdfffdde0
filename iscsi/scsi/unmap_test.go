package scsi

import "testing"

func TestUnmapParameters(t *testing.T) {
	ranges := []Range{{8, 8}, {1 << 40, 0xffffffff}}
	want := unhex(t, `
		0026 0020 00000000
		0000000000000008 00000008 00000000
		0000010000000000 ffffffff 00000000`)
	equalBytes(t, UnmapParameters(nil, ranges), want)
	got, err := ParseUnmapParameters(nil, want)
	noError(t, err)
	equal(t, got, ranges)
	equalBytes(t, UnmapParameters(nil, nil), unhex(t, "0006 0000 00000000"))

	full := make([]Range, MaxUnmapRanges)
	got, err = ParseUnmapParameters(nil, UnmapParameters(nil, full))
	noError(t, err)
	equal(t, len(got), MaxUnmapRanges)
}

func TestUnmapParametersOdd(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		ranges      int
		ok          bool
	}{
		{"nothing", "", 0, false},
		{"no header", "0006000000", 0, false},
		{"no descriptor", "0006 0000 00000000", 0, true},
		{"half a descriptor", "000e 0008 00000000 0000000000000000", 0, true},
		{"one and a half",
			"001e 0018 00000000 0000000000000000 00000001 00000000 0000000000000000", 1, true},
		{"list cut", "0016 0010 00000000 0000000000000000 00000001", 0, false},
		{"longer than the list",
			"0006 0010 00000000 0000000000000000 00000001 00000000", 0, false},
		{"list shorter than its header", "0000 0000 00000000", 0, false},
		{"the same with a descriptor", "0000 0010 00000000", 0, false},
		{"bytes behind the list",
			"0016 0010 00000000 0000000000000000 00000001 00000000 ff", 1, true},
	} {
		got, err := ParseUnmapParameters(nil, unhex(t, c.bytes))
		if len(got) != c.ranges || (err == nil) != c.ok {
			t.Errorf("%s: %d ranges, error %v", c.name, len(got), err)
		}
	}
}

func TestUnmapTooManyRanges(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("too many ranges were taken")
		}
	}()
	UnmapParameters(nil, make([]Range, MaxUnmapRanges+1))
}
