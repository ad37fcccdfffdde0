package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// An echoPath answers every command with success, at once and without allocation.
type echoPath struct {
	Path // the one in whose place it is
	out  []*scsi.Command
}

func (p *echoPath) Submit(_ time.Duration, c *scsi.Command) {
	c.Err, c.Transferred = nil, len(c.Data)
	p.out = append(p.out, c)
}

func (p *echoPath) Completed() *scsi.Command {
	if len(p.out) == 0 {
		return nil
	}
	c := p.out[0]
	p.out = p.out[:copy(p.out, p.out[1:])]
	return c
}

func (p *echoPath) Deadline() time.Duration { return never }

// recycler is a pool of buffers that are always there.
type recycler struct{ free [][]byte }

func (p *recycler) Get(n int) []byte {
	if k := len(p.free); k > 0 {
		b := p.free[k-1]
		p.free = p.free[:k-1]
		return b[:n]
	}
	return make([]byte, n)
}

func (p *recycler) Put(b []byte) { p.free = append(p.free, b) }

// An echoRig is a device over such paths.
type echoRig struct {
	r    *rig
	pool *recycler
	reqs []Request
	data [][][]byte
}

const echoBlock = 4096

func newEchoRig(t *testing.T, slots int) *echoRig {
	e := &echoRig{r: ready(t, slots), pool: new(recycler)}
	for _, s := range e.r.d.slots {
		s.path = &echoPath{Path: s.path}
	}
	e.r.d.cfg.Pool = e.pool
	e.reqs = make([]Request, 32)
	for range e.reqs {
		e.data = append(e.data, make([][]byte, 1))
	}
	return e
}

// round takes 32 requests of a kind through the device, and a flush.
func (e *echoRig) round(op Op) {
	d := e.r.d
	for i := range e.reqs {
		q := &e.reqs[i]
		*q = Request{Op: op, Offset: uint64(i) * echoBlock, Length: echoBlock, Data: e.data[i]}
		q.Data[0] = e.pool.Get(echoBlock)
		d.Submit(e.r.now, q)
	}
	e.drain(len(e.reqs))
	e.reqs[0] = Request{Op: Flush}
	d.Submit(e.r.now, &e.reqs[0])
	e.drain(1)
}

func (e *echoRig) drain(n int) {
	for n > 0 {
		e.r.d.Step(e.r.now)
		q := e.r.d.Completed()
		for ; q != nil; q = e.r.d.Completed() {
			if q.Err != 0 {
				e.r.t.Fatalf("%v failed: %v", q.Op, q.Reason)
			}
			if len(q.Data) > 0 && !q.Retained {
				e.pool.Put(q.Data[0])
			}
			n--
		}
		e.r.now += time.Microsecond
	}
}

// Nothing is allocated for a request.
func TestNoAllocation(t *testing.T) {
	for _, slots := range []int{1, 4} {
		for _, op := range []Op{Read, Write} {
			e := newEchoRig(t, slots)
			for range 20 {
				e.round(op)
			}
			if n := testing.AllocsPerRun(50, func() { e.round(op) }); n != 0 {
				t.Errorf("%v with %d paths: %v allocations for 32 requests and a flush", op, slots, n)
			}
		}
	}
}

// What is told is the time of one request, of which every 33rd is a flush.
func BenchmarkRead1(b *testing.B)  { benchmark(b, Read, 1) }
func BenchmarkRead4(b *testing.B)  { benchmark(b, Read, 4) }
func BenchmarkWrite1(b *testing.B) { benchmark(b, Write, 1) }
func BenchmarkWrite4(b *testing.B) { benchmark(b, Write, 4) }

func benchmark(b *testing.B, op Op, slots int) {
	e := newEchoRig(&testing.T{}, slots)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(e.reqs) + 1 {
		e.round(op)
	}
}
