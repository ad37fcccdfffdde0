package pdu_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"braid/iscsi/pdu"
)

// again parses, writes and parses anew: the second must give the same.
func again[T message](t *testing.T, parse func(*pdu.Header) (T, error), h pdu.Header) int {
	msg, err := parse(&h)
	if err != nil {
		if !errors.Is(err, pdu.ErrInvalid) {
			t.Fatalf("%T: not a fault of the format: %v", msg, err)
		}
		return 0
	}
	var copied pdu.Header
	msg.Marshal(&copied)
	same, err := parse(&copied)
	if err != nil || same != msg {
		t.Fatalf("%x:\n%+v, then\n%+v, %v", h, msg, same, err)
	}
	if copied.Opcode() != h.Opcode() || copied.DataLen() != h.DataLen() {
		t.Fatalf("%x became %x", h, copied)
	}
	return 1
}

// A header is one PDU at most, never panics, and means the same once rewritten.
func FuzzParse(f *testing.F) {
	for _, s := range mixed() {
		f.Add(s.header[:])
	}
	for op := range 0x40 {
		h := pdu.Header{0: byte(op), 1: 0x80, 20: 1, 47: 1}
		f.Add(h[:])
		h[1], h[19], h[36] = 0x87, 7, 2
		f.Add(h[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < pdu.HeaderLen {
			return
		}
		h := pdu.Header(b[:pdu.HeaderLen])
		taken := again(t, pdu.ParseSCSICommand, h) + again(t, pdu.ParseSCSIResponse, h) +
			again(t, pdu.ParseDataIn, h) + again(t, pdu.ParseDataOut, h) +
			again(t, pdu.ParseR2T, h) + again(t, pdu.ParseNopIn, h) +
			again(t, pdu.ParseNopOut, h) + again(t, pdu.ParseTaskRequest, h) +
			again(t, pdu.ParseTaskResponse, h) + again(t, pdu.ParseLoginRequest, h) +
			again(t, pdu.ParseLoginResponse, h) + again(t, pdu.ParseTextRequest, h) +
			again(t, pdu.ParseTextResponse, h) + again(t, pdu.ParseLogoutRequest, h) +
			again(t, pdu.ParseLogoutResponse, h) + again(t, pdu.ParseSNACK, h) +
			again(t, pdu.ParseAsync, h) + again(t, pdu.ParseReject, h)
		if taken > 1 {
			t.Fatalf("%x is %d PDUs at once", h, taken)
		}
		pdu.SenseData(b)
		pdu.RejectedHeader(b)
	})
}

// Any stream gives the same PDUs and the same error, however it is cut.
func FuzzReceiver(f *testing.F) {
	for digests := range 4 {
		var stream []byte
		for i, n := range []int{0, 1, 2, 3, 100, 7, 48} {
			s := dataIn(uint32(i), n).withAHS(i % 3)
			stream = s.encode(stream, digests&1 != 0, digests&2 != 0)
		}
		f.Add(stream, uint8(digests), uint64(digests))
		f.Add(stream[:len(stream)-1], uint8(digests), uint64(7))
	}
	f.Add([]byte{4: 0xff, 5: 0, 60: 1}, uint8(1), uint64(1))
	f.Fuzz(func(t *testing.T, stream []byte, digests uint8, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		run := func(chunk func(int) int) *feeder {
			c := &chooser{place: func(itt uint32) bool { return digests&4 != 0 && itt%2 == 0 }}
			fd := &feeder{chunk: chunk, chooser: c, r: pdu.NewReceiver(
				pdu.ReceiverConfig{MaxData: 40_000, Placer: c})}
			fd.r.SetDigests(digests&1 != 0, digests&2 != 0)
			fd.feed(stream)
			return fd
		}
		a := run(func(rest int) int { return rest })
		b := run(func(int) int { return 1 + rnd.IntN(1+rnd.IntN(3000)) })
		if !slices.Equal(a.out, b.out) || a.r.Empty() != b.r.Empty() {
			t.Fatalf("%d PDUs, and %d", len(a.out), len(b.out))
		}
		if (a.err == nil) != (b.err == nil) || a.err != nil && a.err.Error() != b.err.Error() {
			t.Fatalf("%v, and %v", a.err, b.err)
		}
	})
}
