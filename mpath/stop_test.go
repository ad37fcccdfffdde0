package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

func (r *rig) wantStopped(grace time.Duration) {
	r.t.Helper()
	start := r.now
	for !r.d.Stopped() {
		if r.now > start+grace {
			r.t.Fatalf("it did not stop in %v", grace)
		}
		r.after(100 * ms)
	}
}

func TestStopFlushesAndLogsOut(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	out := r.write(512, 512, 2)
	r.d.Stop(r.now, 10*time.Second)
	late := r.read(0, 512)
	r.wantStopped(time.Second)
	r.want(out, OK)
	r.want(late, ESHUTDOWN)
	if r.lun.stable[0] != 1 || r.lun.stable[512] != 2 {
		t.Error("what was written is not stable")
	}
	for _, p := range r.paths {
		if p.err != scsi.ErrLoggedOut {
			t.Errorf("session of slot %d: %v", p.slot, p.err)
		}
	}
	if _, slots := r.d.State(); slots[0].InUse || slots[1].InUse {
		t.Errorf("the state says %+v", slots)
	}
	if len(r.done()) != 0 {
		t.Error("a request that is not a client's came back")
	}
	if r.pool.back != 2 {
		t.Errorf("%d buffers came back", r.pool.back)
	}
}

// TestStopWhileVerifying: what a path answers that leaves does not make it active.
func TestStopWhileVerifying(t *testing.T) {
	cfg := config(2)
	cfg.Slots[1].Lost = &LostNexus{TPGT: 1}
	cfg.Slots[1].FenceOnly = true
	r := newRig(t, cfg)
	r.slow[1] = true
	r.run()
	p := r.path(1)
	p.up, p.hold = true, holding(scsi.OpSynchronizeCache16)
	r.run()
	r.d.Stop(r.now, time.Second)
	r.after(700 * ms)
	if r.d.slots[1].state != leaving {
		t.Fatalf("the slot is in state %d", r.d.slots[1].state)
	}
	p.hold = nil
	r.wantStopped(time.Second)
	if r.d.Fatal() != nil || r.d.slots[1].inLedger {
		t.Errorf("fatal: %v; in the ledger: %v", r.d.Fatal(), r.d.slots[1].inLedger)
	}
}

// TestStopWithRequestsNotTaken: the last flush is not a client's, also when clients' requests
// wait to be taken.
func TestStopWithRequestsNotTaken(t *testing.T) {
	r := ready(t, 1)
	q := r.write(0, 512, 1)
	for range 5 {
		r.d.Step(r.now)
		r.path(0).run()
	}
	r.d.Stop(r.now, time.Second)
	r.wantStopped(time.Second)
	if list := r.done(); len(list) != 1 || list[0] != q {
		t.Errorf("%d requests came back", len(list))
	}
}

func TestStopWithoutPath(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(8192, 512, 9), OK)
	r.noPath()
	all := []*Request{r.write(0, 512, 1), r.read(0, 512), r.flush()}
	r.run()
	r.d.Stop(r.now, 10*time.Second)
	r.after(5 * time.Second)
	for _, q := range all {
		r.wantHeld(q)
	}
	r.wantStopped(5 * time.Second)
	for _, q := range all {
		r.want(q, ESHUTDOWN)
	}
	if _, slots := r.d.State(); !slots[0].InUse {
		t.Error("a session that did not log out is not in the state")
	}
}

// TestStopWhenPathComesBack: what waited is answered, and flushed.
func TestStopWhenPathComesBack(t *testing.T) {
	r := ready(t, 1)
	r.noPath()
	w := r.write(0, 512, 1)
	r.run()
	r.d.Stop(r.now, 10*time.Second)
	r.comeBack()
	r.after(5 * time.Second)
	if !r.isDone(w) {
		// No session is opened while the device stops: then it is an error, in time.
		r.wantStopped(6 * time.Second)
		r.want(w, ESHUTDOWN)
		return
	}
	r.want(w, OK)
	r.wantStopped(6 * time.Second)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestStopWithSlowTarget: an answer that does not come does not keep the daemon; what was
// acknowledged is flushed if the target lets it.
func TestStopWithSlowTarget(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	for i := range 2 {
		r.path(i).hold = holding(scsi.OpRead16)
	}
	q := r.read(4096, 512)
	r.run()
	r.d.Stop(r.now, 10*time.Second)
	r.after(7 * time.Second)
	for i := range 2 {
		r.path(i).hold = nil
	}
	r.want(q, OK)
	r.wantStopped(4 * time.Second)
	if r.lun.stable[0] != 1 {
		t.Error("what was acknowledged was not flushed, although there was time")
	}
}

func TestStopWithDeadTarget(t *testing.T) {
	r := ready(t, 2)
	hold := func(*scsi.Command, scsi.CDB) bool { return true }
	r.path(0).hold, r.path(1).hold = hold, hold
	q := r.write(0, 512, 1)
	r.run()
	r.d.Stop(r.now, 10*time.Second)
	start := r.now
	r.after(9900 * ms)
	if r.d.Stopped() {
		t.Error("it stopped although an answer may come")
	}
	r.after(100 * ms)
	if !r.d.Stopped() || r.now-start > 10*time.Second {
		t.Errorf("it did not stop in time")
	}
	if r.isDone(q) {
		t.Error("a write ended that nobody answered")
	}
}

// TestStopWhileOpening: a session that is being set up is given up.
func TestStopWhileOpening(t *testing.T) {
	r := newRig(t, config(2))
	r.slow[0], r.slow[1] = true, true
	r.run()
	r.d.Stop(r.now, 10*time.Second)
	r.wantStopped(time.Second)
}

// TestStopWhileFencing: a doubtful write that a living path answered waits for its fence.
func TestStopWhileFencing(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	r.slow[on.slot], r.slow[other.slot] = true, true
	on.kill(errCut)
	r.wantHeld(q)
	r.d.Stop(r.now, 10*time.Second)
	r.wantStopped(10 * time.Second)
	r.want(q, ESHUTDOWN)
}

// TestStopDoesNotSpin: while the sessions log out the device sleeps.
func TestStopDoesNotSpin(t *testing.T) {
	r := ready(t, 1)
	p := r.path(0)
	p.hold = holding(scsi.OpSynchronizeCache16)
	r.d.Stop(r.now, 10*time.Second)
	r.run()
	p.hold = nil
	for range 5 {
		r.d.Step(r.now)
		p.run()
		if p.out {
			break
		}
	}
	p.hold = func(*scsi.Command, scsi.CDB) bool { return true }
	p.out = false // its answer does not come
	for range 50 {
		r.d.Step(r.now)
		next := r.d.Deadline()
		if next <= r.now {
			t.Fatalf("the deadline is %v, now is %v", next, r.now)
		}
		if next == never || r.d.Stopped() {
			return
		}
		r.now = next
	}
}
