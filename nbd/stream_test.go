package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// asked is a request as its client remembers it.
type asked struct {
	op      Op
	offset  uint64
	length  uint32
	payload []byte
	want    []byte // of a read, once it is done
	err     Errno  // expected
}

// randomClient sends random requests and checks every answer.
type randomClient struct {
	*wire
	rnd     *rand.Rand
	pending map[uint64]*asked
	left    int // requests still to be sent
	next    uint64
	checked int
}

var kinds = map[Op]uint16{Read: 0, Write: 1, Flush: 3, Trim: 4, Cache: 5, WriteZeroes: 6}

// ask sends one request, which may be of the largest size if large.
func (c *randomClient) ask(info Info, large bool) {
	a := &asked{op: Op(c.rnd.IntN(opCount))}
	flags := uint16(c.rnd.IntN(2))
	if a.op != Flush {
		a.length = uint32(1+c.rnd.IntN(40)) * 512
		if large && c.rnd.IntN(10) == 0 {
			a.length = uint32(1+c.rnd.IntN(2048)) * 512
		}
		a.offset = c.rnd.Uint64N(info.Size/512) * 512
		if a.offset+uint64(a.length) > info.Size {
			a.err = EINVAL
			if a.op == Write || a.op == WriteZeroes {
				a.err = ENOSPC
			}
		}
	}
	if c.rnd.IntN(50) == 0 {
		flags, a.err = 1<<9, EINVAL
	}
	if a.op == Write {
		a.payload = make([]byte, a.length)
		for i := range len(a.payload) / 8 {
			binary.LittleEndian.PutUint64(a.payload[8*i:], c.rnd.Uint64())
		}
	}
	c.next++
	handle := c.next * 0x9e3779b97f4a7c15
	c.pending[handle] = a
	c.in = append(c.in, request(flags, kinds[a.op], handle, a.offset, a.length, a.payload...)...)
	c.left--
}

// check takes the answers that have arrived whole.
func (c *randomClient) check() {
	for {
		a, rest, err := parseReply(c.out, func(h uint64) int {
			if q := c.pending[h]; q != nil && q.op == Read {
				return int(q.length)
			}
			return 0
		})
		if err == errShort {
			return
		}
		q := c.pending[a.handle]
		if err != nil || q == nil {
			c.tb.Fatalf("answer to %#x: %v, known: %v", a.handle, err, q != nil)
		}
		if a.err != q.err || !bytes.Equal(a.data, q.want) {
			c.tb.Fatalf("%v %d+%d: %v, want %v; %d bytes, want %d, equal %v", q.op, q.offset,
				q.length, a.err, q.err, len(a.data), len(q.want), bytes.Equal(a.data, q.want))
		}
		delete(c.pending, a.handle)
		c.out = rest
		c.checked++
	}
}

// finish has the device do one request, or fail it, with a shadow of what the
// clients know.
func finish(
	t *testing.T, rnd *rand.Rand, d *memDevice, shadow []byte, clients map[*Conn]*randomClient,
) {
	i := rnd.IntN(len(d.queue))
	r := d.queue[i]
	q := clients[r.Conn()].pending[r.handle]
	if q == nil || q.op != r.Op || q.offset != r.Offset || uint64(q.length) != r.Length || q.err != 0 {
		t.Fatalf("the device has %s, the client sent %+v", describeRequest(r), q)
	}
	n := uint64(0)
	for i, b := range r.Data {
		if len(b) > Chunk || i < len(r.Data)-1 && len(b) != Chunk {
			t.Fatalf("chunk %d of %d has %d bytes", i, len(r.Data), len(b))
		}
		n += uint64(len(b))
	}
	if data := r.Op == Read || r.Op == Write; data && n != r.Length || !data && n != 0 {
		t.Fatalf("%s with %d bytes", describeRequest(r), n)
	}
	span := shadow[r.Offset:][:r.Length]
	if rnd.IntN(20) == 0 {
		q.err = EIO
		r.Err = EIO
	} else {
		switch r.Op {
		case Write:
			copy(span, q.payload)
		case Trim, WriteZeroes:
			clear(span)
		case Read:
			q.want = bytes.Clone(span)
		}
	}
	d.complete(0, i)
}

// TestRandomStreams runs several clients over streams that are cut anywhere,
// with answers out of order, too little room, and a device that fails at times.
func TestRandomStreams(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s, d, pool := newTestServer(t, func(c *ServerConfig, _ *memDevice) {
			c.MaxRequests = 1 + rnd.IntN(40)
			c.MaxClients = 3
			c.MaxInFlight = 2 << 20
			c.MaxInFlightAll = 4 << 20
		})
		pool.limit = 3 << 20
		shadow := make([]byte, len(d.data))
		clients := map[*Conn]*randomClient{}
		var order []*randomClient
		for i := range 3 {
			c := &randomClient{wire: ready(t, s, i != 1), rnd: rnd, left: 150}
			c.pending = map[uint64]*asked{}
			clients[c.c] = c
			order = append(order, c)
		}
		step := []int{100, 1000, 5000, 300 << 10, everything}[rnd.IntN(5)]
		for idle := 0; idle < 1000; idle++ {
			c := order[rnd.IntN(len(order))]
			if c.left > 0 && len(c.in) < 3<<20 && rnd.IntN(3) == 0 {
				c.ask(d.info, step > 1000)
			}
			n := 1 + rnd.IntN(step)
			if c.pump(n) > 0 || c.drain(n) > 0 || c.left > 0 {
				idle = 0
			}
			c.check()
			if len(d.queue) > 0 && rnd.IntN(2) == 0 {
				finish(t, rnd, d, shadow, clients)
				idle = 0
			}
			s.Resume(0)
			if len(pool.lent) > 0 && pool.used > 3<<20 {
				t.Fatalf("seed %d: %d bytes", seed, pool.used)
			}
		}
		for _, c := range order {
			if c.checked != 150 || len(c.pending) != 0 || len(c.in) != 0 || len(c.out) != 0 {
				t.Fatalf("seed %d: %d answers, %d pending, %d bytes unread", seed, c.checked,
					len(c.pending), len(c.in))
			}
			c.c.Closed(0, io.EOF)
		}
		if !bytes.Equal(shadow, d.data) {
			t.Fatalf("seed %d: the disk differs", seed)
		}
		checkEmpty(t, s, pool)
	}
}

// TestPayloadInPlace: what is read behind the header of a large write lands in
// its buffers, not in the staging buffer.
func TestPayloadInPlace(t *testing.T) {
	s, d, _ := newTestServer(t, nil)
	w := ready(t, s, false)
	w.send(request(0, 1, 1, 0, 600<<10)...)
	bufs := w.c.RecvBuffers(nil)
	if len(bufs) != 4 || len(bufs[0]) != Chunk || len(bufs[2]) != 88<<10 ||
		len(bufs[3]) != aheadOfLong {
		t.Fatalf("%d buffers", len(bufs))
	}
	if &bufs[0][0] != &w.c.cur.Data[0][0] {
		t.Fatal("not the write's buffer")
	}
	w.send(make([]byte, 600<<10)...)
	if len(d.queue) != 1 {
		t.Fatal("the write is whole")
	}
	d.completeAll(0)
	w.take()
	if bufs = w.c.RecvBuffers(nil); len(bufs) != 1 || len(bufs[0]) != aheadOfLong {
		t.Fatal("what follows a long write is likely another one")
	}

	w.send(request(0, 0, 2, 0, 300<<10)...)
	if len(w.c.RecvBuffers(nil)[0]) != stagingSize {
		t.Fatal("what follows a request without payload is likely short")
	}
	r := d.queue[0]
	d.completeAll(0)
	bufs = w.c.SendBuffers(nil)
	if len(bufs) != 3 || &bufs[1][0] != &r.Data[0][0] || &bufs[2][0] != &r.Data[1][0] {
		t.Error("the reply does not leave from the request's buffers")
	}
}

// nullDevice answers when told, without doing anything.
type nullDevice struct {
	info  Info
	queue []*Request
}

func (d *nullDevice) Info() Info                         { return d.info }
func (d *nullDevice) Submit(_ time.Duration, r *Request) { d.queue = append(d.queue, r) }

func (d *nullDevice) completeAll(now time.Duration) {
	for i, r := range d.queue {
		d.queue[i] = nil
		r.Conn().Complete(now, r)
	}
	d.queue = d.queue[:0]
}

// listPool is a Pool of one size, as quick as can be.
type listPool struct {
	size int
	free [][]byte
}

func (p *listPool) Get(n int) []byte {
	if k := len(p.free); k > 0 {
		b := p.free[k-1]
		p.free = p.free[:k-1]
		return b[:n]
	}
	return make([]byte, n, p.size)
}

func (p *listPool) Put(b []byte) { p.free = append(p.free, b) }

// engine is a Conn with nothing slow around it.
type engine struct {
	s    *Server
	d    *nullDevice
	c    *Conn
	bufs [][]byte
}

func newEngine(tb testing.TB) *engine {
	d := &nullDevice{info: Info{Size: 1 << 40, MinBlock: 512, Trim: true}}
	s := NewServer(ServerConfig{Device: d, Pool: &listPool{size: Chunk}})
	e := &engine{s: s, d: d, c: s.AcceptKernel(0)}
	if e.c == nil {
		tb.Fatal("not accepted")
	}
	return e
}

// round lets the client send b, has all done, and reads all answers.
func (e *engine) round(b []byte) {
	for len(b) > 0 {
		e.bufs = e.c.RecvBuffers(e.bufs[:0])
		n := 0
		for _, dst := range e.bufs {
			k := copy(dst, b)
			b = b[k:]
			n += k
		}
		e.c.Received(0, n)
		e.d.completeAll(0)
		for e.c.HasOutput() {
			e.bufs = e.c.SendBuffers(e.bufs[:0])
			n := 0
			for _, src := range e.bufs {
				n += len(src)
			}
			e.c.Sent(0, n)
		}
		e.s.Resume(0)
	}
}

// batch is 32 requests of one kind.
func batch(kind uint16, length uint32) []byte {
	var b []byte
	for i := range uint64(32) {
		payload := 0
		if kind == 1 {
			payload = int(length)
		}
		b = append(b, request(0, kind, i, i<<20, length, make([]byte, payload)...)...)
	}
	return b
}

var batches = []struct {
	name string
	b    []byte
}{
	{"read4k", batch(0, 4096)},
	{"write4k", batch(1, 4096)},
	{"write512k", batch(1, 512<<10)},
	{"flush", batch(3, 0)},
	{"refused", batch(0, 1)},
}

func TestNoAllocations(t *testing.T) {
	for _, b := range batches {
		e := newEngine(t)
		e.round(b.b)
		if n := testing.AllocsPerRun(20, func() { e.round(b.b) }); n != 0 {
			t.Errorf("%s: %v allocations in 32 requests", b.name, n)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, r := range batches {
		b.Run(r.name, func(b *testing.B) {
			e := newEngine(b)
			for i := 0; i < b.N; i += 32 {
				e.round(r.b)
			}
		})
	}
}
