package scsi

import "testing"

func TestParseMode(t *testing.T) {
	tgtCaching := Mode{DPOFUA: true, HasCaching: true, WCE: true}
	tgtAll := tgtCaching
	tgtAll.HasControl, tgtAll.QueueAlgorithm = true, 1
	for _, c := range []struct {
		name  string
		parse func([]byte) (Mode, error)
		bytes string
		want  Mode
	}{
		{"tgt 6", ParseMode6, tgtMode6, tgtCaching},
		{"tgt 10", ParseMode10, tgtMode10, tgtCaching},
		{"tgt, all pages, one with subpage", ParseMode6, tgtModeAll, tgtAll},
		{"linux", ParseMode6, lioMode6, Mode{
			WriteProtected: true, DPOFUA: true, HasCaching: true, WCE: true,
			HasControl: true, QueueAlgorithm: 1, TaskAbortedState: true,
		}},
		{"header only", ParseMode6, "03 00 80 00", Mode{WriteProtected: true}},
		{"header only, 10", ParseMode10, "0006 00 10 00 00 0000", Mode{DPOFUA: true}},
		{"cut in the descriptor", ParseMode6, "1f 00 90 08 00000000",
			Mode{WriteProtected: true, DPOFUA: true}},
		{"cut before WCE", ParseMode6, "17 00 00 00 0812", Mode{}},
		{"cut after WCE", ParseMode6, "17 00 00 00 0812 05",
			Mode{HasCaching: true, WCE: true, RCD: true}},
		{"length ends before the page", ParseMode6, "03 00 00 00 0812 04", Mode{}},
		{"length of 0", ParseMode6, "00 00 10 00 0812 04", Mode{DPOFUA: true}},
		{"savable", ParseMode6, "17 00 00 00 8812 04", Mode{HasCaching: true, WCE: true}},
		{"subpage of 08h is another page", ParseMode6, "17 00 00 00 4801 0001 04", Mode{}},
		{"pages of no length", ParseMode6, "ff 00 00 00 0000 0000 3f00 0800", Mode{}},
	} {
		m, err := c.parse(unhex(t, c.bytes))
		noError(t, err)
		if m != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, m, c.want)
		}
	}
	_, err := ParseMode6([]byte{3, 0, 0})
	wantFormatError(t, err)
	_, err = ParseMode10(make([]byte, 7))
	wantFormatError(t, err)
}

var fullMode = Mode{
	WriteProtected: true, DPOFUA: true, HasCaching: true, WCE: true, RCD: true,
	HasControl: true, DescriptorSense: true, SoftwareProtect: true, TaskAbortedState: true,
	QueueAlgorithm: 1, UAIntlck: 2,
}

func TestModeRoundTrip(t *testing.T) {
	for _, want := range []Mode{{}, fullMode, {HasCaching: true}, {HasControl: true}} {
		b := want.Append6([]byte("x"))[1:]
		equal(t, int(b[0]), len(b)-1)
		got, err := ParseMode6(b)
		noError(t, err)
		equal(t, got, want)
		b = want.Append10([]byte("x"))[1:]
		equal(t, int(b[1]), len(b)-2)
		got, err = ParseMode10(b)
		noError(t, err)
		equal(t, got, want)
	}
	equalBytes(t, Mode{DPOFUA: true, HasCaching: true, WCE: true}.Append6(nil),
		unhex(t, "17 00 10 00 0812 04 0000000000000000000000000000000000"))
}
