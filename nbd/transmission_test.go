package nbd

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
)

// noData is for replies to what is not a read.
func noData(uint64) int { return 0 }

// one parses the one reply in b.
func one(tb testing.TB, b []byte, reads int) answered {
	tb.Helper()
	a, rest, err := parseReply(b, func(uint64) int { return reads })
	if err != nil || len(rest) != 0 {
		tb.Fatalf("%x: %v, %d bytes more", b[:min(len(b), 64)], err, len(rest))
	}
	return a
}

func TestRequestChecks(t *testing.T) {
	const (
		read, write, flush, trim, cache, zero = 0, 1, 3, 4, 5, 6
		fua, noHole, df, reqOne, fast         = 1, 2, 4, 8, 16
		size                                  = 4 << 20
		most                                  = 1 << 20
	)
	tests := []struct {
		name   string
		flags  uint16
		kind   uint16
		offset uint64
		length uint32
		err    Errno  // with a writable device, and
		ro     Errno  // with a read-only one
		device string // what the device is asked for, if anything
	}{
		{"read", 0, read, 512, 1024, 0, 0, "READ 512+1024"},
		{"read, FUA means nothing", fua, read, 0, 512, 0, 0, "READ 0+512"},
		{"read to the end", 0, read, size - 512, 512, 0, 0, "READ 4193792+512"},
		{"read of the largest block", 0, read, 0, most, 0, 0, "READ 0+1048576"},
		{"read of more", 0, read, 0, most + 512, EINVAL, EINVAL, ""},
		{"read of nothing", 0, read, 512, 0, 0, 0, ""},
		{"read of nothing at the end", 0, read, size, 0, 0, 0, ""},
		{"read of nothing beyond", 0, read, size + 512, 0, EINVAL, EINVAL, ""},
		{"read past the end", 0, read, size - 512, 1024, EINVAL, EINVAL, ""},
		{"read that wraps", 0, read, 1<<64 - 512, 1024, EINVAL, EINVAL, ""},
		{"read unaligned offset", 0, read, 1, 512, EINVAL, EINVAL, ""},
		{"read unaligned length", 0, read, 0, 511, EINVAL, EINVAL, ""},
		{"read NO_HOLE", noHole, read, 0, 512, EINVAL, EINVAL, ""},
		{"read unknown flag", 1 << 15, read, 0, 512, EINVAL, EINVAL, ""},
		{"write", 0, write, 512, 1024, 0, EPERM, "WRITE 512+1024"},
		{"write FUA", fua, write, 0, 512, 0, EPERM, "WRITE FUA 0+512"},
		{"write of nothing", fua, write, 0, 0, 0, EPERM, ""},
		{"write past the end", 0, write, size - 512, 1024, ENOSPC, EPERM, ""},
		{"write that wraps", 0, write, 1<<64 - 512, 1024, ENOSPC, EPERM, ""},
		{"write unaligned", 0, write, 0, 100, EINVAL, EPERM, ""},
		{"write of more than the largest block", 0, write, 0, most + 512, EINVAL, EPERM, ""},
		{"write DF", df, write, 0, 512, EINVAL, EINVAL, ""},
		{"flush", 0, flush, 0, 0, 0, 0, "FLUSH 0+0"},
		{"flush FUA", fua, flush, 0, 0, 0, 0, "FLUSH 0+0"},
		{"flush of a range", 0, flush, 777, 1, 0, 0, "FLUSH 0+0"},
		{"flush NO_HOLE", noHole, flush, 0, 0, EINVAL, EINVAL, ""},
		{"trim", 0, trim, 0, size, 0, EPERM, "TRIM 0+4194304"},
		{"trim FUA", fua, trim, 512, 512, 0, EPERM, "TRIM FUA 512+512"},
		{"trim past the end", 0, trim, 0, 1<<32 - 512, EINVAL, EPERM, ""},
		{"zeroes", 0, zero, 0, size, 0, EPERM, "WRITE_ZEROES 0+4194304"},
		{"zeroes FUA NO_HOLE", fua | noHole, zero, 0, 512, 0, EPERM, "WRITE_ZEROES FUA NO_HOLE 0+512"},
		{"zeroes FAST_ZERO", fast, zero, 0, 512, ENOTSUP, EPERM, ""},
		{"zeroes past the end", 0, zero, size, 512, ENOSPC, EPERM, ""},
		{"cache", 0, cache, 0, size, 0, 0, "CACHE 0+4194304"},
		{"cache past the end", 0, cache, size, 512, EINVAL, EINVAL, ""},
		{"block status", reqOne, 7, 0, 512, EINVAL, EINVAL, ""},
		{"resize", 0, 8, 0, 512, EINVAL, EINVAL, ""},
		{"unknown command", 0, 0xffff, 0, 512, EINVAL, EINVAL, ""},
	}
	for _, tt := range tests {
		for mode := range 4 {
			structured, ro := mode&1 != 0, mode&2 != 0
			want := tt.err
			if ro {
				want = tt.ro
			}
			t.Run(fmt.Sprintf("%s/structured=%v,ro=%v", tt.name, structured, ro), func(t *testing.T) {
				s, d, pool := newTestServer(t, nil)
				w := ready(t, s, structured)
				if ro {
					d.info.ReadOnly = true
				}
				payload, reads := 0, 0
				switch tt.kind {
				case write:
					payload = int(tt.length)
				case read:
					reads = int(tt.length)
				}
				w.send(request(tt.flags, tt.kind, 0xfeedface, tt.offset, tt.length)...)
				w.send(make([]byte, payload)...)
				asked := ""
				for _, r := range d.queue {
					asked += "+" + describeRequest(r)
				}
				expected := ""
				if want == 0 && tt.device != "" {
					expected = "+" + tt.device
				}
				if asked != expected {
					t.Errorf("device was asked %q, want %q", asked, expected)
				}
				d.completeAll(0)
				a := one(t, w.take(), reads)
				if a.handle != 0xfeedface || a.err != want || structured && want != 0 && a.text == "" {
					t.Errorf("answer %#x %v %q, want %v", a.handle, a.err, a.text, want)
				}
				// Whatever came, the stream goes on behind it.
				w.send(request(0, flush, 2, 0, 0)...)
				d.completeAll(0)
				if a := one(t, w.take(), 0); a.handle != 2 || a.err != 0 {
					t.Errorf("flush behind it: %+v", a)
				}
				w.c.Closed(0, io.EOF)
				checkEmpty(t, s, pool)
			})
		}
	}
}

func describeRequest(r *Request) string {
	s := r.Op.String()
	for _, f := range []struct {
		on   bool
		name string
	}{{r.FUA, "FUA"}, {r.NoHole, "NO_HOLE"}, {r.FastZero, "FAST_ZERO"}} {
		if f.on {
			s += " " + f.name
		}
	}
	return fmt.Sprintf("%s %d+%d", s, r.Offset, r.Length)
}

func TestDontFragment(t *testing.T) {
	s, d, _ := newTestServer(t, nil)
	w := ready(t, s, true)
	w.send(request(4, 0, 1, 0, 1<<20)...)
	d.completeAll(0)
	if a := one(t, w.take(), 0); a.err != 0 || len(a.data) != 1<<20 {
		t.Errorf("%v, %d bytes", a.err, len(a.data))
	}
	w.send(request(4, 0, 1, 0, 2<<20)...)
	if a := one(t, w.take(), 0); a.err != EOVERFLOW {
		t.Errorf("too large: %v", a.err)
	}
	w = ready(t, s, false)
	w.send(request(4, 0, 1, 0, 512)...)
	if a := one(t, w.take(), 0); a.err != EINVAL {
		t.Errorf("without structured replies: %v", a.err)
	}
}

func TestFastZeroAndTrimAsOffered(t *testing.T) {
	s, d, _ := newTestServer(t, func(_ *ServerConfig, d *memDevice) {
		d.info.ZeroFast, d.info.Trim = true, false
	})
	w := ready(t, s, true)
	w.send(request(16, 6, 1, 0, 512)...)
	if len(d.queue) != 1 || !d.queue[0].FastZero {
		t.Fatal("fast zero does not reach the device")
	}
	d.queue[0].Err, d.queue[0].Message = ENOTSUP, "not here"
	d.completeAll(0)
	if a := one(t, w.take(), 0); a.err != ENOTSUP || a.text != "not here" {
		t.Errorf("%v %q", a.err, a.text)
	}
	w.send(request(0, 4, 1, 0, 512)...)
	if a := one(t, w.take(), 0); a.err != EINVAL || len(d.queue) != 0 {
		t.Errorf("trim that was not offered: %v", a.err)
	}
}

// TestReplyGolden pins the bytes of the replies.
func TestReplyGolden(t *testing.T) {
	tests := []struct {
		name       string
		structured bool
		req        []byte
		err        Errno
		want       string
	}{
		{"read", false, request(0, 0, 0x1122334455667788, 1024, 512), 0,
			"67446698 00000000 1122334455667788 " + strings.Repeat("41", 512)},
		{"read error", false, request(0, 0, 1, 0, 512), EIO, "67446698 00000005 0000000000000001"},
		{"unknown errno", false, request(0, 3, 1, 0, 0), 116, "67446698 00000005 0000000000000001"},
		{"structured read", true, request(0, 0, 0x1122334455667788, 1024, 512), 0,
			"668e33ef 0001 0001 1122334455667788 00000208 0000000000000400 " + strings.Repeat("41", 512)},
		{"structured read of nothing", true, request(0, 0, 1, 0, 0), 0,
			"668e33ef 0001 0000 0000000000000001 00000000"},
		{"structured flush", true, request(0, 3, 1, 0, 0), 0, "67446698 00000000 0000000000000001"},
		{"structured error", true, request(0, 0, 1, 0, 512), EIO,
			"668e33ef 0001 8001 0000000000000001 00000009 00000005 0003 776879"},
	}
	for _, tt := range tests {
		s, d, _ := newTestServer(t, nil)
		copy(d.data[1024:], bytes.Repeat([]byte{'A'}, 512))
		w := ready(t, s, tt.structured)
		w.send(tt.req...)
		for _, r := range d.queue {
			if r.Err = tt.err; r.Err != 0 {
				r.Message = "why"
			}
		}
		d.completeAll(0)
		if got := hex.EncodeToString(w.take()); got != strings.ReplaceAll(tt.want, " ", "") {
			t.Errorf("%s: got %s", tt.name, got)
		}
	}
}

func TestLongMessage(t *testing.T) {
	s, d, _ := newTestServer(t, nil)
	w := ready(t, s, true)
	w.send(request(0, 3, 1, 0, 0)...)
	d.queue[0].Err, d.queue[0].Message = EIO, strings.Repeat("ä", 500)
	d.completeAll(0)
	if a := one(t, w.take(), 0); a.err != EIO || a.text != strings.Repeat("ä", maxMessage/2) {
		t.Errorf("%v %q", a.err, a.text)
	}
}

func TestDisconnect(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(cat(request(0, 0, 1, 0, 4096), request(0, 3, 2, 0, 0), request(0, 2, 3, 0, 0))...)
	if w.c.Finished() || w.c.State() != "leaving" {
		t.Fatalf("state %s with requests outstanding", w.c.State())
	}
	d.complete(0, 1)
	if a := one(t, w.take(), 0); a.handle != 2 {
		t.Fatalf("answer to %d", a.handle)
	}
	d.complete(0, 0)
	w.drain(100)
	if w.c.Finished() {
		t.Fatal("finished with a reply half sent")
	}
	w.take()
	if !w.c.Finished() || w.c.Err() != nil {
		t.Fatalf("state %s, %v", w.c.State(), w.c.Err())
	}
	w.c.Closed(0, nil)
	checkEmpty(t, s, pool)

	w = ready(t, s, false)
	w.send(cat(request(0, 3, 1, 0, 0), request(0, 2, 3, 0, 0), request(0, 3, 2, 0, 0))...)
	if w.c.Err() == nil || len(d.queue) != 1 {
		t.Errorf("request after DISC: %v, %d in the device", w.c.Err(), len(d.queue))
	}
}

func TestViolations(t *testing.T) {
	bad := request(0, 0, 1, 0, 512)
	bad[0] = 0
	for name, b := range map[string][]byte{
		"wrong magic of a request":  bad,
		"absurd length of a write":  request(0, 1, 1, 0, 1<<32-512),
		"wrong magic of a request ": cat(request(0, 9, 1, 0, 512), make([]byte, 512)),
	} {
		s, d, pool := newTestServer(t, nil)
		w := ready(t, s, true)
		w.send(cat(request(0, 0, 7, 0, 512), b, request(0, 3, 2, 0, 0))...)
		err := w.c.Err()
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) || !w.c.Finished() {
			t.Errorf("%s: %v", name, err)
		}
		if w.c.HasOutput() || w.c.WantsRead() || s.Stats().Violators != 1 {
			t.Errorf("%s: goes on", name)
		}
		d.completeAll(0) // the read before it
		w.c.Closed(0, err)
		checkEmpty(t, s, pool)
	}
}

func TestCompleteTwicePanics(t *testing.T) {
	s, d, _ := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(request(0, 3, 1, 0, 0)...)
	r := d.queue[0]
	d.complete(0, 0)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	w.c.Complete(0, r)
}

// TestResize holds requests against the size of the moment.
func TestResize(t *testing.T) {
	s, d, _ := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(request(0, 5, 1, 8<<20, 512)...)
	if a := one(t, w.take(), 0); a.err != EINVAL {
		t.Fatalf("before: %v", a.err)
	}
	d.info.Size = 16 << 20
	w.send(request(0, 5, 1, 8<<20, 512)...)
	if len(d.queue) != 1 {
		t.Fatal("after: refused")
	}
}
