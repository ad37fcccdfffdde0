package pdu_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

// message is what every PDU type has.
type message interface {
	comparable
	Marshal(h *pdu.Header)
}

// golden is a PDU and its bytes, twelve words of four, written down by hand from
// the byte map in the RFC.
type golden[T message] struct {
	name string
	msg  T
	wire string
	// ignored has a bit set for each that Parse does not look at in this PDU.
	// Empty: the bits are not tried.
	ignored string
}

func header(t testing.TB, words string) pdu.Header {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(words), ""))
	if err != nil || len(b) != pdu.HeaderLen {
		t.Fatalf("bad header of %d bytes in the test: %v", len(b), err)
	}
	return pdu.Header(b)
}

func testGolden[T message](t *testing.T, parse func(*pdu.Header) (T, error), rows []golden[T]) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := header(t, row.wire)
			var got pdu.Header
			for i := range got {
				got[i] = 0xa5
			}
			row.msg.Marshal(&got)
			if got != want {
				t.Errorf("Marshal:\n got %x\nwant %x", got, want)
			}
			msg, err := parse(&want)
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			if msg != row.msg {
				t.Errorf("Parse:\n got %+v\nwant %+v", msg, row.msg)
			}
			if row.ignored != "" {
				testBits(t, parse, want, header(t, row.ignored))
			}
			wrong := want
			wrong[0] ^= 0x3f
			if _, err := parse(&wrong); !errors.Is(err, pdu.ErrInvalid) {
				t.Errorf("another opcode: error is %v", err)
			}
		})
	}
}

// testBits turns each bit over: an ignored one must make no difference, any other
// must be seen or refused.
func testBits[T message](t *testing.T, parse func(*pdu.Header) (T, error), h, ignored pdu.Header) {
	t.Helper()
	msg, _ := parse(&h)
	for i := range len(h) * 8 {
		bit := byte(0x80) >> (i % 8)
		other := h
		other[i/8] ^= bit
		got, err := parse(&other)
		same := err == nil && got == msg
		if want := ignored[i/8]&bit != 0; same != want {
			t.Errorf("byte %d bit 0x%02x: ignored is %v, want %v", i/8, bit, same, want)
		}
	}
}

// refused is a header that Parse must not accept.
type refused struct {
	name   string
	wire   string
	reason pdu.RejectReason
	detail string
}

func testRefused[T message](t *testing.T, parse func(*pdu.Header) (T, error), rows []refused) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := header(t, row.wire)
			_, err := parse(&h)
			var pe *pdu.ProtocolError
			if !errors.As(err, &pe) || !errors.Is(err, pdu.ErrInvalid) {
				t.Fatalf("error is %v", err)
			}
			if pe.Reason != row.reason || pe.Detail != row.detail {
				t.Errorf("got %v, %q; want %v, %q", pe.Reason, pe.Detail, row.reason, row.detail)
			}
			if pe.Opcode != h.Opcode() || pe.ITT != h.ITT() {
				t.Errorf("error names %v tag %#x", pe.Opcode, pe.ITT)
			}
		})
	}
}

var lun = [8]byte{0x40, 0x01, 2, 3, 4, 5, 6, 7}
