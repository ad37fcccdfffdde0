package nbd

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// TestUnreadRepliesStopNobodyElse lets one client ask for more than it reads:
// it is no longer read from, and another is served as if it were alone.
func TestUnreadRepliesStopNobodyElse(t *testing.T) {
	const largest = 1<<20 + requestCost
	s, d, pool := newTestServer(t, func(c *ServerConfig, _ *memDevice) {
		c.MaxClients, c.MaxInFlight, c.MaxInFlightAll = 3, 4*largest, 5*largest
	})
	greedy, other := ready(t, s, false), ready(t, s, false)
	for i := range uint64(20) {
		greedy.send(request(0, 0, i, 0, 1<<20)...)
		d.completeAll(0)
		s.Resume(0)
	}
	if greedy.c.WantsRead() || len(greedy.in) == 0 {
		t.Fatal("the greedy client is still read from")
	}
	if pool.used > 3*(1<<20) {
		t.Fatalf("%d bytes in use: more than its reserve and what is shared", pool.used)
	}
	for i := range uint64(20) {
		other.send(request(0, 0, i, 0, 1<<20)...)
		d.completeAll(0)
		if a := one(t, other.take(), 1<<20); a.handle != i || a.err != 0 {
			t.Fatalf("the other client got %d %v", a.handle, a.err)
		}
	}
	if s.Resume(0) || greedy.c.Resumed() {
		t.Fatal("resumed without room")
	}
	got := 0
	for range 1000 {
		greedy.drain(100 << 10)
		if s.Resume(0) && !greedy.c.Resumed() {
			t.Fatal("someone else was resumed")
		}
		greedy.pump(everything)
		d.completeAll(0)
	}
	for len(greedy.out) > 0 {
		a, rest, err := parseReply(greedy.out, func(uint64) int { return 1 << 20 })
		if err != nil || a.handle != uint64(got) {
			t.Fatalf("reply %d: %v %+v", got, err, a.handle)
		}
		got, greedy.out = got+1, rest
	}
	if got != 20 {
		t.Errorf("%d answers", got)
	}
	greedy.c.Closed(0, io.EOF)
	other.c.Closed(0, io.EOF)
	checkEmpty(t, s, pool)
}

func TestMaxRequests(t *testing.T) {
	s, d, _ := newTestServer(t, func(c *ServerConfig, _ *memDevice) { c.MaxRequests = 8 })
	w := ready(t, s, false)
	for i := range uint64(20) {
		w.in = append(w.in, request(0, 3, i, 0, 0)...)
	}
	w.pump(everything)
	if len(d.queue) != 8 || w.c.WantsRead() {
		t.Fatalf("%d requests in the device", len(d.queue))
	}
	d.complete(0, 0)
	if s.Resume(0) {
		t.Error("an answer that has not left makes no room")
	}
	w.take()
	if !s.Resume(0) || !w.c.Resumed() || w.c.Resumed() || len(d.queue) != 8 {
		t.Errorf("%d requests in the device", len(d.queue))
	}
}

// TestPoolExhausted: without memory a client waits, and holds none meanwhile.
func TestPoolExhausted(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	pool.limit = 600 << 10
	w, v := ready(t, s, false), ready(t, s, false)
	w.send(request(0, 0, 1, 0, 512<<10)...)
	v.send(request(0, 1, 2, 0, 512<<10, make([]byte, 512<<10)...)...)
	if len(d.queue) != 1 || v.c.WantsRead() || pool.used != 512<<10 || s.Resume(0) {
		t.Fatalf("%d in the device, %d bytes lent", len(d.queue), pool.used)
	}
	d.completeAll(0)
	w.take()
	if !s.Resume(0) || !v.c.Resumed() || w.c.Resumed() {
		t.Fatal("not resumed")
	}
	v.pump(everything)
	if len(d.queue) != 1 || d.queue[0].Op != Write {
		t.Fatal("the write did not arrive")
	}
}

func TestReplyTimeout(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w := ready(t, s, false)
	w.now = time.Minute
	w.send(request(0, 0, 1, 0, 8192)...)
	if d := s.Deadline(); d < time.Hour*1000 {
		t.Fatalf("a slow device has the deadline %v", d)
	}
	d.complete(2*time.Minute, 0)
	if d := s.Deadline(); d != 3*time.Minute {
		t.Fatalf("deadline %v", d)
	}
	w.now = 3*time.Minute - 1
	w.drain(1)
	s.Tick(3 * time.Minute)
	if w.c.Finished() {
		t.Fatal("a byte is progress")
	}
	s.Tick(4 * time.Minute)
	if !w.c.Finished() || !errors.Is(w.c.Err(), ErrReplyTimeout) {
		t.Fatalf("%s %v", w.c.State(), w.c.Err())
	}
	if len(pool.lent) == 0 {
		t.Fatal("buffers that the transport may still look at were given back")
	}
	w.c.Closed(4*time.Minute, w.c.Err())
	checkEmpty(t, s, pool)
}

func TestClientGone(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(request(0, 0, 1, 0, 8192)...) // its reply will be half sent
	w.send(request(0, 1, 2, 0, 4096, make([]byte, 4096)...)...)
	w.send(request(0, 0, 3, 0, 300<<10)...)                        // stays with the device
	w.send(request(0, 1, 4, 0, 512<<10, make([]byte, 9999)...)...) // cut off
	d.complete(0, 0)
	w.drain(5000)
	r, q := d.queue[0], d.queue[1]
	w.c.Closed(0, io.ErrUnexpectedEOF)
	w.c.Closed(0, io.EOF) // the owner may say it again
	if !errors.Is(w.c.Err(), io.ErrUnexpectedEOF) || w.c.Finished() || w.c.HasOutput() {
		t.Fatalf("after the end: %v", w.c.Err())
	}
	if len(d.queue) != 2 || r.Op != Write || q.Op != Read || len(pool.lent) != 1+2 || s.Idle() {
		t.Fatalf("the device's requests were touched: %d buffers", len(pool.lent))
	}
	q.Data[1][0] = 1
	r.Retained = true
	kept := r.Data[0]
	d.completeAll(0)
	if !s.Idle() || len(pool.lent) != 1 {
		t.Fatalf("%d buffers", len(pool.lent))
	}
	pool.Put(kept)
	checkEmpty(t, s, pool)
}

// TestGoneClientsAreCounted lets clients come, leave requests with a device
// that does not answer, and go: in the end there is no room for another.
func TestGoneClientsAreCounted(t *testing.T) {
	const largest = 1<<20 + requestCost
	s, d, pool := newTestServer(t, func(c *ServerConfig, _ *memDevice) {
		c.MaxClients, c.MaxInFlightAll = 4, 6*largest
	})
	n := 0
	for ; n < 100; n++ {
		c := s.Accept(0)
		if c == nil {
			break
		}
		w := &wire{tb: t, c: c}
		w.send(cat([]byte{0, 0, 0, 3}, option(7, goData("")), request(0, 0, 1, 0, 1<<20))...)
		w.c.Closed(0, io.EOF)
	}
	if n != 6 || s.Stats().Refused != 1 || s.Stats().InFlight != 6 {
		t.Fatalf("%d clients, %+v", n, s.Stats())
	}
	d.completeAll(0)
	checkEmpty(t, s, pool)
	for range 4 {
		ready(t, s, false)
	}
	if s.Accept(0) != nil {
		t.Error("a fifth client")
	}
}

func TestRetained(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(request(0, 1, 1, 0, 300<<10, make([]byte, 300<<10)...)...)
	r := d.queue[0]
	kept := append([][]byte(nil), r.Data...)
	r.Retained = true
	d.completeAll(0)
	if a := one(t, w.take(), 0); a.err != 0 {
		t.Fatal(a.err)
	}
	if len(pool.lent) != 2 {
		t.Fatalf("%d buffers lent", len(pool.lent))
	}
	for _, b := range kept {
		pool.Put(b)
	}
	w.send(request(0, 0, 1, 0, 512)...)
	if r := d.queue[0]; r.Retained || r.Backend != nil || r.Message != "" {
		t.Error("a reused request remembers the old one")
	}
	d.completeAll(0)
	w.take()
	w.c.Closed(0, io.EOF)
	checkEmpty(t, s, pool)
}

func TestShutdown(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w, h := ready(t, s, true), accept(t, s)
	h.send(0, 0, 0, 3)
	h.take()
	w.send(request(0, 0, 1, 0, 512)...)
	w.send(request(0, 1, 2, 0, 1024, make([]byte, 500)...)...)
	s.Shutdown(0)
	if s.Idle() || s.Accept(0) != nil || s.AcceptKernel(0) != nil {
		t.Fatal("idle, or open")
	}
	w.send(make([]byte, 524)...) // the rest of the write, which was admitted
	w.send(cat(request(0, 3, 3, 0, 0), request(0, 1, 4, 0, 512, make([]byte, 512)...))...)
	for _, handle := range []uint64{3, 4} {
		a, rest, err := parseReply(w.take(), noData)
		if handle == 3 {
			w.out = rest
		}
		if err != nil || a.handle != handle || a.err != ESHUTDOWN {
			t.Fatalf("%v %+v", err, a)
		}
	}
	d.completeAll(0)
	if s.Idle() {
		t.Fatal("idle with replies to send")
	}
	w.take()
	if !s.Idle() {
		t.Fatal("not idle")
	}
	h.send(option(3, nil)...)
	if got := describe(t, h.take()); got != "option 3: ERR_SHUTDOWN \"server is stopping\"\n" {
		t.Error(got)
	}
	h.send(option(1, nil)...)
	if !errors.Is(h.c.Err(), ErrStopping) {
		t.Error(h.c.Err())
	}
	w.c.Closed(0, io.EOF)
	h.c.Closed(0, io.EOF)
	checkEmpty(t, s, pool)
}

// TestKernelShutdown: the kernel makes an I/O error of ESHUTDOWN, so it gets
// none, and asks again on its next socket.
func TestKernelShutdown(t *testing.T) {
	s, d, pool := newTestServer(t, nil)
	w := &wire{tb: t, c: s.AcceptKernel(0)}
	if w.c.HasOutput() {
		t.Fatal("greeted")
	}
	w.send(cat(request(0, 1, 1, 512, 512, make([]byte, 512)...), request(0, 3, 2, 0, 0),
		request(0, 0, 3, 512, 512))...)
	if len(d.queue) != 3 {
		t.Fatalf("%d in the device", len(d.queue))
	}
	s.Shutdown(0)
	w.send(request(0, 3, 4, 0, 0)...)
	if len(d.queue) != 3 || len(w.in) != sizeRequest || w.c.WantsRead() {
		t.Fatal("read from after the shutdown")
	}
	d.queue[1].Err = ESHUTDOWN
	d.queue[2].Err = EIO
	d.completeAll(0)
	b := w.take()
	a, rest, err := parseReply(b, noData)
	if err != nil || a.handle != 1 || a.err != 0 {
		t.Fatalf("%v %+v", err, a)
	}
	if a := one(t, rest, 0); a.handle != 3 || a.err != EIO {
		t.Fatalf("%+v", a)
	}
	if !s.Idle() {
		t.Fatal("not idle")
	}
	w.c.Closed(0, io.EOF)
	checkEmpty(t, s, pool)
}

// TestBudget holds the budget against a plain model: what is taken beyond the
// reserves never makes a reserve unavailable.
func TestBudget(t *testing.T) {
	type client struct {
		held int64
		out  []int64
		gone bool
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		b := newBudget(100, 250, 520, 1+rnd.IntN(8))
		var clients []*client
		for range 500 {
			var c *client
			if len(clients) > 0 {
				c = clients[rnd.IntN(len(clients))]
			}
			switch k := rnd.IntN(10); {
			case k == 0 || c == nil:
				if b.join() {
					clients = append(clients, &client{})
				}
			case k == 1 && !c.gone:
				b.leave(c.held)
				c.gone = true
			case k < 6 && !c.gone:
				n := 1 + rnd.Int64N(100)
				if ok := b.take(c.held, n); ok {
					c.held += n
					c.out = append(c.out, n)
				} else if c.held+n <= b.reserve {
					t.Fatalf("seed %d: refused within the reserve", seed)
				}
			case len(c.out) > 0:
				n := c.out[0]
				c.out = c.out[1:]
				b.give(c.held, n, c.gone)
				c.held -= n
			}
			sum := int64(0)
			for _, c := range clients {
				if c.gone {
					sum += c.held
				} else {
					sum += max(c.held, b.reserve)
				}
				if c.held > b.perClient {
					t.Fatalf("seed %d: a client holds %d", seed, c.held)
				}
			}
			if sum > b.total {
				t.Fatalf("seed %d: %d bytes with the reserves, of %d", seed, sum, b.total)
			}
		}
	}
}

func TestCharge(t *testing.T) {
	for n, want := range map[uint64]int64{
		0: 0, 1: 4096, 4096: 4096, 4097: 8192, 132 << 10: 256 << 10, 256 << 10: 256 << 10,
		256<<10 + 512: 260 << 10, 32 << 20: 32 << 20,
	} {
		if got := charge(n); got != want {
			t.Errorf("charge(%d) = %d, want %d", n, got, want)
		}
	}
}
