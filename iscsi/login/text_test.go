package login

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	long := strings.Repeat("K", 63)
	for _, c := range []struct {
		name, in string
		want     []Pair // nil: an error
	}{
		{"empty", "", []Pair{}},
		{"one", "A=b\x00", []Pair{{"A", "b"}}},
		{"the last without its NUL", "A=b", []Pair{{"A", "b"}}},
		{"more NULs than needed", "\x00\x00A=b\x00\x00\x00C=d\x00", []Pair{{"A", "b"}, {"C", "d"}}},
		{"no value", "A=\x00", []Pair{{"A", ""}}},
		{"= in the value", "CHAP_C=0bAA==\x00", []Pair{{"CHAP_C", "0bAA=="}}},
		{"the same twice", "TargetAddress=a\x00TargetAddress=b\x00",
			[]Pair{{"TargetAddress", "a"}, {"TargetAddress", "b"}}},
		{"the longest key", long + "=v\x00", []Pair{{long, "v"}}},
		{"extension keys", "X-com.example.a+b_c@d=1\x00X#Thing=2\x00iSCSIProtocolLevel=1\x00",
			[]Pair{{"X-com.example.a+b_c@d", "1"}, {"X#Thing", "2"}, {"iSCSIProtocolLevel", "1"}}},
		{"no =", "AB\x00", nil},
		{"no key", "=b\x00", nil},
		{"too long a key", long + "K=v\x00", nil},
		{"a space in the key", "A B=c\x00", nil},
		{"a key that begins with a digit", "1A=c\x00", nil},
		{"a key of other letters", "\xc3\x84=c\x00", nil},
	} {
		got, err := ParseText([]byte(c.in))
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: no error but %q", c.name, got)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %q, %v", c.name, got, err)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: pair %d is %q, want %q", c.name, i, got[i], c.want[i])
			}
		}
	}
}

func TestAppendPairPanics(t *testing.T) {
	for _, p := range []Pair{{"A", "b\x00C=d"}, {"A=b", "c"}, {"", "c"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was sent", p)
				}
			}()
			AppendPair(nil, p.Key, p.Value)
		}()
	}
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.2001-04.com.example:host\x00SessionType=Normal\x00"))
	f.Add([]byte("A=\x00\x00B"))
	f.Add([]byte("TargetName=x\x00TargetAddress=[::1]:3260,1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := ParseText(b)
		if err != nil {
			return
		}
		var again []byte
		size := 0
		for _, p := range pairs {
			again = AppendPair(again, p.Key, p.Value)
			size += len(p.Key) + len(p.Value)
			if p.Key == "TargetAddress" {
				if a, _, err := ParseTargetAddress(p.Value); err == nil {
					if b, _, err := ParseTargetAddress(a); err != nil || a != b {
						t.Fatalf("address %q of %q reads as %q, %v", a, p.Value, b, err)
					}
				}
			}
		}
		if size > len(b) {
			t.Fatalf("%d bytes made of %d", size, len(b))
		}
		back, err := ParseText(again)
		if err != nil || len(back) != len(pairs) {
			t.Fatalf("%q reads as %q, %v", again, back, err)
		}
		for i := range back {
			if back[i] != pairs[i] {
				t.Fatalf("pair %q reads as %q", pairs[i], back[i])
			}
		}
	})
}

func TestParseNumber(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "262144": 262144, "0x40000": 262144, "0X4aF": 0x4af, "007": 7,
		"18446744073709551615": 1<<64 - 1,
	} {
		if n, err := ParseNumber(s); err != nil || n != want {
			t.Errorf("%s: %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", " 1", "1 ", "0x", "0xg", "1_000", "0x1_0", "0b1",
		"18446744073709551616", "1e3", "0x+1", "None"} {
		if n, err := ParseNumber(s); err == nil {
			t.Errorf("%q was read as %d", s, n)
		}
	}
}

func TestParseBinary(t *testing.T) {
	for s, want := range map[string][]byte{
		"0x00": {0}, "0xAbcD": {0xab, 0xcd}, "0Xabc": {0x0a, 0xbc},
		"0bAAEC": {0, 1, 2}, "0BAAE=": {0, 1}, "0bAA==": {0}, "0b+/+/": {0xfb, 0xff, 0xbf},
	} {
		if b, err := ParseBinary(s); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %x, %v", s, b, err)
		}
	}
	for _, s := range []string{"", "0x", "0b", "00", "abcd", "0xgg", "0x0 ", "0bAAE", "0bAAE==",
		"0bAA\nEC", "0bAB==", "0bA-_A", "1x00"} {
		if b, err := ParseBinary(s); err == nil {
			t.Errorf("%q was read as %x", s, b)
		}
	}
	if got := FormatBinary([]byte{0, 0xff}); got != "0x00ff" {
		t.Errorf("formatted %s", got)
	}
}
