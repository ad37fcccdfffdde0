package iscsi_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
)

// A world is a session and the embedded target, joined in memory: bytes go in
// pieces of random size, time passes only when nothing else can be done. One seed
// is one run.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	now    time.Duration
	cfg    iscsi.Config
	target *target.Target
	s      *iscsi.Session
	wires  []*wire
	chaos  func() // what may go wrong between two steps; nil: nothing
}

// A wire is one connection. What an end has sent is on its way until the other
// takes it.
type wire struct {
	a        *iscsi.Conn
	b        *target.Conn
	ab, ba   []byte
	aGone    bool // the end says nothing any more
	bGone    bool
	portal   int
	finished bool
	halfOpen bool // the target does not hear of the end
}

// cut loses a connection with all that is on its way.
func (x *wire) cut(w *world, halfOpen bool) {
	x.ab, x.ba, x.aGone = nil, nil, true
	reset := errors.New("connection reset by peer")
	x.a.Closed(w.now, reset)
	if x.halfOpen = halfOpen; !halfOpen {
		x.bGone = true
		x.b.Closed(w.now, reset)
	}
}

func newWorld(t *testing.T, seed uint64, portals int,
	edit func(*iscsi.Config, *target.Config)) *world {
	t.Helper()
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	ram, err := target.NewRAM(8<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	tc := target.Config{Name: tgtName, Rand: w.rnd, CHAPRand: randReader{w.rnd},
		LUNs: []target.LUNConfig{{Number: 1, Store: ram, WriteCache: true}}}
	w.cfg = liveConfig(t)
	w.cfg.Rand, w.cfg.CHAPRand = w.rnd, randReader{w.rnd}
	for i := range portals {
		address := string(rune('a'+i)) + ":3260"
		tc.Portals = append(tc.Portals, target.PortalConfig{Address: address, Group: 1})
		w.cfg.Portals = append(w.cfg.Portals, address)
	}
	if edit != nil {
		edit(&w.cfg, &tc)
	}
	if w.target, err = target.New(0, tc); err != nil {
		t.Fatal(err)
	}
	w.s = iscsi.New(0, w.cfg)
	return w
}

type randReader struct{ r *rand.Rand }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.r.Uint32())
	}
	return len(p), nil
}

// until runs the world until done says so, an hour of its time at most.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for end := w.now + time.Hour; !done(); {
		moved := w.dial()
		if w.chaos != nil {
			w.chaos()
		}
		for _, i := range w.rnd.Perm(len(w.wires)) {
			moved = w.wires[i].move(w) || moved
		}
		if moved {
			continue
		}
		next := min(w.s.Deadline(), w.target.Deadline())
		if next == math.MaxInt64 || next > end {
			w.t.Fatalf("in vain: %s (session error: %v)", what, w.s.Err())
		}
		w.now = max(w.now, next)
		w.s.Tick(w.now)
		w.target.Tick(w.now)
	}
}

func (w *world) dial() (moved bool) {
	for _, c := range w.s.Conns() {
		if c.Want() != iscsi.WantDial {
			continue
		}
		moved = true
		portal := int(c.Address()[0] - 'a')
		c.Dialled()
		b := w.target.Accept(w.now, portal)
		if b == nil {
			c.Closed(w.now, errors.New("connection refused"))
			continue
		}
		w.wires = append(w.wires, &wire{a: c, b: b, portal: portal})
		c.Connected(w.now)
	}
	return moved
}

// move carries some bytes, or an end, over the wire.
func (x *wire) move(w *world) (moved bool) {
	if x.finished {
		return false
	}
	if !x.aGone && x.a.HasOutput() && len(x.ab) < 64<<10 {
		if n := take(w.rnd, &x.ab, x.a.SendBuffers(nil)); n > 0 {
			x.a.Sent(w.now, n)
			moved = true
		}
	}
	if !x.bGone && x.b.HasOutput() && len(x.ba) < 64<<10 {
		if n := take(w.rnd, &x.ba, x.b.SendBuffers(nil)); n > 0 {
			x.b.Sent(w.now, n)
			moved = true
		}
	}
	if !x.bGone && len(x.ab) > 0 {
		if n := give(w.rnd, &x.ab, x.b.RecvBuffers(nil)); n > 0 {
			x.b.Received(w.now, n)
			moved = true
		}
	}
	if !x.aGone && len(x.ba) > 0 {
		if n := give(w.rnd, &x.ba, x.a.RecvBuffers(nil)); n > 0 {
			x.a.Received(w.now, n)
			moved = true
		}
	}
	return x.ends(w) || moved
}

func (x *wire) ends(w *world) (moved bool) {
	if want := x.a.Want(); !x.aGone && (want == iscsi.WantClose || want == iscsi.WantReset) {
		x.a.Released()
		x.aGone, moved = true, true
	}
	if want := x.b.Want(); !x.bGone && (want == target.WantClose || want == target.WantReset) {
		if want == target.WantReset {
			x.ba = nil
		}
		x.b.Released()
		x.bGone, moved = true, true
	}
	switch {
	case x.aGone && !x.bGone && !x.halfOpen:
		x.b.Closed(w.now, io.EOF)
		x.bGone, moved = true, true
	case x.bGone && !x.aGone && len(x.ba) == 0:
		x.a.Closed(w.now, io.EOF)
		x.aGone, moved = true, true
	}
	x.finished = x.aGone && x.bGone
	return moved
}

func take(rnd *rand.Rand, queue *[]byte, bufs [][]byte) (n int) {
	most := 1 + rnd.IntN(20000)
	for _, b := range bufs {
		b = b[:min(len(b), most-n)]
		*queue = append(*queue, b...)
		n += len(b)
	}
	return n
}

func give(rnd *rand.Rand, queue *[]byte, bufs [][]byte) (n int) {
	most := 1 + rnd.IntN(20000)
	for _, b := range bufs {
		n += copy(b[:min(len(b), most-n)], (*queue)[n:])
	}
	*queue = (*queue)[n:]
	return n
}

func (w *world) untilUp() {
	w.t.Helper()
	w.until("up", func() bool { return w.s.Up() || w.s.Err() != nil })
	if err := w.s.Err(); err != nil {
		w.t.Fatal(err)
	}
}

// do runs commands, depth at once, until all have come back.
func (w *world) do(depth int, list ...*scsi.Command) {
	w.t.Helper()
	next, out := 0, 0
	w.until("commands done", func() bool {
		for w.s.Completed() != nil {
			out--
		}
		for ; next < len(list) && out < depth; next, out = next+1, out+1 {
			w.s.Submit(w.now, list[next])
		}
		return out == 0
	})
}

func (w *world) wake() {
	w.t.Helper()
	for range 4 {
		c := &scsi.Command{CDB: scsi.TestUnitReady()}
		if w.do(1, c); c.Err == nil {
			return
		}
	}
	w.t.Fatal("unit is not ready")
}

// verified writes all of an area in pieces of random size and reads it back in
// others.
func (w *world) verified(total int) {
	w.t.Helper()
	want, got := make([]byte, total), make([]byte, total)
	randReader{w.rnd}.Read(want)
	var writes, reads []*scsi.Command
	pieces := func(each func(at, n int)) {
		for at := 0; at < total; {
			n := min(total-at, (1+w.rnd.IntN(600))*block)
			each(at, n)
			at += n
		}
	}
	pieces(func(at, n int) {
		writes = append(writes, &scsi.Command{Dir: scsi.Write, Data: want[at : at+n],
			CDB: scsi.Write16(uint64(at/block), uint32(n/block), w.rnd.IntN(8) == 0)})
	})
	pieces(func(at, n int) {
		reads = append(reads, &scsi.Command{Dir: scsi.Read, Data: got[at : at+n],
			CDB: scsi.Read16(uint64(at/block), uint32(n/block), false)})
	})
	for _, list := range [][]*scsi.Command{writes, reads} {
		w.do(1+w.rnd.IntN(40), list...)
		for _, c := range list {
			if c.Err != nil || c.Transferred != len(c.Data) {
				w.t.Fatalf("%v, %d bytes of %d", c.Err, c.Transferred, len(c.Data))
			}
		}
	}
	if !bytes.Equal(want, got) {
		w.t.Fatal("what was read is not what was written")
	}
}

func (w *world) logout() {
	w.t.Helper()
	w.s.Logout(w.now)
	w.until("logged out", func() bool { return w.s.Err() != nil && len(w.s.Conns()) == 0 })
	if !errors.Is(w.s.Err(), scsi.ErrLoggedOut) {
		w.t.Fatal(w.s.Err())
	}
}

func TestEmbeddedData(t *testing.T) {
	for seed := range uint64(24) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		choice := func() login.DigestChoice {
			return []login.DigestChoice{login.DigestNone, login.DigestCRC32C}[rnd.IntN(2)]
		}
		w := newWorld(t, seed, 1+rnd.IntN(4), func(c *iscsi.Config, tc *target.Config) {
			c.Offer.HeaderDigest, c.Offer.DataDigest = choice(), choice()
			c.Offer.InitialR2T, c.Offer.ImmediateData = rnd.IntN(2) == 0, rnd.IntN(2) == 0
			c.Offer.MaxRecvDataSegmentLength = 512 + rnd.IntN(100000)
			c.Offer.MaxBurstLength = 512 + rnd.IntN(300000)
			c.Offer.FirstBurstLength = min(512+rnd.IntN(100000), c.Offer.MaxBurstLength)
			c.Offer.MaxOutstandingR2T = 1 + rnd.IntN(8)
			tc.MaxRecvDataSegmentLength = 512 + rnd.IntN(100000)
			tc.QueueDepth = 1 + rnd.IntN(64)
			tc.NopInterval = 5 * time.Second
			if rnd.IntN(2) == 0 {
				secret := []byte("a secret of many letters")
				c.Offer.Auth = login.Auth{User: "joe", Secret: secret}
				tc.Secrets = func(string) ([]byte, bool) { return secret, true }
				tc.RequireCHAP = true
			}
		})
		w.untilUp()
		w.wake()
		w.verified(2 << 20)
		w.logout()
	}
}

// A command that takes too long is aborted, and the session lives on.
func TestEmbeddedAbort(t *testing.T) {
	w := newWorld(t, 1, 1, nil)
	w.untilUp()
	w.wake()
	w.target.Delay(0, target.AnyCommand, 40*time.Second, 40*time.Second)
	c := &scsi.Command{CDB: scsi.Write16(0, 1, false), Dir: scsi.Write,
		Data: bytes.Repeat([]byte{1}, block), Timeout: 30 * time.Second}
	w.do(1, c)
	if e, ok := c.Err.(*scsi.StatusError); !ok || e.Status != scsi.TaskAborted {
		t.Fatalf("ended with %v", c.Err)
	}
	w.target.Delay(0, target.AnyCommand, 0, 0)
	w.now += time.Minute
	w.target.Tick(w.now)
	got := &scsi.Command{CDB: scsi.Read16(0, 1, false), Dir: scsi.Read, Data: make([]byte, block)}
	w.do(1, got)
	if got.Err != nil || got.Data[0] != 0 {
		t.Errorf("%v; the aborted write was executed: %v", got.Err, got.Data[0] != 0)
	}
	w.logout()
}

// A blackholed portal is noticed in time, idle or under load, and a new session
// of the same name takes over.
func TestEmbeddedBlackhole(t *testing.T) {
	for _, load := range []bool{false, true} {
		w := newWorld(t, 2, 2, func(c *iscsi.Config, _ *target.Config) {
			c.NopInterval, c.NopTimeout = 5*time.Second, 3*time.Second
		})
		w.untilUp()
		w.wake()
		w.target.Blackhole(w.now, 1, true)
		start := w.now
		var list []*scsi.Command
		for i := 0; load && i < 8; i++ {
			c := &scsi.Command{CDB: scsi.Write16(0, 512, false), Dir: scsi.Write,
				Data: make([]byte, 512*block), Timeout: time.Hour}
			list = append(list, c)
			w.s.Submit(w.now, c)
		}
		w.until("dead", func() bool { return w.s.Err() != nil })
		if d := w.now - start; d > 8*time.Second {
			t.Errorf("noticed after %v", d)
		}
		for range list {
			if w.s.Completed() == nil {
				t.Fatal("a command did not come back")
			}
		}
		w.target.Blackhole(w.now, 1, false)
		w.s = iscsi.New(w.now, w.cfg)
		w.untilUp()
		w.wake()
		w.verified(1 << 20)
		w.logout()
	}
}

// A portal that is cut while a session of three connections starts degrades it;
// put back, it joins.
func TestEmbeddedDegraded(t *testing.T) {
	w := newWorld(t, 3, 3, nil)
	w.target.Cut(w.now, 2, true)
	w.untilUp()
	w.wake()
	up := func() (n int) {
		for _, c := range w.s.Conns() {
			if c.State() == "up" {
				n++
			}
		}
		return n
	}
	w.until("two connections", func() bool { return up() == 2 })
	w.verified(1 << 20)
	w.target.Cut(w.now, 2, false)
	w.until("three connections", func() bool { return up() == 3 })
	w.verified(1 << 20)
	w.logout()
}

func TestEmbeddedSendTargets(t *testing.T) {
	w := newWorld(t, 4, 3, func(c *iscsi.Config, _ *target.Config) {
		c.Offer.Discovery, c.Offer.TargetName = true, ""
	})
	w.s.SendTargets(w.now, "")
	var list []iscsi.TargetRecord
	w.until("targets", func() (done bool) {
		list, done = w.s.Targets()
		return done || w.s.Err() != nil
	})
	if len(list) != 1 || list[0].Name != tgtName || len(list[0].Portals) != 3 ||
		list[0].Portals[2] != (iscsi.Portal{Address: "c:3260", TPGT: 1}) {
		t.Errorf("%+v, %v", list, w.s.Err())
	}
	w.logout()
}
