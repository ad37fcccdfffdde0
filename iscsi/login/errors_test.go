package login

import (
	"fmt"
	"strings"
	"testing"
)

func TestStatusError(t *testing.T) {
	passing := map[uint16]bool{
		StatusMovedTemporarily: true, StatusMovedPermanently: true,
		StatusTooManyConnections: true, StatusNoSession: true,
		StatusTargetError: true, StatusUnavailable: true, StatusOutOfResources: true,
	}
	seen := map[string]bool{}
	codes := []uint16{0x0101, 0x0102, 0x0300, 0x0301, 0x0302}
	for c := uint16(0x0200); c <= 0x020b; c++ {
		codes = append(codes, c)
	}
	for _, c := range codes {
		e := Status(c)
		if e.Code() != c {
			t.Errorf("%04x comes back as %04x", c, e.Code())
		}
		s := e.Error()
		if strings.Contains(s, "unknown") || !strings.HasSuffix(s, fmt.Sprintf("(status %04x)", c)) {
			t.Errorf("%04x: %s", c, s)
		}
		if seen[s] {
			t.Errorf("%04x: %s, like another", c, s)
		}
		seen[s] = true
		if e.Permanent() == passing[c] {
			t.Errorf("%04x: permanent %v", c, e.Permanent())
		}
		if e.Permanent() && e.Remedy() == "" {
			t.Errorf("%04x: permanent, and no remedy", c)
		}
	}
	unknown := map[uint16]bool{0x01ff: false, 0x02ff: true, 0x03ff: false, 0x0400: false}
	for c, permanent := range unknown {
		if e := Status(c); e.Permanent() != permanent || !strings.Contains(e.Error(), "unknown") ||
			e.Remedy() != "" {
			t.Errorf("%04x: %v, permanent %v", c, e, e.Permanent())
		}
	}
}

func TestPermanentAndRemedyLookThroughWrapping(t *testing.T) {
	for _, c := range []struct {
		err       error
		permanent bool
		remedy    bool
	}{
		{Status(StatusAuthFailure), true, true},
		{Status(StatusUnavailable), false, false},
		{&RedirectError{Address: "h:1", Moved: true}, false, false},
		{&NegotiationError{Key: "K"}, true, false},
		{&AuthError{Reason: "r", Hint: "h"}, true, true},
		{&ProtocolError{"r"}, false, false},
		{fmt.Errorf("other"), false, false},
	} {
		err := fmt.Errorf("portal: %w", c.err)
		if Permanent(err) != c.permanent || (Remedy(err) != "") != c.remedy {
			t.Errorf("%v: permanent %v, remedy %q", err, Permanent(err), Remedy(err))
		}
	}
}

func TestErrorsAreShortAndPrintable(t *testing.T) {
	nasty := "\x1b[2J" + strings.Repeat("a", 9000)
	for _, err := range []error{
		&NegotiationError{Key: nasty, Value: nasty, Reason: "r"},
		ValidName("iqn.2001-04.com.example:" + nasty[:100]),
	} {
		if s := err.Error(); len(s) > 400 || strings.Contains(s, "\x1b") {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
}
