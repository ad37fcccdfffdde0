package mpath

import (
	"math/rand/v2"
	"testing"
	"time"

	"braid/barrier"
	"braid/internal/fuzz"
	"braid/iscsi/scsi"
)

// A fuzzed run is a chaos run whose every decision the fuzzer takes.
type fuzzed struct {
	*chaos
	src   *fuzz.Source
	ended int
	// loose: requests may fail where the policy says so, or without copies; only that
	// they end is judged.
	loose bool
}

// FuzzDevice lets the fuzzer decide what clients ask for, what paths answer and in which
// order, when they die, how they come back, what an administrator does, and how time goes
// by. After every step the device holds its bounds and asks for no step in the past; in
// the end every request has come back once, nothing that was acknowledged is taken back,
// and no memory is left.
func FuzzDevice(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00" + "\x00\x40\x80\x10\x60\x00\x99\x20\x70\x70\x90\x00\x55\x70"))
	f.Add([]byte("\x01\x15\x40\x03" + "\x10\x10\x10\x70\x90\x90\xa0\x80\x80\x70\xb0\xc0\x70\x80"))
	f.Add([]byte("\x0a\x2a\x81\x06" + "\x00\x00\x50\x90\x10\x20\x80\xff\x80\xd0\x00\x70\xe0\x70"))
	f.Add([]byte("\x03\x83\x17\x41" + "\x20\xf0\x10\x30\xf8\x90\x12\x80\xc8\x33\x70\x70\xa1\x80"))
	for seed := range uint64(6) {
		f.Add(fuzz.Noise(seed, 7, 600))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 4 || len(b) > 1000 {
			return
		}
		z := newFuzzed(t, b[:4], &fuzz.Source{Input: b[4:]})
		for len(z.src.Input) > 0 {
			z.act()
			z.settle()
		}
		z.end()
	})
}

func newFuzzed(t *testing.T, how []byte, src *fuzz.Source) *fuzzed {
	c := &chaos{rand: rand.New(src), covers: map[*Request][rBlocks]int{}}
	for i := range c.unknown {
		c.unknown[i] = map[byte]bool{}
	}
	z := &fuzzed{chaos: c, src: src, loose: how[2]&0xc0 != 0 || how[2]%4 == 3}
	cfg, l := config(1+int(how[0]%3)), newFakeLUN()
	cfg.Rand = rand.New(rand.NewPCG(1, 1))
	cfg.Barrier = []barrier.Mode{barrier.Drain, barrier.Hold, barrier.Epoch}[how[1]%3]
	cfg.Selector = Selector(how[1] / 4 % 3)
	cfg.Coherent = how[1]&0x80 == 0
	cfg.Retain = []uint64{16 << 20, 16 << 10, 4 << 10, 0}[how[2]%4]
	c.retain = cfg.Retain > 0
	cfg.Fence = []FenceMode{FenceAuto, FenceWait, FenceReset, FenceReserve}[how[2]/4%4]
	cfg.Keys = uint64(how[3]) << 24
	l.mode.DPOFUA = how[3]&1 == 0
	l.noSame = how[3]&2 != 0
	if how[3]&4 != 0 {
		cfg.FlapThreshold, cfg.FlapWindow, cfg.FlapPause = 3, time.Minute, 10*time.Second
	}
	switch how[2] & 0xc0 {
	case 0x40:
		cfg.NoPath = 0
	case 0x80:
		cfg.NoPath = 3 * time.Second
	case 0xc0:
		cfg.NoPath, cfg.Fence = Forever, FenceNone
	}
	c.rig = newRig(t, cfg)
	c.rig.lun = l
	c.rig.run()
	if !c.d.Ready() {
		t.Fatalf("not ready: %v", c.logs)
	}
	return z
}

// act does one thing.
func (z *fuzzed) act() {
	slot := z.rand.IntN(len(z.d.slots))
	switch k := z.rand.IntN(24); k {
	default:
		z.request()
	case 8, 9, 10, 11, 12:
		z.work()
	case 13, 14:
		z.now += time.Duration(z.rand.IntN(200)) * ms / 10
	case 15:
		z.jump(time.Duration(z.rand.IntN(256)) * 150 * ms)
	case 16, 17:
		z.trouble()
	case 18:
		if z.refuse[slot] == nil && z.rand.IntN(2) == 0 {
			z.refuse[slot] = errCut
		} else {
			delete(z.refuse, slot)
		}
	case 19:
		z.slow[slot] = !z.slow[slot]
		for _, p := range z.paths {
			if p.err == nil && p.slot == slot && !z.slow[slot] {
				p.up = true
			}
		}
	case 20:
		if p, _ := z.d.slots[slot].path.(*fakePath); p != nil && p.err == nil {
			p.silent = z.now - time.Duration(z.rand.IntN(3))*time.Second
			if z.rand.IntN(2) == 0 {
				p.silent = -1
			}
		}
	case 21:
		z.administer(slot)
	case 22:
		if p, _ := z.d.slots[slot].path.(*fakePath); p != nil && p.err == nil {
			p.asked = p.asked || z.rand.IntN(2) == 0
			a := scsi.Attention(z.rand.IntN(int(scsi.OtherAttention) + 1))
			if z.loose || a != scsi.ReservationsChanged { // which drops all copies
				p.heard = append(p.heard, a)
			}
		}
	case 23:
		z.d.LinkUp(z.now, slot)
	}
}

// administer is what `braid path` and `braid queue` do.
func (z *fuzzed) administer(slot int) {
	switch z.rand.IntN(6) {
	case 0:
		z.d.FailPath(z.now, slot)
	case 1, 2:
		z.d.ReinstatePath(z.now, slot)
	case 3:
		z.d.Reread(z.now)
	case 4:
		z.d.Squeeze()
	case 5:
		if z.loose {
			wait := []time.Duration{0, time.Second, Forever}
			z.d.SetNoPath(z.now, wait[z.rand.IntN(3)])
		}
	}
}

// jump lets time pass as the device asks for it, with paths that answer as they please.
func (z *fuzzed) jump(d time.Duration) {
	end := z.now + d
	for n := 0; z.d.Deadline() < end; n++ {
		if n == 20000 {
			z.t.Fatalf("%d steps in %v", n, d)
		}
		z.now = max(z.now, z.d.Deadline())
		z.settle()
	}
	z.now = end
}

// settle lets the device act until it has nothing to do now, and looks at its bounds.
func (z *fuzzed) settle() {
	z.t.Helper()
	for n := 0; ; n++ {
		z.d.Step(z.now)
		if z.d.Deadline() > z.now || z.d.Stopped() {
			break
		}
		if n == 1000 {
			z.t.Fatalf("asks for a step at %v, now is %v, and does nothing", z.d.Deadline(), z.now)
		}
	}
	for _, q := range z.done() {
		z.ended++
		z.finish(q)
	}
	if err := z.d.Fatal(); err != nil {
		z.t.Fatalf("the device has ended: %v", err)
	}
	under := z.submitted - z.ended
	st := z.d.Status(z.now)
	out := 0
	for _, p := range z.paths {
		if p.err != nil && len(p.queue) > 0 {
			z.t.Fatal("a command was given to a path that is dead")
		}
		out += len(p.queue)
	}
	switch {
	case st.InFlight != under:
		z.t.Fatalf("%d requests are under way, the device says %d", under, st.InFlight)
	case st.Retained > z.d.cfg.Retain:
		z.t.Fatalf("%d bytes are retained, %d may be", st.Retained, z.d.cfg.Retain)
	case out > 64*(under+2*len(z.d.slots)+2):
		z.t.Fatalf("%d commands are out for %d requests", out, under)
	case z.pool.back > z.pool.given+z.submitted*Chunk:
		z.t.Fatalf("%d buffers given, %d taken back", z.pool.given, z.pool.back)
	}
}

// finish judges a request that came back.
func (z *fuzzed) finish(q *Request) {
	if !z.loose {
		z.finished(q)
		return
	}
	if q.Op == Write || q.Op == WriteZeroes {
		from, to := z.blocks(q)
		for b := from; b < to; b++ {
			z.busy[b]--
		}
	}
}

// end lets everything go well at last.
func (z *fuzzed) end() {
	clear(z.refuse)
	clear(z.slow)
	for i := range z.d.slots {
		z.d.ReinstatePath(z.now, i)
	}
	for _, p := range z.paths {
		p.silent = -1
		if p.err == nil {
			p.up = true
		}
	}
	if !z.loose {
		z.heal()
		return
	}
	for range 4000 {
		for _, p := range z.paths {
			p.hold, p.answer = nil, nil
			p.run()
		}
		z.now += 50 * ms
		z.settle()
		if z.d.Idle() {
			return
		}
	}
	z.t.Fatalf("%d requests never ended", z.d.Status(z.now).InFlight)
}
