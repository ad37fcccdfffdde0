package scsi

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseSense(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		want        Sense
		text        string
	}{
		{"tgt, after login", tgtPowerOn, Sense{Key: UnitAttention, ASC: 0x29},
			"unit attention 29h/00h (power on, reset, or bus device reset occurred)"},
		{"tgt, operation code", tgtBadOpcode, Sense{Key: IllegalRequest, ASC: 0x20},
			"illegal request 20h/00h (invalid command operation code)"},
		{"tgt, address", tgtOutOfRange, Sense{Key: IllegalRequest, ASC: 0x21},
			"illegal request 21h/00h (logical block address out of range)"},
		{"tgt, no such unit", tgtNoLUN, Sense{Key: IllegalRequest, ASC: 0x25},
			"illegal request 25h/00h (logical unit not supported)"},
		{"linux, nexus loss", lioNexusLoss, Sense{Key: UnitAttention, ASC: 0x29, ASCQ: 7},
			"unit attention 29h/07h (I_T nexus loss occurred)"},
		{"linux, 64-bit address", lioSense64,
			Sense{Key: MediumError, ASC: 0x11, InfoValid: true, Info: 0x123456789},
			"medium error 11h/00h (unrecovered read error), information 4886718345"},
		{"deferred", "71 00 03 00000000 0a 00000000 0c 02 00 000000",
			Sense{Key: MediumError, ASC: 0x0c, ASCQ: 2, Deferred: true},
			"deferred medium error 0Ch/02h (write error, reallocation failed)"},
		{"deferred, descriptors", "73 04 44 00 00000000",
			Sense{Key: HardwareError, ASC: 0x44, Deferred: true},
			"deferred hardware error 44h/00h (internal target failure)"},
		{"fixed, every field", "f0 00 e3 00000010 0a 00000020 10 01 07 c00002",
			Sense{Key: MediumError, ASC: 0x10, ASCQ: 1, Info: 16, InfoValid: true,
				CommandInfo: 32, FRU: 7, Specific: [3]byte{0xc0, 0, 2},
				Filemark: true, EOM: true, ILI: true},
			"medium error 10h/01h (logical block guard check failed), information 16"},
		{"information not valid", "70 00 03 00000010 0a 00000000 11 00 00 000000",
			Sense{Key: MediumError, ASC: 0x11}, "medium error 11h/00h (unrecovered read error)"},
		{"specific not valid", "70 00 05 00000000 0a 00000000 24 00 00 400002",
			Sense{Key: IllegalRequest, ASC: 0x24},
			"illegal request 24h/00h (invalid field in CDB)"},
		{"descriptors, every field", `72 06 80 81 000000 2e
			000a 8000 0000000000000010 010a 0000 0000000000000020 0206 0000 800001 00
			0302 0007 0402 0080 ff02 0000`,
			Sense{Key: UnitAttention, ASC: 0x80, ASCQ: 0x81, Info: 16, InfoValid: true,
				CommandInfo: 32, Specific: [3]byte{0x80, 0, 1}, FRU: 7, Filemark: true},
			"unit attention 80h/81h, information 16"},
		{"descriptors, ILI", "72 00 00 00 00000004 0502 0020", Sense{ILI: true},
			"no sense 00h/00h"},
		{"descriptor cut", "72 03 11 00 0000000c 000a8000 00000001",
			Sense{Key: MediumError, ASC: 0x11},
			"medium error 11h/00h (unrecovered read error)"},
		{"descriptors without length", "72 0b 47 03 00000000 000a8000 0000000000000001",
			Sense{Key: AbortedCommand, ASC: 0x47, ASCQ: 3},
			"aborted command 47h/03h (information unit CRC error detected)"},
		{"descriptor of no length", "72 02 04 01 00000008 0000 0000 0000 0000",
			Sense{Key: NotReady, ASC: 4, ASCQ: 1},
			"not ready 04h/01h (logical unit is becoming ready)"},
		{"fixed, key only", "70 00 02", Sense{Key: NotReady}, "not ready 00h/00h"},
		{"fixed, no qualifier", "70 00 02 00000000 05 00000000 04", Sense{Key: NotReady, ASC: 4},
			"not ready 04h/00h (logical unit not ready, no cause given)"},
		{"fixed, its length leaves the code out", "70 00 02 00000000 04 00000000 04 01",
			Sense{Key: NotReady}, "not ready 00h/00h"},
		{"descriptors, key only", "72 0b", Sense{Key: AbortedCommand}, "aborted command 00h/00h"},
		{"reserved key", "70 00 0c", Sense{Key: 12}, "reserved key Ch 00h/00h"},
	} {
		s, ok := ParseSense(unhex(t, c.bytes))
		if !ok || s != c.want {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", c.name, ok, s, c.want)
		}
		equal(t, s.String(), c.text)
	}
	for _, b := range []string{"", "70", "7000", "72", "00", "7f0006", "6f000600", "ffffffffff"} {
		if s, ok := ParseSense(unhex(t, b)); ok || s != (Sense{}) {
			t.Errorf("%q is taken as %+v", b, s)
		}
	}
}

func TestSenseRoundTrip(t *testing.T) {
	for _, s := range []Sense{
		{},
		{Key: UnitAttention, ASC: 0x29},
		{Key: MediumError, ASC: 0x11, Info: 5, InfoValid: true, Deferred: true},
		{Key: Miscompare, ASC: 0x1d, Info: 0, InfoValid: true, ILI: true},
		{Key: HardwareError, ASC: 0x44, CommandInfo: 9, FRU: 3, EOM: true, Filemark: true},
		InvalidField(0x102),
	} {
		for _, descriptor := range []bool{false, true} {
			b := s.Append([]byte("x"), descriptor)[1:]
			got, ok := ParseSense(b)
			if !ok || got != s {
				t.Errorf("%x: got %+v, want %+v", b, got, s)
			}
			equal(t, int(b[7]), len(b)-8)
		}
	}
	equalBytes(t, Sense{Key: UnitAttention, ASC: 0x29}.Append(nil, false), unhex(t, tgtPowerOn))
	far := Sense{Key: MediumError, ASC: 0x11, InfoValid: true, Info: 0x123456789}
	equalBytes(t, far.Append(nil, true), unhex(t, lioSense64))
	equalBytes(t, InvalidField(2).Append(nil, false),
		unhex(t, "70 00 05 00000000 0a 00000000 24 00 00 c00002"))

	// An address that fixed format cannot hold is left out, not cut.
	s, ok := ParseSense(Sense{Key: MediumError, Info: 1 << 32, InfoValid: true}.Append(nil, false))
	equal(t, ok, true)
	equal(t, s, Sense{Key: MediumError})
}

func TestAttention(t *testing.T) {
	for _, c := range []struct {
		asc, ascq uint8
		want      Attention
	}{
		{0x29, 0x00, CacheLoss}, {0x29, 0x01, CacheLoss}, {0x29, 0x02, CacheLoss},
		{0x29, 0x03, NexusLoss}, {0x29, 0x04, CacheLoss}, {0x29, 0x05, NexusLoss},
		{0x29, 0x07, NexusLoss}, {0x29, 0x80, NexusLoss},
		{0x2a, 0x00, ModeChanged}, {0x2a, 0x01, ModeChanged}, {0x2a, 0x02, OtherAttention},
		{0x2a, 0x03, ReservationsChanged}, {0x2a, 0x04, ReservationsChanged},
		{0x2a, 0x05, ReservationsChanged}, {0x2a, 0x06, ALUAChanged}, {0x2a, 0x07, ALUAChanged},
		{0x2a, 0x08, OtherAttention}, {0x2a, 0x09, CapacityChanged},
		{0x38, 0x07, ThinThreshold}, {0x38, 0x00, OtherAttention},
		{0x3f, 0x01, OtherAttention}, {0x3f, 0x03, InquiryChanged}, {0x3f, 0x05, InquiryChanged},
		{0x3f, 0x0e, LUNsChanged}, {0x28, 0x00, OtherAttention}, {0x2f, 0x00, OtherAttention},
	} {
		if got := (Sense{Key: UnitAttention, ASC: c.asc, ASCQ: c.ascq}).Attention(); got != c.want {
			t.Errorf("%02xh/%02xh: %v, want %v", c.asc, c.ascq, got, c.want)
		}
		equal(t, Sense{Key: NotReady, ASC: c.asc, ASCQ: c.ascq}.Attention(), NotAttention)
	}
	equal(t, CacheLoss.String(), "cache loss")
	equal(t, OtherAttention.String(), "other unit attention")
	equal(t, Attention(99).String(), "attention 99")
}

func TestSenseTexts(t *testing.T) {
	if !slices.IsSortedFunc(senseTexts[:], func(a, b struct {
		code uint16
		text string
	}) int {
		if a.code < b.code {
			return -1
		}
		return 1
	}) {
		t.Error("the table is not ascending, or a code is there twice")
	}
	for _, x := range senseTexts {
		if x.text == "" || strings.ContainsAny(x.text, "()\n") {
			t.Errorf("%04x: %q", x.code, x.text)
		}
	}
}

func TestStatusError(t *testing.T) {
	for _, c := range []struct {
		err  StatusError
		want string
	}{
		{StatusError{Status: Busy}, "BUSY"},
		{StatusError{Status: ReservationConflict}, "RESERVATION CONFLICT"},
		{StatusError{Status: 0x22}, "status 22h"},
		{StatusError{CheckCondition, Sense{Key: DataProtect, ASC: 0x27}},
			"CHECK CONDITION: data protect 27h/00h (write protected)"},
	} {
		equal(t, c.err.Error(), c.want)
	}
	for s, want := range map[Status]string{
		Good: "GOOD", ConditionMet: "CONDITION MET", TaskSetFull: "TASK SET FULL",
		ACAActive: "ACA ACTIVE", TaskAborted: "TASK ABORTED",
	} {
		equal(t, s.String(), want)
	}
}

func TestLost(t *testing.T) {
	cause := errors.New("reset by peer")
	for _, c := range []struct {
		err        error
		lost, sent bool
	}{
		{nil, false, false},
		{cause, false, false},
		{&StatusError{Status: Busy}, false, false},
		{&NexusLostError{Cause: cause}, true, false},
		{&NexusLostError{Sent: true, Cause: cause}, true, true},
		{errors.Join(cause, &NexusLostError{Sent: true, Cause: cause}), true, true},
	} {
		lost, sent := Lost(c.err)
		equal(t, lost, c.lost)
		equal(t, sent, c.sent)
	}
	err := &NexusLostError{Sent: true, Cause: ErrLoggedOut}
	equal(t, errors.Is(err, ErrLoggedOut), true)
	equal(t, err.Error(), "nexus lost, outcome unknown: logged out")
}
