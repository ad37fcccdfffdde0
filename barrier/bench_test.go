package barrier

import "testing"

// A cycle is 8 writes and a flush, one after the other.
type cycle struct {
	l     *Ledger
	c     *Coordinator
	data  []byte
	owner any
	f     Flush
}

func newCycle() *cycle {
	y := &cycle{l: NewLedger(1 << 20), data: make([]byte, 8)}
	y.owner = any(y)
	y.l.Up(0)
	y.c = NewCoordinator(y.l, Drain)
	return y
}

func (y *cycle) run() {
	l, c := y.l, y.c
	for i := range uint64(8) {
		w := l.New()
		w.Off, w.End, w.Data, w.Keep, w.Owner = i*8, i*8+8, y.data, true, y.owner
		l.Reserve(8)
		l.Attach(w, l.Buffer(y.data))
		l.Begin(w)
		w = l.Ready()
		l.Sent(w, 0)
		l.Answered(w)
		l.Acknowledged()
	}
	y.f = Flush{Scope: All}
	c.Flush(&y.f)
	s, _ := c.NextSync()
	c.Synced(s)
	for l.Released() != nil {
		continue
	}
	for l.Acknowledged() != nil {
		continue
	}
	c.Completed()
}

// TestNoAllocation: in the steady state nothing is allocated for a write or a flush.
func TestNoAllocation(t *testing.T) {
	y := newCycle()
	y.run()
	if n := testing.AllocsPerRun(100, y.run); n > 0 {
		t.Errorf("%v allocations in a round of 8 writes and a flush", n)
	}
	if y.l.Used() != 0 {
		t.Errorf("%d bytes are used", y.l.Used())
	}
}

// BenchmarkCycle tells the time of a write and an eighth of a flush.
func BenchmarkCycle(b *testing.B) {
	y := newCycle()
	b.ReportAllocs()
	for i := 0; i < b.N; i += 8 {
		y.run()
	}
}

// BenchmarkHotBlocks is what a write costs that waits behind 8191 others, 16 of them on each
// of 512 blocks.
func BenchmarkHotBlocks(b *testing.B) {
	for b.Loop() {
		hotBlocks(512, 16)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(512*16), "ns/write")
}

// BenchmarkHotBlock is the same with all of them on one block.
func BenchmarkHotBlock(b *testing.B) {
	for b.Loop() {
		hotBlocks(1, 8192)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/write")
}

// hotBlocks has so many writes to each of so many blocks begun, then answered one by one.
func hotBlocks(blocks, each uint64) (answered uint64) {
	l := NewLedger(0)
	l.Up(0)
	for range each {
		for i := range blocks {
			w := l.New()
			w.Off, w.End, w.Kind = i*8, i*8+8, Trim
			l.Begin(w)
		}
	}
	for w := l.Ready(); w != nil; w = l.Ready() {
		l.Sent(w, 0)
		l.Answered(w)
		answered++
	}
	return answered
}

// BenchmarkScattered is what a write to a random one of 230,400 blocks costs, of which 49,152
// are kept before a flush.
func BenchmarkScattered(b *testing.B) {
	l := NewLedger(1 << 30)
	l.Up(0)
	c := NewCoordinator(l, Epoch)
	data, owner := make([]byte, 4096), any(l)
	var f Flush
	x := uint32(1)
	for b.Loop() {
		x = xorshift(x)
		off := uint64(x%230400) * 4096
		w := l.New()
		w.Off, w.End, w.Data, w.Keep, w.Owner = off, off+4096, data, true, owner
		l.Reserve(4096)
		l.Attach(w, l.Buffer(data))
		l.Begin(w)
		w = l.Ready()
		l.Sent(w, 0)
		l.Answered(w)
		l.Acknowledged()
		if l.Kept() == 48<<10 {
			f = Flush{Scope: All}
			c.Flush(&f)
			s, _ := c.NextSync()
			c.Synced(s)
			c.Completed()
		}
		for l.Released() != nil {
			continue
		}
	}
}
