package pdu_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"braid/iscsi/pdu"
)

const testMaxData = 1 << 17

// The same bytes give the same PDUs, however they are cut, placed and taken.
func TestReceiverChunks(t *testing.T) {
	rnd := testRand(t)
	samples := mixed()
	places := map[string]func(uint32) bool{
		"nowhere":    nil,
		"everywhere": func(uint32) bool { return true },
		"some":       func(itt uint32) bool { return itt%3 == 1 },
	}
	for digests := range 4 {
		headers, data := digests&1 != 0, digests&2 != 0
		var stream []byte
		var carriers []uint32
		for _, s := range samples {
			stream = s.encode(stream, headers, data)
			if len(s.data) > 0 {
				carriers = append(carriers, s.header.ITT())
			}
		}
		want := expected(samples, data)
		for place, choose := range places {
			for cut, chunk := range chunkers(rnd) {
				for _, pauses := range []bool{false, true} {
					name := fmt.Sprintf("digests %d/placed %s/%s/%v", digests, place, cut, pauses)
					c := &chooser{place: choose}
					f := feeder{chunk: chunk, chooser: c, r: pdu.NewReceiver(
						pdu.ReceiverConfig{MaxData: testMaxData, Placer: c, Buffer: 16 << 10})}
					if pauses {
						f.pause = func() bool { return rnd.IntN(3) > 0 }
					}
					f.r.SetDigests(headers, data)
					f.feed(stream)
					if f.err != nil || !slices.Equal(f.out, want) {
						t.Fatalf("%s: %d PDUs of %d, error %v", name, len(f.out), len(want), f.err)
					}
					if len(f.wrong) > 0 || !slices.Equal(c.asked, carriers) {
						t.Fatalf("%s: %q, asked for %v", name, f.wrong, c.asked)
					}
					if !f.r.Empty() {
						t.Fatalf("%s: not empty at the end", name)
					}
				}
			}
		}
	}
}

// receive gives a receiver bytes and fails if it does not take them all.
func receive(t *testing.T, r *pdu.Receiver, b []byte) {
	t.Helper()
	taken := 0
	for _, dst := range r.Buffers(nil) {
		taken += copy(dst, b[taken:])
	}
	if taken != len(b) {
		t.Fatalf("room for %d bytes of %d", taken, len(b))
	}
	r.Received(taken)
}

func mustNext(t *testing.T, r *pdu.Receiver) pdu.PDU {
	t.Helper()
	p, ok, err := r.Next()
	if err != nil || !ok {
		t.Fatalf("no PDU: %v", err)
	}
	return p
}

func mustNotNext(t *testing.T, r *pdu.Receiver) {
	t.Helper()
	if _, ok, err := r.Next(); err != nil || ok {
		t.Fatalf("a PDU (%v), or error %v", ok, err)
	}
}

// A placed data segment is read where it belongs, the bytes behind it into the
// staging buffer, by one read.
func TestReceiverInPlace(t *testing.T) {
	c := &chooser{place: func(uint32) bool { return true }}
	r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 1 << 20, Placer: c})
	r.SetDigests(true, true)
	first, second := dataIn(1, 99_999), dataIn(2, 5)
	stream := second.encode(first.encode(nil, true, true), true, true)

	const head = 48 + 4 + 1000
	receive(t, r, stream[:head])
	mustNotNext(t, r)
	if got := r.Placed(); len(got) != 99_999 || &got[0] != &c.placed[1][0] {
		t.Fatalf("Placed gives %d bytes", len(got))
	}
	if r.Empty() {
		t.Fatal("empty in the middle of a PDU")
	}
	bufs := r.Buffers(nil)
	if len(bufs) != 2 || len(bufs[0]) != 98_999 || &bufs[0][0] != &c.placed[1][1000] {
		t.Fatalf("%d buffers", len(bufs))
	}
	if len(bufs[1]) > 1<<10 {
		t.Fatalf("%d bytes are read ahead of a long data segment", len(bufs[1]))
	}
	receive(t, r, stream[head:])
	p := mustNext(t, r)
	if !bytes.Equal(p.Data, first.data) || p.DataDigestError {
		t.Fatal("the first PDU is wrong")
	}
	if r.Placed() != nil {
		t.Fatal("a placed segment between two PDUs")
	}
	p = mustNext(t, r)
	if !bytes.Equal(p.Data, second.data) || p.DataDigestError || &p.Data[0] != &c.placed[2][0] {
		t.Fatal("the second PDU is wrong")
	}
	mustNotNext(t, r)
}

// Long data segments that come in a row are read in place, but for what comes with
// the header of each.
func TestReceiverReadsLittleAhead(t *testing.T) {
	const count, size = 16, 64 << 10
	place := make([]byte, size)
	r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: size, Placer: onePlace(place), Buffer: 64 << 10})
	var stream []byte
	for i := range uint32(count) {
		stream = dataIn(i, size).encode(stream, false, false)
	}
	copied, pdus := 0, 0
	for len(stream) > 0 {
		n := 0
		for _, b := range r.Buffers(nil) {
			k := copy(b, stream)
			stream = stream[k:]
			if n += k; r.Placed() == nil || &b[len(b)-1] != &place[size-1] {
				copied += k
			}
		}
		r.Received(n)
		for _, ok, _ := r.Next(); ok; _, ok, _ = r.Next() {
			pdus++
		}
	}
	if pdus != count || copied > size+count*(1<<10) {
		t.Fatalf("%d PDUs; %d bytes were not read in place", pdus, copied)
	}
}

// The slice is not written any more once it was taken back, and the PDU still
// comes whole.
func TestReceiverUnplace(t *testing.T) {
	c := &chooser{place: func(uint32) bool { return true }}
	r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 1 << 20, Placer: c})
	r.SetDigests(false, true)
	r.Unplace()
	s := dataIn(1, 50_000)
	stream := s.encode(nil, false, true)
	receive(t, r, stream[:10_000])
	mustNotNext(t, r)
	r.Unplace()
	if r.Placed() != nil {
		t.Fatal("still placed")
	}
	mine := c.placed[1]
	clear(mine)
	receive(t, r, stream[10_000:])
	p := mustNext(t, r)
	if !bytes.Equal(p.Data, s.data) || p.DataDigestError {
		t.Fatal("the PDU is not whole")
	}
	if slices.Max(mine) != 0 {
		t.Fatal("the slice was written after it had been taken back")
	}
}

// New digests and limits hold from the first header on that was not yet met.
func TestReceiverSettings(t *testing.T) {
	r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 8192, Buffer: 64 << 10})
	if !r.Empty() {
		t.Fatal("not empty at the start")
	}
	a, b, d := dataIn(1, 100), dataIn(2, 8190), dataIn(3, 9000)
	stream := a.encode(nil, false, false)
	stream = b.encode(stream, true, true)
	split := len(stream) - 3
	stream = d.encode(stream, false, false)

	receive(t, r, stream[:split])
	if r.Empty() {
		t.Fatal("empty, with bytes in it")
	}
	mustNext(t, r)
	r.SetDigests(true, true)
	mustNotNext(t, r)
	r.SetDigests(false, false)
	r.SetMaxData(9000)
	receive(t, r, stream[split:])
	if p := mustNext(t, r); p.DataDigestError || !bytes.Equal(p.Data, b.data) {
		t.Fatal("the PDU that had been begun is wrong")
	}
	if p := mustNext(t, r); p.DataDigestError || !bytes.Equal(p.Data, d.data) {
		t.Fatal("the last PDU is wrong")
	}
}

func TestReceiverErrors(t *testing.T) {
	good := dataIn(0x2a, 8)
	for _, row := range []struct {
		name    string
		digests bool
		change  func(stream []byte) []byte
		want    error
		text    string
	}{
		{"header digest", true, func(b []byte) []byte { b[50] ^= 1; return b },
			pdu.ErrHeaderDigest, "iscsi: SCSI Data-In: header digest error (tag 0x0000002a): " +
				"the stream cannot be followed"},
		{"header", true, func(b []byte) []byte { b[30] ^= 0x10; return b },
			pdu.ErrHeaderDigest, ""},
		{"length, found by the digest", true, func(b []byte) []byte { b[5] = 0xff; return b },
			pdu.ErrHeaderDigest, ""},
		{"too long", false, func(b []byte) []byte { b[6], b[7] = 0x10, 1; return b },
			pdu.ErrTooLong, "iscsi: SCSI Data-In: data segment too long (tag 0x0000002a): " +
				"longer than was declared"},
		{"longest of all", false, func(b []byte) []byte { b[5] = 0xff; return b },
			pdu.ErrTooLong, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &chooser{place: func(uint32) bool { return true }}
			r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 0x1000, Placer: c})
			r.SetDigests(row.digests, false)
			receive(t, r, row.change(good.encode(nil, row.digests, false)))
			for range 2 {
				_, ok, err := r.Next()
				var pe *pdu.ProtocolError
				if ok || !errors.Is(err, row.want) || !errors.As(err, &pe) {
					t.Fatalf("%v, %v", ok, err)
				}
				if row.text != "" && err.Error() != row.text {
					t.Fatalf("%q", err)
				}
			}
			if len(r.Buffers(nil)) != 0 || len(c.asked) != 0 {
				t.Fatal("it goes on after the error")
			}
		})
	}
}

// Every single bit turned over in data, padding or digest is found.
func TestReceiverDataDigest(t *testing.T) {
	for _, n := range []int{1, 4, 30} {
		stream := dataIn(1, n).encode(nil, false, true)
		for bit := 48 * 8; bit < len(stream)*8; bit++ {
			for _, placed := range []bool{false, true} {
				c := &chooser{place: func(uint32) bool { return placed }}
				r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 100, Placer: c})
				r.SetDigests(false, true)
				b := bytes.Clone(stream)
				b[bit/8] ^= 1 << (bit % 8)
				receive(t, r, b)
				if p := mustNext(t, r); !p.DataDigestError {
					t.Fatalf("%d bytes: bit %d not noticed (placed: %v)", n, bit, placed)
				}
				mustNotNext(t, r)
			}
		}
	}
}

// A receiver that is full of PDUs asks for no more bytes until some are taken.
func TestReceiverFull(t *testing.T) {
	r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 8192})
	one := dataIn(1, 8192-48).encode(nil, false, false)
	receive(t, r, slices.Concat(one, one))
	if got := r.Buffers(nil); len(got) != 0 {
		t.Fatalf("%d buffers while full", len(got))
	}
	mustNext(t, r)
	if got := r.Buffers(nil); len(got) != 1 || len(got[0]) != 8192 {
		t.Fatalf("%d buffers", len(got))
	}
	mustNext(t, r)
	mustNotNext(t, r)
}

func TestReceiverOwnFaults(t *testing.T) {
	short := placerFunc(func(h *pdu.Header) []byte { return make([]byte, h.DataLen()-1) })
	for name, f := range map[string]func(){
		"more than fits": func() {
			r := pdu.NewReceiver(pdu.ReceiverConfig{})
			r.Received(16<<10 + 1)
		},
		"placed wrongly": func() {
			r := pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 100, Placer: short})
			receive(t, r, dataIn(1, 8).encode(nil, false, false))
			_, _, _ = r.Next()
		},
		"negative limit": func() { pdu.NewReceiver(pdu.ReceiverConfig{MaxData: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

type placerFunc func(*pdu.Header) []byte

func (f placerFunc) Place(h *pdu.Header) []byte { return f(h) }
