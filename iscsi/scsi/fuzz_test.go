package scsi

import (
	"bytes"
	"reflect"
	"testing"
)

// again checks that what a parser made of b, written out and read once more,
// is the same: nothing is understood that cannot be said.
func again[T any](t *testing.T, v T, append func([]byte) []byte, parse func([]byte) (T, error)) {
	t.Helper()
	got, err := parse(append(nil))
	if err != nil {
		t.Fatalf("%+v, written out, is refused: %v", v, err)
	}
	if !reflect.DeepEqual(got, v) {
		t.Fatalf("%+v, written out, became %+v", v, got)
	}
}

func seeds(f *testing.F, hex ...string) {
	f.Add([]byte(nil))
	for _, s := range hex {
		b := unhex(f, s)
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
}

func FuzzSense(f *testing.F) {
	seeds(f, tgtPowerOn, lioSense64, "f100e3000000100a00000020100107c00002",
		"7206808100000024000a80000000000000000010010a0000000000000000"+
			"002002060000800001000302000704020080")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := ParseSense(b)
		if !ok {
			return
		}
		_ = s.String()
		_ = s.Attention()
		got, ok := ParseSense(s.Append(nil, true))
		if !ok || got != s {
			t.Fatalf("%+v became %+v", s, got)
		}
		if s.Info > 0xffffffff || s.CommandInfo > 0xffffffff {
			return
		}
		got, ok = ParseSense(s.Append(nil, false))
		if !ok || got != s {
			t.Fatalf("%+v became %+v in fixed format", s, got)
		}
	})
}

func FuzzCDB(f *testing.F) {
	for _, s := range []string{"88", "9e10", "12", "a30a", "93ff", "0a"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var cdb [16]byte
		copy(cdb[:], b)
		c, err := ParseCDB(cdb)
		_ = CommandName(&cdb)
		if err != nil {
			_ = err.(*CDBError).Sense()
			return
		}
		_ = c.Direction()
	})
}

func FuzzInquiry(f *testing.F) {
	seeds(f, tgtInquiry, tgtNoUnit, lioInquiry)
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseInquiry(b); err == nil {
			again(t, d, d.Append, ParseInquiry)
		}
	})
}

func FuzzVPD(f *testing.F) {
	seeds(f, tgtPages, tgtSerial, tgtDeviceID, lioDeviceID, tgtLimits, lioLimitsShort,
		tgtCharacteristics, tgtProvisioning)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseSupportedPages(b); err == nil {
			again(t, p, p.Append, ParseSupportedPages)
		}
		if s, err := ParseUnitSerial(b); err == nil {
			again(t, s, s.Append, ParseUnitSerial)
		}
		if l, err := ParseBlockLimits(b); err == nil {
			again(t, l, l.Append, ParseBlockLimits)
		}
		if c, err := ParseBlockCharacteristics(b); err == nil {
			again(t, c, c.Append, ParseBlockCharacteristics)
		}
		if p, err := ParseLogicalProvisioning(b); err == nil {
			again(t, p, p.Append, ParseLogicalProvisioning)
		}
		if id, err := ParseDeviceID(b); err == nil {
			_, _ = id.RelativeTargetPort()
			_, _ = id.TargetPortGroup()
			for _, c := range []byte(id.Identity()) {
				if c <= ' ' || c > '~' || c == '/' {
					t.Fatalf("identity %q", id.Identity())
				}
			}
			again(t, id, id.Append, ParseDeviceID)
		}
	})
}

func FuzzCapacity(f *testing.F) {
	seeds(f, tgtCapacity10, tgtCapacity16, "ffffffffffffffffffffffff", "ffffffff00000200")
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCapacity10(b); err == nil {
			again(t, c, c.Append10, ParseCapacity10)
		}
		if c, err := ParseCapacity16(b); err == nil {
			if c.Bytes()/uint64(c.BlockSize) != c.Blocks {
				t.Fatalf("%+v overflows", c)
			}
			again(t, c, c.Append16, ParseCapacity16)
		}
	})
}

func FuzzMode(f *testing.F) {
	seeds(f, tgtMode6, tgtMode10, tgtModeAll, lioMode6)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMode6(b); err == nil {
			again(t, m, m.Append6, ParseMode6)
		}
		if m, err := ParseMode10(b); err == nil {
			again(t, m, m.Append10, ParseMode10)
		}
	})
}

func FuzzLUNs(f *testing.F) {
	seeds(f, tgtLUNs, lioLUNs, "ffffffff00000000c100000000000000")
	f.Fuzz(func(t *testing.T, b []byte) {
		list, need, err := ParseLUNs(b)
		if err != nil {
			return
		}
		if len(list) > len(b)/8 || uint64(len(list))*8+8 > need {
			t.Fatalf("%d LUNs of %d bytes", len(list), len(b))
		}
		for _, l := range list {
			if n, ok := l.Number(); ok && n <= 0xffff {
				if m, ok := EncodeLUN(uint16(n)).Number(); !ok || m != n {
					t.Fatalf("%v became %d", l, m)
				}
			}
		}
		got, _, err := ParseLUNs(AppendLUNs(nil, list))
		if err != nil || !reflect.DeepEqual(got, list) {
			t.Fatalf("%v became %v", list, got)
		}
	})
}

func FuzzUnmapParameters(f *testing.F) {
	seeds(f, "0016001000000000000000000000000800000008000000000000")
	f.Fuzz(func(t *testing.T, b []byte) {
		ranges, err := ParseUnmapParameters(nil, b)
		if err != nil {
			return
		}
		if len(ranges) > len(b)/unmapDescriptor {
			t.Fatalf("%d ranges of %d bytes", len(ranges), len(b))
		}
		got, err := ParseUnmapParameters(nil, UnmapParameters(nil, ranges))
		if err != nil || !reflect.DeepEqual(got, ranges) {
			t.Fatalf("%v became %v", ranges, got)
		}
	})
}

func FuzzPortGroups(f *testing.F) {
	seeds(f, lioGroups, lioGroupsExtended, "ffffffff00000000000000ff")
	f.Fuzz(func(t *testing.T, b []byte) {
		g, _, err := ParsePortGroups(b)
		if err != nil {
			return
		}
		for _, extended := range []bool{false, true} {
			if !extended && g.TransitionTime != 0 {
				continue
			}
			once := g.Append(nil, extended)
			got, need, err := ParsePortGroups(once)
			if err != nil || need != uint64(len(once)) || !reflect.DeepEqual(got, g) {
				t.Fatalf("%+v became %+v: %v", g, got, err)
			}
			if !bytes.Equal(got.Append(nil, extended), once) {
				t.Fatal("written out twice, it differs")
			}
		}
	})
}
