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
