package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// TestSilenceThatBeginsLater: a path that is slow, and falls silent only after its siblings
// were asked for life, is given up all the same when they answer: they are asked again.
func TestSilenceThatBeginsLater(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	on.hold = holding(scsi.OpWrite16, scsi.OpTestUnitReady)
	r.after(2 * slowMin) // it is suspect
	if r.d.slots[on.slot].suspectAt == never {
		t.Fatal("the path is not suspect")
	}
	r.after(slowMin)
	on.silent = r.now
	asked := other.sent
	r.after(silentLimit - ms)
	if on.err != nil {
		t.Fatal("it was given up early")
	}
	r.after(2 * ms)
	if on.err != errSilent {
		t.Errorf("it is not given up: %v; the sibling was asked %d times", on.err, other.sent-asked)
	}
	r.after(r.wait + r.d.cfg.FenceSettle)
	r.want(q, OK)
}

// cutOff lets a path be without a connection from now on.
func (p *fakePath) cutOff() { p.isCut, p.silent = true, p.rig.now }

// joinAgain lets it have one again: what was out goes on.
func (p *fakePath) joinAgain() { p.isCut, p.refused, p.silent = false, false, -1 }

// TestCutPath: a path without a connection gets no new commands, and reads are sent again
// elsewhere at once. Nothing else is hasty: it may get a connection again, and is used then.
func TestCutPath(t *testing.T) {
	r := ready(t, 2)
	w := r.write(4096, 512, 1)
	on, other := r.outOn(w)
	on.hold = holding(scsi.OpRead16, scsi.OpWrite16)
	reads := []*Request{r.read(0, 512), r.read(512, 512), r.read(1024, 512), r.read(1536, 512)}
	r.step()
	if len(on.queue) == 1 {
		t.Fatal("it has no read")
	}
	on.cutOff()
	for _, q := range reads {
		r.want(q, OK)
	}
	before := on.sent
	for i := range uint64(8) {
		r.want(r.write(i*512, 512, 2), OK)
	}
	if on.sent != before {
		t.Error("it gets new commands")
	}
	r.after(silentLimit / 2)
	r.wantHeld(w)
	on.hold = nil
	on.joinAgain()
	r.want(w, OK)
	if on.err != nil || other.err != nil {
		t.Fatalf("lost: %v, %v", on.err, other.err)
	}
	wantUsed(t, r, on)
}

// writes sends some one after the other, which take a millisecond each.
func (r *rig) writes(n uint64, fill byte) {
	r.t.Helper()
	for i := range n {
		q := r.write(i*512, 512, fill)
		r.step()
		r.now += ms
		r.want(q, OK)
	}
}

// wantUsed expects a path to get its share.
func wantUsed(t *testing.T, r *rig, p *fakePath) {
	t.Helper()
	before := p.sent
	r.writes(8, 3)
	if p.sent-before < 3 {
		t.Errorf("it got %d of 8 writes", p.sent-before)
	}
}

// TestRecoveredConnection: the time for which a connection was being recovered is not taken
// for how long the path takes, whether it was the only one of its session or not.
func TestRecoveredConnection(t *testing.T) {
	for name, lose := range map[string]func(*fakePath){
		"the only one":   (*fakePath).cutOff,
		"one of several": func(p *fakePath) { p.recovers = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 2)
			r.writes(32, 1)
			q := r.write(0, 512, 2)
			on, _ := r.outOn(q)
			usual := r.d.slots[on.slot].stats.ServiceTime
			on.hold = holding(scsi.OpWrite16)
			lose(on)
			r.after(silentLimit - ms)
			on.hold, on.recovers = nil, false
			on.joinAgain()
			r.want(q, OK)
			wantUsed(t, r, on)
			if got := r.d.slots[on.slot].stats.ServiceTime; got > 2*usual {
				t.Errorf("its service time is %v, was %v", got, usual)
			}
		})
	}
}

// TestCutPathIdle: while nothing waits for it, it has time to get a connection again. It is
// asked for life once.
func TestCutPathIdle(t *testing.T) {
	r := ready(t, 2)
	r.now += ms
	on := r.path(0)
	before := on.sent
	on.cutOff()
	for i := range uint64(8) {
		r.want(r.write(i*512, 512, 1), OK)
		r.after(10 * time.Second)
	}
	if on.err != nil || on.sent > before+1 {
		t.Errorf("%v, it was sent %d commands", on.err, on.sent-before)
	}
}

// TestRefusedPath: one that is refused a connection is given up as soon as another path is
// known to live, and not before.
func TestRefusedPath(t *testing.T) {
	for _, idle := range []bool{false, true} {
		r := ready(t, 2)
		var q *Request
		on, other := r.path(0), r.path(1)
		if !idle {
			q = r.write(0, 512, 1)
			on, other = r.outOn(q)
		}
		other.hold = func(*scsi.Command, scsi.CDB) bool { return true }
		r.now += ms
		on.cutOff()
		r.run()
		on.refused = true
		r.after(20 * time.Second)
		if on.err != nil {
			t.Fatal("it was given up although no other path answers")
		}
		other.hold = nil
		r.run()
		if on.err != errRefused {
			t.Fatalf("not given up: %v", on.err)
		}
		if idle {
			continue
		}
		if other.count(scsi.OpWrite16) != 1 {
			t.Error("its write was not sent again at once")
		}
		r.wantHeld(q)
		r.after(r.wait + r.d.cfg.FenceSettle)
		r.want(q, OK)
	}
}

// TestAllRefused: with no path left that answers, none is given up: each may yet recover what
// is out on it.
func TestAllRefused(t *testing.T) {
	r := ready(t, 2)
	a, b := r.path(0), r.path(1)
	q, w := r.write(0, 512, 1), r.write(4096, 512, 2)
	r.step()
	r.now += ms
	for _, p := range []*fakePath{a, b} {
		p.cutOff()
		p.refused = true
	}
	r.after(30 * time.Second)
	if a.err != nil || b.err != nil {
		t.Fatalf("given up: %v, %v", a.err, b.err)
	}
	a.joinAgain()
	r.after(r.wait + r.d.cfg.FenceSettle)
	if a.err != nil || b.err != errRefused {
		t.Errorf("then: %v, %v", a.err, b.err)
	}
	r.want(q, OK)
	r.want(w, OK)
}

// TestUnusedPathCut: a session that is cut before it is used, or that only fences, is given up
// at once and made anew.
func TestUnusedPathCut(t *testing.T) {
	for _, c := range []struct {
		name  string
		state slotState
		hold  []uint8 // of its own commands
		other bool    // the other path's answers
		fence bool
	}{
		{"probing", probing, []uint8{scsi.OpInquiry}, false, false},
		{"proving", proving, nil, true, false},
		{"fencing", fencing, []uint8{scsi.OpSynchronizeCache16}, false, true},
		{"settling", settling, nil, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2, func(c *Config, l *fakeLUN) { c.Retain = 0 })
			q := r.write(0, 512, 1)
			on, other := r.outOn(q)
			r.run()
			r.slow[on.slot], r.slow[other.slot] = true, true
			if !c.fence {
				r.want(r.flush(), OK)
			}
			on.kill(errCut)
			for len(r.opened) == 2 {
				r.after(100 * ms)
			}
			p := r.path(on.slot)
			if c.fence != (p.via == other.slot) {
				t.Fatalf("opened %+v", r.opened[2])
			}
			p.hold, p.up = holding(c.hold...), true
			if c.other {
				other.hold = func(*scsi.Command, scsi.CDB) bool { return true }
			}
			r.run()
			if got := r.d.slots[on.slot].state; got != c.state {
				t.Fatalf("its state is %d", got)
			}
			clear(r.slow)
			other.hold = nil
			p.cutOff()
			r.run()
			if p.err != errUnused {
				t.Fatalf("it was not given up: %v", p.err)
			}
			r.after(r.wait + time.Second + 2*r.d.cfg.RetryMin)
			if r.state(on.slot) != "active" {
				t.Errorf("it is %s", r.state(on.slot))
			}
		})
	}
}

// TestLastPathRefused: the only path that carries I/O is cut, and refused or silent, while
// another one is being verified, which has to wait for it. As soon as that one answers it takes
// over, and fences the other one through its own portal.
func TestLastPathRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		early   bool // cut before the other one is verified
		refused bool
		retain  uint64
		over    bool
	}{
		{"while it is verified, refused", true, true, 1 << 20, true},
		{"while it is verified, silent", true, false, 1 << 20, true},
		{"then, refused", false, true, 1 << 20, true},
		{"then, silent", false, false, 1 << 20, true},
		{"with data that would be lost", false, true, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(2)
			cfg.Retain = c.retain
			r := newRig(t, cfg)
			r.slow[1] = true
			r.run()
			a, b := r.path(0), r.path(1)
			r.want(r.write(4096, 512, 1), OK)
			a.hold = func(*scsi.Command, scsi.CDB) bool { return true }
			q := r.write(0, 512, 1)
			r.run()
			r.now += ms
			b.up, r.slow[1], r.refuse[0] = true, false, errCut
			if c.early {
				b.hold = holding(scsi.OpInquiry)
			}
			r.run()
			if got := r.d.slots[1].state; got != proving && !c.early || got == active {
				t.Fatalf("the state of the other one is %d", got)
			}
			r.now += ms
			a.cutOff()
			a.refused = c.refused
			r.run()
			b.hold = nil
			r.after(silentLimit)
			if (a.err != nil) != c.over {
				t.Fatalf("its end: %v", a.err)
			}
			if !c.over {
				return
			}
			if r.state(1) != "active" || b.count(scsi.OpWrite16) != 2 {
				t.Fatalf("the other one is %s, and got %d writes", r.state(1), b.count(scsi.OpWrite16))
			}
			r.after(r.wait + r.d.cfg.FenceSettle)
			r.want(q, OK)
			r.want(r.flush(), OK)
		})
	}
}

// TestVerifiedPathIsToldOfAChange: then it is verified again, and what it was told is not
// taken for news: it was not there before.
func TestVerifiedPathIsToldOfAChange(t *testing.T) {
	r := newRig(t, config(2))
	r.slow[1] = true
	r.run()
	a, b := r.path(0), r.path(1)
	r.want(r.write(0, 512, 1), OK)
	r.now += ms
	a.hold, b.up = func(*scsi.Command, scsi.CDB) bool { return true }, true
	r.run()
	b.answer = once(scsi.OpTestUnitReady, check(scsi.UnitAttention, 0x29, 0))
	b.hold = holding(scsi.OpInquiry)
	r.now += ms
	a.cutOff()
	r.run()
	if got := r.d.slots[1].state; got != probing || r.d.Status(r.now).Counters.CacheLosses > 0 {
		t.Fatalf("its state is %d, %+v", got, r.d.Status(r.now).Counters)
	}
	b.hold, a.refused = nil, true
	r.run()
	if r.state(1) != "active" || a.err != errRefused {
		t.Errorf("it is %s, the other one: %v", r.state(1), a.err)
	}
}
