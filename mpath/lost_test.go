package mpath

import (
	"errors"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// outOn returns the path that a write of one block is out on,
// and the other one.
func (r *rig) outOn(q *Request) (on, other *fakePath) {
	r.t.Helper()
	r.step()
	a, b := r.path(0), r.path(1)
	if len(a.queue) == 0 {
		a, b = b, a
	}
	if len(a.queue) != 1 || len(b.queue) != 0 {
		r.t.Fatalf("%d and %d commands are out", len(a.queue), len(b.queue))
	}
	return a, b
}

// TestReadMovesOn: F1.
func TestReadMovesOn(t *testing.T) {
	r := ready(t, 2)
	r.lun.live[0] = 0x33
	q := r.read(0, 512)
	on, other := r.outOn(q)
	on.kill(errCut)
	r.want(q, OK)
	if q.Data[0][0] != 0x33 || other.count(scsi.OpRead16) != 1 {
		t.Error("the read did not move on")
	}
}

// TestDoubtfulWrite: F2. The write is sent again at once, but it is not acknowledged, and
// nothing that overlaps it is let out, before the lost session was reinstated.
func TestDoubtfulWrite(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 1024, 1)
	on, other := r.outOn(q)
	r.slow[on.slot], r.slow[other.slot] = true, true
	on.kill(errCut)
	r.wantHeld(q)
	if other.count(scsi.OpWrite16) != 1 {
		t.Fatal("the write was not sent again at once")
	}
	late := r.write(512, 1024, 2)
	apart := r.write(4096, 512, 3)
	r.wantHeld(late)
	r.want(apart, OK)
	if st := r.d.Status(r.now); st.Doubtful != 1 || r.state(on.slot) != "fencing" {
		t.Errorf("%d writes are doubtful, the path is %s", st.Doubtful, r.state(on.slot))
	}
	// The reinstating session is not set up before Time2Wait is over, and goes through
	// the sibling's portal.
	opened := len(r.opened)
	r.after(r.wait - ms)
	if len(r.opened) != opened {
		t.Fatal("a session was opened before Time2Wait was over")
	}
	r.after(2 * ms)
	if last := r.opened[len(r.opened)-1]; last.slot != on.slot || last.via != other.slot {
		t.Fatalf("opened %+v", last)
	}
	r.wantHeld(q)
	// What the lost session was sent is executed now; then the new one ends it.
	on.haunt()
	r.slow[on.slot], r.slow[other.slot] = false, false
	r.path(on.slot).up = true
	r.wantHeld(q) // the target is not known to wait for its tasks
	r.after(time.Second)
	r.want(q, OK)
	r.want(late, OK)
	r.check(0, 512, 1)
	r.check(512, 1024, 2)
	if c := r.d.Status(r.now).Counters.Fences; c.Of("reinstate") != 1 || c.Of("wait") != 0 {
		t.Errorf("fences: %+v", c)
	}
	// The session that fenced logged out and carried nothing; the slot comes back.
	r.after(time.Minute)
	if r.state(on.slot) != "active" {
		t.Errorf("the path is %s", r.state(on.slot))
	}
}

// TestKnownTargetsNeedNoSettling: where the login waits for the old tasks, it is the fence.
func TestKnownTargetsNeedNoSettling(t *testing.T) {
	r := ready(t, 2, func(_ *Config, l *fakeLUN) { l.inquiry.Vendor = "LIO-ORG" })
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	on.kill(errCut)
	r.after(r.wait)
	r.want(q, OK)
}

// TestOtherGroupFencesNothing: a session of another portal group is another nexus. Waiting
// is the fence then: from the last byte that was sent.
func TestOtherGroupFencesNothing(t *testing.T) {
	cfg := config(2)
	r := newRig(t, cfg)
	r.tpgt[1] = 7
	r.run()
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	sent := on.last
	on.hold = holding(scsi.OpWrite16)
	r.tpgt[on.slot] = 20 // the target was set up anew
	r.after(100 * ms)
	on.kill(errCut)
	for _, o := range r.opened[2:] {
		if o.via != o.slot {
			t.Errorf("opened %+v", o)
		}
	}
	wait := r.wait + r.retain + cfg.FenceMargin
	r.after(sent + wait - r.now - ms)
	r.wantHeld(q)
	r.after(2 * ms)
	r.want(q, OK)
	if c := r.d.Status(r.now).Counters.Fences; c.Of("wait") != 1 || c.Of("reinstate") != 0 {
		t.Errorf("fences: %+v", c)
	}
}

// TestAttemptsDoNotShortenTheWait, nor make it longer: sessions that never carried anything
// have nothing to do with the fence.
func TestAttemptsDoNotMoveTheWait(t *testing.T) {
	for name, send := range map[string]bool{"connection refused": false, "login refused": true} {
		r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Fence = FenceWait })
		q := r.write(0, 512, 1)
		on, _ := r.outOn(q)
		sent := on.last
		r.slow[on.slot] = true
		on.kill(errCut)
		end := sent + r.wait + r.retain + r.d.cfg.FenceMargin
		for r.now < end-ms {
			r.after(min(time.Second, end-ms-r.now))
			if p, _ := r.d.slots[on.slot].path.(*fakePath); p != nil {
				if send {
					p.last = r.now
				}
				p.kill(errors.New(name))
			}
			r.wantHeld(q)
		}
		r.after(2 * ms)
		r.want(q, OK)
	}
}

func TestFenceModes(t *testing.T) {
	for _, c := range []struct {
		name     string
		mode     FenceMode
		comeback bool
		after    time.Duration // when the doubtful write is acknowledged; 0 at once
	}{
		{"auto, it comes back", FenceAuto, true, 3 * time.Second},
		{"auto, it does not", FenceAuto, false, 27 * time.Second},
		{"reinstate, it comes back", FenceReinstate, true, 3 * time.Second},
		{"reinstate, it does not", FenceReinstate, false, never},
		{"wait, although it comes back", FenceWait, true, 27 * time.Second},
		{"none", FenceNone, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2, func(cfg *Config, _ *fakeLUN) {
				cfg.Fence, cfg.RetryMin, cfg.RetryMax = c.mode, ms, ms
			})
			q := r.write(0, 512, 1)
			on, other := r.outOn(q)
			if !c.comeback {
				r.slow[on.slot], r.slow[other.slot] = true, true
			}
			on.kill(errCut)
			switch {
			case c.after == 0:
				r.want(q, OK)
			case c.after == never:
				r.after(time.Hour)
				r.wantHeld(q)
			default:
				r.after(c.after - 10*ms)
				r.wantHeld(q)
				r.after(20 * ms)
				r.want(q, OK)
			}
		})
	}
}

// TestUnsentWriteIsNoDoubt: what no byte had left of is sent again and acknowledged.
func TestUnsentWriteIsNoDoubt(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	on.unsent = true
	on.kill(errCut)
	r.want(q, OK)
	if n := r.d.Status(r.now).Doubtful; n != 0 {
		t.Errorf("%d writes are doubtful", n)
	}
}

// TestReinstatingSessionDies: before it counts, the fence goes on waiting for the next.
func TestReinstatementThroughOwnPortal(t *testing.T) {
	r := ready(t, 1)
	q := r.write(0, 512, 1)
	r.step()
	r.path(0).kill(errCut)
	r.wantHeld(q)
	r.after(r.wait + r.d.cfg.RetryMin + 2*time.Second)
	r.want(q, OK)
	r.check(0, 512, 1)
	if c := r.d.Status(r.now).Counters.Fences; c.Of("reinstate") != 1 {
		t.Errorf("fences: %+v", c)
	}
}

// TestBackoff: sessions are tried again after pauses that grow with jitter, never before
// Time2Wait, never beyond the limit.
func TestBackoff(t *testing.T) {
	r := ready(t, 1, func(c *Config, _ *fakeLUN) {
		c.RetryMin, c.RetryMax = 500*ms, 30*time.Second
	})
	r.wait = 0
	r.refuse[0] = errors.New("connection refused")
	r.path(0).nexus.Time2Wait = 0
	r.d.slots[0].rec.nexus.Time2Wait = 0
	start := r.now
	r.path(0).kill(errCut)
	r.after(time.Hour)
	prev := start
	tries := r.opened[1:]
	long := 0
	for i, o := range tries {
		pause, limit := o.at-prev, 30*time.Second
		if i < 6 {
			limit = min(limit, 500*ms<<i)
		}
		if pause > limit+ms {
			t.Errorf("pause %d is %v, at most %v", i, pause, limit)
		}
		if pause > 15*time.Second {
			long++
		}
		prev = o.at
	}
	if len(tries) < 120 || len(tries) > 600 || long == 0 {
		t.Errorf("%d tries in an hour, %d after a long pause", len(tries), long)
	}
}

// TestStartupFence: a slot that a former process left in use is fenced before any write;
// reads are served at once.
func TestStartupFence(t *testing.T) {
	cfg := config(2)
	cfg.Slots[1].Lost = &LostNexus{TPGT: 1, Time2Wait: 2 * time.Second, Time2Retain: 20 * time.Second}
	r := newRig(t, cfg)
	r.slow[1] = true
	r.run()
	if !r.d.Ready() || r.state(1) != "fencing" {
		t.Fatalf("ready %v, path 1 is %s", r.d.Ready(), r.state(1))
	}
	w, z := r.write(0, 512, 1), r.submit(&Request{Op: WriteZeroes, Offset: 4096, Length: 512})
	r.check(0, 512, 0)
	r.wantHeld(w)
	f := r.flush()
	r.path(1).up = true
	r.after(r.d.cfg.FenceSettle)
	r.want(w, OK)
	r.want(z, OK)
	r.want(f, OK) // slot 1 counts as dirty, and was synced
	if r.path(1).count(scsi.OpSynchronizeCache16) == 0 {
		t.Error("the slot that was left dirty was not synced")
	}
}

// TestStartupFenceByWaiting: the nexus of a former process that cannot be reached.
func TestStartupFenceByWaiting(t *testing.T) {
	cfg := config(2)
	cfg.Slots[1].Lost = &LostNexus{TPGT: 9, Time2Wait: 2 * time.Second, Time2Retain: 20 * time.Second}
	cfg.Slots[1].FenceOnly = true
	r := newRig(t, cfg)
	start := r.now
	r.refuse[1] = errors.New("no route to host")
	r.run()
	w := r.write(0, 512, 1)
	r.after(27*time.Second - (r.now - start) - ms)
	r.wantHeld(w)
	r.after(2 * ms)
	r.want(w, OK)
	f := r.flush()
	r.after(time.Minute)
	r.wantHeld(f) // waiting has fenced the nexus, but nobody has flushed what it wrote
	if _, slots := r.d.State(); !slots[1].InUse {
		t.Error("the slot does not stand in the state any more")
	}
	delete(r.refuse, 1)
	r.tpgt[1] = 8
	r.after(time.Minute)
	r.want(f, OK)
	if r.path(0).count(scsi.OpSynchronizeCache16) == 0 || r.d.slots[1].state != closed {
		t.Errorf("the slot is in state %d", r.d.slots[1].state)
	}
	if _, slots := r.d.State(); slots[1].InUse {
		t.Error("the slot stands in the state still")
	}
}

// TestReturningPathIsVerified before it carries a byte; a device that has become another one
// is not used.
func TestReturningPathIsVerified(t *testing.T) {
	r := ready(t, 2)
	r.path(0).kill(errCut)
	other := newFakeLUN()
	other.id[3] = 77
	r.luns[0] = other
	r.after(2 * time.Minute)
	if r.state(0) == "active" {
		t.Fatal("another LUN came back as the path")
	}
	for i := range uint64(8) {
		r.want(r.write(i*512, 512, 1), OK)
	}
	for _, p := range r.paths[2:] {
		if len(p.received) > 0 {
			t.Fatal("it carried I/O")
		}
	}
	if r.d.Fatal() != nil {
		t.Errorf("fatal: %v", r.d.Fatal())
	}
	delete(r.luns, 0)
	r.after(2 * time.Minute)
	if r.state(0) != "active" {
		t.Errorf("the path is %s", r.state(0))
	}
}

// TestSiblingsMustLive: after a restart of the target one session is back, and the death of
// the other has not been noticed: data that only that one acknowledged must not be read as
// what it was before.
func TestSiblingsMustLive(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	r.want(q, OK)
	hold := func(*scsi.Command, scsi.CDB) bool { return true }
	on.hold = hold // its connection is dead, and nobody knows
	r.lun.loseCache()
	other.kill(errCut)
	r.after(time.Minute)
	if r.state(other.slot) == "active" {
		t.Fatal("a path is used although its sibling did not answer")
	}
	q = r.read(0, 512)
	r.wantHeld(q)
	on.kill(errCut)
	r.want(q, OK)
	if q.Data[0][0] != 1 {
		t.Error("the read gave old data")
	}
}

// TestExpiredProvesNothing: nor is it used when the session of the sibling has given up the
// question for a sign of life because its time was over. It is asked again.
func TestExpiredProvesNothing(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	r.want(q, OK)
	on.hold = func(*scsi.Command, scsi.CDB) bool { return true }
	r.lun.loseCache()
	other.kill(errCut)
	for range 4 {
		r.after(2 * probeTimeout)
		if n := len(on.queue); n == 0 || n > 3 {
			t.Fatalf("%d commands are out on the sibling", n)
		}
		for _, c := range on.queue {
			c.Err = status(scsi.TaskAborted)
		}
		on.done, on.queue = append(on.done, on.queue...), nil
		r.run()
		if r.state(other.slot) == "active" {
			t.Fatal("a path is used although its sibling did not answer")
		}
	}
	on.hold = nil
	r.run()
	if r.state(other.slot) != "active" {
		t.Errorf("it is %s although its sibling answers", r.state(other.slot))
	}
}

// TestResetProvesNothing: nor when it is to reset the logical unit for a third path meanwhile:
// what that is answered says nothing of a cache, and BUSY comes from the session itself.
func TestResetProvesNothing(t *testing.T) {
	for _, answer := range []error{nil, status(scsi.Busy)} {
		r := ready(t, 3, func(c *Config, _ *fakeLUN) { c.Fence = FenceReset })
		q := r.write(0, 512, 1)
		on, _ := r.outOn(q)
		r.want(q, OK)
		third, other := r.path((on.slot+1)%3), r.path((on.slot+2)%3)
		third.hold = holding(scsi.OpWrite16)
		for i := range uint64(3) {
			r.write(4096*(i+1), 512, 2)
		}
		r.run()
		on.hold = func(c *scsi.Command, _ scsi.CDB) bool { return !c.Reset }
		busy := true
		on.answer = func(*scsi.Command, scsi.CDB) error {
			if busy {
				return status(scsi.Busy)
			}
			return answer
		}
		r.lun.loseCache()
		other.kill(errCut)
		r.after(other.nexus.Time2Wait - 100*ms)
		r.refuse[third.slot] = errCut
		third.kill(errCut)
		r.after(800 * ms)
		busy = false
		r.after(time.Minute)
		if r.d.stats.Fences[byReset].Count == 0 && answer == nil {
			t.Error("no logical unit was reset")
		}
		if r.state(other.slot) == "active" {
			t.Errorf("a reset answered by %v: a path is used although its sibling did not answer", answer)
		}
	}
}

// TestReplayAfterLoss: the copies of a dead session are written on a living one, before what
// overlaps them is read, and without a fence.
func TestReplayAfterLoss(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	r.want(q, OK)
	r.slow[on.slot], r.slow[other.slot] = true, true
	r.lun.loseCache()
	other.hold = holding(scsi.OpWrite16)
	on.kill(errCut)
	r.step()
	read := r.read(0, 512)
	r.wantHeld(read)
	r.check(4096, 512, 0)
	other.hold = nil
	r.want(read, OK)
	if read.Data[0][0] != 1 {
		t.Error("the read gave old data")
	}
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestReadAcrossLoss: a read that was out when a loss of the cache was told is read again.
func TestReadAcrossLoss(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	q := r.read(0, 512)
	on, other := r.outOn(q)
	r.lun.loseCache()
	other.answer = once(scsi.OpRead16, check(scsi.UnitAttention, 0x29, 0))
	on.run() // it reads what the cache fell back to
	late := on.done
	on.done = nil // and its answer is on its way
	second := r.read(4096, 512)
	r.step()
	if len(other.queue) == 0 {
		t.Fatal("the second read is not on the other path")
	}
	r.want(second, OK)
	on.done = late
	r.want(q, OK)
	if q.Data[0][0] != 1 {
		t.Error("the read gave what the cache fell back to")
	}
}
