package pdu_test

import (
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

func TestReject(t *testing.T) {
	testGolden(t, pdu.ParseReject, []golden[pdu.Reject]{{
		name: "every field",
		msg: pdu.Reject{
			Reason: pdu.RejectInvalidField, StatSN: 0x30313233, ExpCmdSN: 0x40414243,
			MaxCmdSN: 0x50515253, DataSN: 0x60616263, DataLen: 48,
		},
		wire: `3f800900 00000030 00000000 00000000 ffffffff 00000000
			30313233 40414243 50515253 60616263 00000000 00000000`,
		ignored: `c0ff00ff ff000000 ffffffff ffffffff ffffffff ffffffff
			00000000 00000000 00000000 00000000 ffffffff ffffffff`,
	}})
}

func TestRejectedHeader(t *testing.T) {
	var bad pdu.Header
	pdu.NopOut{Immediate: true, ITT: 7}.Marshal(&bad)
	segment := append(bad[:], 1, 2, 3)
	if h, ok := pdu.RejectedHeader(segment); !ok || h != bad {
		t.Errorf("%x, %v", h, ok)
	}
	if _, ok := pdu.RejectedHeader(segment[:47]); ok {
		t.Error("47 bytes taken for a header")
	}
}

func TestRejectReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := range 256 {
		s := pdu.RejectReason(r).String()
		known := !strings.HasPrefix(s, "reason 0x")
		if want := r >= 2 && r <= 0xc && r != 0xb; known != want || seen[s] {
			t.Errorf("reason 0x%02x is %q", r, s)
		}
		seen[s] = true
	}
}
