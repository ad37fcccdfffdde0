package nbd

import (
	"io"
	"testing"
)

// FuzzConn lets a client send anything, in two pieces of any size at a time.
// Whatever it does, the engine holds its bounds, and gives all back when the
// client is gone.
func FuzzConn(f *testing.F) {
	hello := cat([]byte{0, 0, 0, 3}, option(8, nil), option(7, goData("disk", 1, 3)))
	f.Add(hello, uint8(3), false)
	f.Add(cat([]byte{0, 0, 0, 1}, option(3, nil), option(1, []byte("disk")),
		request(0, 0, 1, 0, 4096), request(1, 1, 2, 512, 1024, make([]byte, 1024)...),
		request(0, 3, 3, 0, 0), request(0, 2, 4, 0, 0)), uint8(99), false)
	f.Add(cat(hello, request(0, 1, 1, 0, 32<<10), make([]byte, 32<<10), request(4, 0, 2, 0, 20<<10)),
		uint8(0), false)
	f.Add(cat(request(0, 4, 1, 0, 1<<20), request(3, 6, 2, 0, 512), request(0, 5, 3, 0, 512),
		request(0, 7, 3, 0, 512), request(0, 0, 4, 1<<63, 512)), uint8(200), true)
	f.Fuzz(func(t *testing.T, b []byte, step uint8, kernel bool) {
		s, d, pool := newTestServer(t, func(c *ServerConfig, d *memDevice) {
			c.MaxRequests, c.MaxClients, c.MaxInFlightAll = 5, 2, 200<<10
			d.data = d.data[:1<<20]
			d.info.Size, d.info.MaxBlock = 1<<20, 64<<10
		})
		w := &wire{tb: t, in: b}
		if kernel {
			w.c = s.AcceptKernel(0)
		} else {
			w.c = s.Accept(0)
		}
		for i := 0; ; i++ {
			moved := w.pump(20 + int(step)*(1+i%7)*10)
			if out := len(w.c.out); len(d.queue) > 5 || pool.used > 200<<10 || out > 64<<10 {
				t.Fatalf("%d requests, %d bytes, %d bytes of output", len(d.queue), pool.used, out)
			}
			if len(d.queue) > 0 && i%3 == 0 {
				d.complete(0, i%len(d.queue))
			}
			moved += w.drain(10 + int(step)*77)
			if s.Resume(0) || moved > 0 {
				continue
			}
			if len(d.queue) == 0 {
				break
			}
			d.completeAll(0)
		}
		if !w.c.Finished() && (len(w.in) > 0 || w.c.HasOutput()) {
			t.Fatalf("stuck in %s with %d bytes unread", w.c.State(), len(w.in))
		}
		w.c.Closed(0, io.EOF)
		checkEmpty(t, s, pool)
	})
}

func FuzzParseGo(f *testing.F) {
	f.Add(goData("disk", 1, 2, 3))
	f.Add(goData(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, _, ok := parseGo(b)
		if ok && (len(name) > maxString || len(name)+6 > len(b)) {
			t.Fatalf("a name of %d bytes from %d", len(name), len(b))
		}
	})
}
