package mpath

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// A wire is a path of a rate and a distance: commands wait behind one another for the rate,
// and then are answered after the delay.
type wire struct {
	Path    // the one in whose place it is
	r       *rig
	rate    float64       // bytes a second
	each    time.Duration // for a command, beside its bytes
	delay   time.Duration
	jitter  *rand.Rand // of the delay: up to as much again
	busy    time.Duration
	out     []wireCommand
	bytes   int           // that were answered
	longest time.Duration // that one waited
}

type wireCommand struct {
	c        *scsi.Command
	sent, at time.Duration
}

func (p *wire) Submit(now time.Duration, c *scsi.Command) {
	p.busy = max(p.busy, now) + p.each +
		time.Duration(float64(len(c.Data))/p.rate*float64(time.Second))
	at := p.busy + p.delay
	if p.jitter != nil {
		at += time.Duration(p.jitter.Int64N(int64(p.delay) + 1))
	}
	p.out = append(p.out, wireCommand{c, now, at})
}

// next is when it answers next.
func (p *wire) next() time.Duration {
	at := never
	for _, c := range p.out {
		at = min(at, c.at)
	}
	return at
}

func (p *wire) Completed() *scsi.Command {
	for i, w := range p.out {
		if w.at > p.r.now {
			continue
		}
		p.out = append(p.out[:i], p.out[i+1:]...)
		w.c.Err, w.c.Transferred = nil, len(w.c.Data)
		p.bytes += len(w.c.Data)
		p.longest = max(p.longest, w.at-w.sent)
		return w.c
	}
	return nil
}

func (p *wire) Deadline() time.Duration       { return never }
func (p *wire) Silent() (time.Duration, bool) { return 0, false }
func (p *wire) Cut() (cut, refused bool)      { return false, false }
func (p *wire) Recovering() bool              { return false }

// A wireRig is a device over wires, with a client that keeps some requests under way.
type wireRig struct {
	r     *rig
	wires []*wire
	free  []*Request
	load  wireLoad
	rand  *rand.Rand
	next  uint64
	sent  int
	done  uint64 // bytes
}

// A wireLoad is what the client does. Of a mix two thirds are reads, of 4 KiB or of the size.
type wireLoad struct {
	op    Op
	size  uint64
	depth int
	mix   bool
	flush int // one after so many requests; 0: none
}

const wireBlocks = 1 << 30 / lunBlock

func newWireRig(t *testing.T, load wireLoad, wires ...wire) *wireRig {
	w := &wireRig{load: load, rand: rand.New(rand.NewPCG(1, 2))}
	w.r = ready(t, len(wires), func(c *Config, l *fakeLUN) {
		c.Retain = 0
		l.capacity.Blocks = wireBlocks
	})
	for i, s := range w.r.d.slots {
		p := wires[i]
		p.Path, p.r = s.path, w.r
		s.path = &p
		w.wires = append(w.wires, &p)
	}
	for range load.depth {
		w.free = append(w.free, new(Request))
	}
	return w
}

// run lets time pass, and tells the bytes a second that the client got.
func (w *wireRig) run(d time.Duration) float64 {
	w.r.t.Helper()
	from, end := w.done, w.r.now+d
	for {
		for _, q := range w.free {
			w.submit(q)
		}
		w.free = w.free[:0]
		w.r.d.Step(w.r.now)
		for q := w.r.d.Completed(); q != nil; q = w.r.d.Completed() {
			if q.Err != OK {
				w.r.t.Fatalf("a request failed: %v", q.Reason)
			}
			w.done += q.Length
			w.free = append(w.free, q)
		}
		if len(w.free) > 0 {
			continue
		}
		next := w.r.d.Deadline()
		for _, p := range w.wires {
			next = min(next, p.next())
		}
		if next > end {
			w.r.now = end
			return float64(w.done-from) / d.Seconds()
		}
		w.r.now = max(w.r.now, next)
	}
}

var wireData [Chunk]byte

func (w *wireRig) submit(q *Request) {
	op, size := w.load.op, w.load.size
	if w.sent++; w.load.flush > 0 && w.sent%(w.load.flush+1) == 0 {
		*q = Request{Op: Flush, Data: q.Data[:0]}
		w.r.d.Submit(w.r.now, q)
		return
	}
	if w.load.mix {
		op = []Op{Read, Read, Write}[w.rand.IntN(3)]
		size = []uint64{4 << 10, size}[w.rand.IntN(2)]
	}
	w.next = (w.next + 1) % (wireBlocks * lunBlock / w.load.size)
	*q = Request{Op: op, Offset: w.next * w.load.size, Length: size, Data: q.Data[:0]}
	for n := size; n > 0; n -= min(n, Chunk) {
		q.Data = append(q.Data, wireData[:min(n, Chunk)])
	}
	w.r.d.Submit(w.r.now, q)
}

// want expects at least a part of a rate.
func (w *wireRig) want(what string, got, part, of float64) {
	w.r.t.Helper()
	w.r.t.Logf("%s: %.3f of %.1f MB/s", what, got/of, of/1e6)
	if got < part*of {
		w.r.t.Errorf("%s: %.1f MB/s are %.3f of %.1f MB/s, want %.2f", what, got/1e6, got/of,
			of/1e6, part)
	}
}

const mbit = 1e6 / 8

// link is a path of a rate in bytes a second, a quarter of a millisecond away.
func link(rate float64) wire { return wire{rate: rate, delay: ms / 4} }

// eachLoad runs a test with many loads.
func eachLoad(t *testing.T, f func(t *testing.T, load func(...wire) *wireRig)) {
	for _, l := range []wireLoad{
		{Read, 4 << 10, 32, false, 0}, {Read, 4 << 10, 128, false, 0}, {Read, 64 << 10, 16, false, 0},
		{Read, 128 << 10, 8, false, 0}, {Read, 1 << 20, 4, false, 0}, {Read, 1 << 20, 8, false, 0},
		{Read, 4 << 20, 4, false, 0}, {Write, 4 << 10, 32, false, 0}, {Write, 64 << 10, 16, false, 0},
		{Write, 1 << 20, 8, false, 0}, {Read, 64 << 10, 32, true, 0}, {Read, 1 << 20, 16, true, 0},
	} {
		if testing.Short() && l.depth != 8 && !l.mix {
			continue
		}
		name := fmt.Sprintf("%v %d KiB depth %d mix %v", l.op, l.size>>10, l.depth, l.mix)
		t.Run(name, func(t *testing.T) {
			f(t, func(wires ...wire) *wireRig { return newWireRig(t, l, wires...) })
		})
	}
}

// TestServiceTimeRates: paths give the sum of their rates, whatever these are.
func TestServiceTimeRates(t *testing.T) {
	for _, c := range []struct {
		name  string
		rates []float64
		part  float64
	}{
		{"equal", []float64{200 * mbit, 200 * mbit}, 0.98},
		{"1:2", []float64{200 * mbit, 100 * mbit}, 0.95},
		{"1:4", []float64{50 * mbit, 200 * mbit}, 0.95},
		{"1:10", []float64{1000 * mbit, 100 * mbit}, 0.9},
		{"four", []float64{100 * mbit, 200 * mbit, 50 * mbit, 200 * mbit}, 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachLoad(t, func(t *testing.T, load func(...wire) *wireRig) {
				var wires []wire
				sum := 0.0
				for _, r := range c.rates {
					wires, sum = append(wires, link(r)), sum+r
				}
				w := load(wires...)
				w.run(time.Second)
				w.want("together", w.run(2*time.Second), c.part, sum)
			})
		})
	}
}

// TestServiceTimeSlow: a path that turns slow under load costs no more than its share, and
// is used again when it is as fast as before.
func TestServiceTimeSlow(t *testing.T) {
	fast := wire{rate: 2e9, each: 5 * time.Microsecond, delay: 50 * time.Microsecond}
	eachLoad(t, func(t *testing.T, load func(...wire) *wireRig) {
		alone := load(fast).run(500 * ms)
		w := load(fast, fast)
		both := w.run(500 * ms)
		w.want("together", both, 1.3, alone)
		w.wires[1].delay += 20 * ms
		w.want("as it turns slow", w.run(500*ms), 0.85, alone)
		w.want("slow", w.run(time.Second), 0.95, alone)
		w.wires[1].delay -= 20 * ms
		w.run(time.Second)
		w.want("fast again", w.run(500*ms), 0.95, both)
	})
}

// TestServiceTimeStep: a path that loses nine tenths of its rate under load.
func TestServiceTimeStep(t *testing.T) {
	eachLoad(t, func(t *testing.T, load func(...wire) *wireRig) {
		w := load(link(200*mbit), link(200*mbit))
		w.run(time.Second)
		w.wires[1].rate = 20 * mbit
		w.run(time.Second)
		w.want("after the loss", w.run(2*time.Second), 0.9, 220*mbit)
		w.wires[1].rate = 200 * mbit
		w.run(3 * time.Second)
		w.want("after its return", w.run(2*time.Second), 0.95, 400*mbit)
	})
}

// TestServiceTimeFar: paths that differ in distance, and one whose answers vary.
func TestServiceTimeFar(t *testing.T) {
	far := link(200 * mbit)
	far.delay = 20 * ms
	eachLoad(t, func(t *testing.T, load func(...wire) *wireRig) {
		w := load(link(200*mbit), far)
		alone := load(link(200 * mbit)).run(1500 * ms)
		w.run(time.Second)
		w.want("near and far, to near", w.run(2*time.Second), 0.97, alone)
		w = load(far, far)
		alone = load(far).run(1500 * ms)
		w.run(time.Second)
		w.want("far and far, to one", w.run(2*time.Second), 0.95, alone)
	})
	near := link(200 * mbit)
	eachLoad(t, func(t *testing.T, load func(...wire) *wireRig) {
		near.delay, near.jitter = 2*ms, rand.New(rand.NewPCG(3, 4))
		w := load(near, near)
		one := load(near)
		alone := one.run(1500 * ms)
		w.run(time.Second)
		w.want("answers that vary, to one", w.run(2*time.Second), 1, alone)
	})
}

// TestQueueTime: no command waits on a path for much longer than queueTime, because targets
// do not wait for data for ever. That costs no throughput.
func TestQueueTime(t *testing.T) {
	for _, rates := range [][]float64{
		{16 * mbit}, {16 * mbit, 16 * mbit}, {16 * mbit, 8 * mbit}, {200 * mbit, 10 * mbit},
	} {
		for _, sel := range []Selector{ServiceTime, QueueLength, RoundRobin} {
			var wires []wire
			sum := 0.0
			for _, r := range rates {
				wires, sum = append(wires, link(r)), sum+r
			}
			w := newWireRig(t, wireLoad{Write, 4 << 20, 8, false, 0}, wires...)
			w.r.d.cfg.Selector = sel
			w.run(20 * time.Second)
			got := w.run(20 * time.Second)
			if sel == ServiceTime {
				w.want("all", got, 0.9, sum)
			}
			for _, p := range w.wires {
				if p.longest > 1600*ms {
					t.Errorf("selector %d: a command waited for %v at %.1f MB/s", sel, p.longest, p.rate/1e6)
				}
			}
		}
	}
}

// TestServiceTimeFlushes: a path that is slow takes no part in loads that flush all the time,
// but for being asked now and then.
func TestServiceTimeFlushes(t *testing.T) {
	fast := wire{rate: 2e9, each: 5 * time.Microsecond, delay: 50 * time.Microsecond}
	slow := fast
	slow.delay += 20 * ms
	for _, depth := range []int{1, 8, 32} {
		for _, every := range []int{1, 32} {
			l := wireLoad{Write, 4 << 10, depth, false, every}
			w := newWireRig(t, l, fast, slow)
			w.run(500 * ms)
			alone := newWireRig(t, l, fast).run(500 * ms)
			name := fmt.Sprintf("depth %d, flush every %d", depth, every)
			w.want(name, w.run(time.Second), 0.8, alone)
		}
	}
}
