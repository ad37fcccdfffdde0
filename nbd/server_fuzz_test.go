package nbd

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"braid/internal/fuzz"
)

// A fuzzClient is one client of a server whose every move the fuzzer makes.
type fuzzClient struct {
	*wire
	asked map[uint64]int // requests that were sent whole: bytes that a good answer has
	next  uint64
	tame  bool // it has sent nothing but what is right, and knows the device's size
	ready bool // its handshake was answered
}

type fuzzServer struct {
	t       *testing.T
	s       *Server
	d       *memDevice
	pool    *testPool
	rnd     *rand.Rand
	now     time.Duration
	clients []*fuzzClient
}

const (
	fuzzInFlight    = 300 << 10
	fuzzMaxRequests = 6
)

// FuzzServer: several clients come, ask, read slowly, send nonsense and go; the device
// answers in any order, well or not, and keeps buffers; time goes by. The server holds its
// bounds, answers each request of a well-behaved client once, asks for no step in the past,
// and has given all back when everybody is gone.
func FuzzServer(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(fuzz.Noise(seed, 5, 400))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 || len(b) > 1000 {
			return
		}
		src := &fuzz.Source{Input: b}
		z := &fuzzServer{t: t, rnd: rand.New(src)}
		z.s, z.d, z.pool = newTestServer(t, func(c *ServerConfig, d *memDevice) {
			c.MaxRequests, c.MaxClients, c.MaxInFlightAll = fuzzMaxRequests, 3, fuzzInFlight
			d.data = d.data[:1<<20]
			d.info.Size, d.info.MaxBlock = 1<<20, 64<<10
		})
		for len(src.Input) > 0 {
			z.act()
			z.check()
		}
		z.end()
	})
}

func (z *fuzzServer) act() {
	if len(z.clients) == 0 {
		z.connect()
		return
	}
	i := z.rnd.IntN(len(z.clients))
	c := z.clients[i]
	switch k := z.rnd.IntN(24); {
	case k < 6:
		c.request(z)
	case k < 10:
		c.pump(1 + z.rnd.IntN(256)*z.rnd.IntN(256))
	case k < 14:
		c.drain(1 + z.rnd.IntN(256)*z.rnd.IntN(256))
	case k < 18:
		z.answer()
	case k == 18:
		z.connect()
	case k == 19:
		c.tame = false
		c.in = append(c.in, byte(z.rnd.Uint32()), byte(z.rnd.Uint32()), byte(z.rnd.Uint32()))
	case k == 20:
		c.c.Closed(z.now, errors.New("connection reset by peer"))
		z.clients = append(z.clients[:i], z.clients[i+1:]...)
	case k == 21:
		z.tick(time.Duration(z.rnd.IntN(256)) * 100 * time.Millisecond)
	case k == 22:
		z.s.Resume(z.now)
	case z.rnd.IntN(16) == 0:
		z.s.Shutdown(z.now)
	default:
		c.in = append(c.in, request(0, 2, 0, 0, 0)...) // DISC
		c.tame = false
	}
}

func (z *fuzzServer) connect() {
	c := &fuzzClient{wire: &wire{tb: z.t, now: z.now}, asked: map[uint64]int{}, tame: true}
	if z.rnd.IntN(2) == 0 {
		c.c, c.ready = z.s.AcceptKernel(z.now), true
	} else {
		c.c = z.s.Accept(z.now)
		c.in = append(c.in, 0, 0, 0, 3)
		if z.rnd.IntN(2) == 0 {
			c.in = append(c.in, option(optionStructuredReply, nil)...)
		}
		c.in = append(c.in, option(7, goData("disk"))...)
	}
	if c.c != nil {
		z.clients = append(z.clients, c)
	} else if st := z.s.Stats(); st.Clients+st.InFlight == 0 && !z.s.stopping {
		z.t.Fatal("no room although nobody is there")
	}
}

// request sends one that is right; as much of it as the next pumps take.
func (c *fuzzClient) request(z *fuzzServer) {
	if len(c.asked) >= 3*fuzzMaxRequests {
		return
	}
	c.next++
	at := uint64(z.rnd.IntN(1024)) * 512
	n := uint32(1+z.rnd.IntN(128)) * 512
	op := []uint16{0, 0, 1, 1, 3, 4, 5, 6}[z.rnd.IntN(8)]
	flags, payload, want := uint16(0), []byte(nil), 0
	switch op {
	case 0:
		want = int(n)
	case 1:
		payload = make([]byte, n)
		flags = uint16(z.rnd.IntN(2))
	case 3:
		at, n = 0, 0
	}
	c.asked[c.next] = want
	c.in = append(c.in, request(flags, op, c.next, at, n, payload...)...)
}

// answer has the device complete one of its requests.
func (z *fuzzServer) answer() {
	if len(z.d.queue) == 0 {
		return
	}
	i := z.rnd.IntN(len(z.d.queue))
	switch r := z.d.queue[i]; z.rnd.IntN(6) {
	case 0:
		r.Err, r.Message = EIO, "no luck"
	case 1:
		if r.Op == Write {
			r.Retained = true // the device gives the buffers back itself
			data := append([][]byte(nil), r.Data...)
			z.d.complete(z.now, i)
			for _, b := range data {
				z.pool.Put(b)
			}
			return
		}
	}
	z.d.complete(z.now, i)
}

func (z *fuzzServer) tick(d time.Duration) {
	z.now += d
	for _, c := range z.clients {
		c.now = z.now
	}
	z.s.Tick(z.now)
	if next := z.s.Deadline(); next <= z.now {
		z.t.Fatalf("asks for a step at %v, now is %v", next, z.now)
	}
}

// check looks at the bounds, takes what came back, and lets go who is done.
func (z *fuzzServer) check() {
	st := z.s.Stats()
	switch {
	case st.InFlight != len(z.d.queue):
		z.t.Fatalf("%d requests with the device, the server says %d", len(z.d.queue), st.InFlight)
	case z.pool.used > fuzzInFlight+3*(64<<10):
		z.t.Fatalf("%d bytes of buffers are lent", z.pool.used)
	case len(z.d.queue) > 4*fuzzMaxRequests:
		z.t.Fatalf("%d requests at once", len(z.d.queue))
	}
	for i := len(z.clients) - 1; i >= 0; i-- {
		c := z.clients[i]
		c.replies(z.t)
		if c.c.Finished() {
			if c.tame && !z.s.stopping && !errors.Is(c.c.Err(), ErrHandshakeTimeout) &&
				!errors.Is(c.c.Err(), ErrReplyTimeout) {
				z.t.Fatalf("a good client was cut off: %v", c.c.Err())
			}
			c.c.Closed(z.now, io.EOF)
			z.clients = append(z.clients[:i], z.clients[i+1:]...)
		}
	}
}

// replies takes whole replies out of what came.
func (c *fuzzClient) replies(t *testing.T) {
	if !c.tame {
		c.out = nil
		return
	}
	if !c.ready {
		if c.c.State() != "transmission" || c.c.outPos < len(c.c.out) {
			return
		}
		// What the handshake said is not replies.
		c.ready = true
		for len(c.out) >= 4 && string(c.out[:4]) != "\x67\x44\x66\x98" &&
			string(c.out[:4]) != "\x66\x8e\x33\xef" {
			c.out = c.out[1:]
		}
		if len(c.out) < 4 {
			c.out = nil
		}
	}
	for len(c.out) > 0 {
		a, rest, err := parseReply(c.out, func(h uint64) int { return c.asked[h] })
		if err == errShort {
			return
		}
		if err != nil {
			t.Fatalf("a client reads: %v", err)
		}
		want, ok := c.asked[a.handle]
		if !ok {
			t.Fatalf("an answer to %d, which was answered or never asked", a.handle)
		}
		if a.err == 0 && len(a.data) != want {
			t.Fatalf("%d bytes of %d", len(a.data), want)
		}
		delete(c.asked, a.handle)
		c.out = rest
	}
}

// end lets all be read and answered, and everybody go.
func (z *fuzzServer) end() {
	for range 2000 {
		moved := 0
		for _, c := range z.clients {
			moved += c.pump(everything) + c.drain(everything)
		}
		moved += len(z.d.queue)
		z.d.completeAll(z.now)
		if z.s.Resume(z.now) {
			moved++
		}
		z.check()
		if moved == 0 {
			break
		}
	}
	for _, c := range z.clients {
		if c.tame && c.ready && !z.s.stopping && len(c.asked) > 0 {
			z.t.Fatalf("%d requests were never answered (%s, %d bytes unread)", len(c.asked),
				c.c.State(), len(c.in))
		}
		c.c.Closed(z.now, io.EOF)
	}
	checkEmpty(z.t, z.s, z.pool)
}
