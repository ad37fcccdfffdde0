package mpath

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// A fakeNexus is what a target tells sessions apart by.
type fakeNexus struct {
	slot int
	tpgt uint16
}

func (p *fakePath) fakeNexus() fakeNexus { return fakeNexus{p.slot, p.nexus.TPGT} }

// reserve does persistent reservations, as far as registrations go.
func (p *fakePath) reserve(c *scsi.Command, cdb scsi.CDB) error {
	r := p.rig
	if p.lun.noReserve {
		return check(scsi.IllegalRequest, 0x20, 0)
	}
	if cdb.Op == scsi.OpPersistentReserveIn {
		return p.lun.reply(c, scsi.AppendReserveKeys(nil, 1, slices.Sorted(maps.Values(r.keys))))
	}
	if p.lun.denyKeys == p.slot+1 {
		return check(scsi.IllegalRequest, 0x55, 0x04)
	}
	list, err := scsi.ParseReserveParameters(c.Data)
	if err != nil {
		return err
	}
	me := p.fakeNexus()
	defer func() { r.reserved = r.reserved && len(r.keys) > 0 }() // by all that are registered
	if cdb.Action != scsi.ReserveRegisterAndIgnore && r.keys[me] != list.Key {
		return status(scsi.ReservationConflict)
	}
	switch cdb.Action {
	case scsi.ReserveRegister, scsi.ReserveRegisterAndIgnore:
		r.keys[me] = list.ServiceKey
		if list.ServiceKey == 0 {
			delete(r.keys, me)
		}
	case scsi.ReserveReserve:
		r.reserved = true
	case scsi.ReserveRelease:
		r.reserved = false
	case scsi.ReservePreemptAndAbort:
		if !r.reserved {
			r.t.Error("a key is preempted, and what comes late of its session is not kept out")
		}
		found := false
		for n, k := range r.keys {
			if k == list.ServiceKey {
				found = true
				delete(r.keys, n)
				r.abort(func(o *fakePath) bool { return o.fakeNexus() == n })
			}
		}
		if !found {
			return status(scsi.ReservationConflict)
		}
	default:
		r.t.Fatalf("PERSISTENT RESERVE OUT with action %d", cdb.Action)
	}
	return nil
}

// abort ends the commands of sessions, dead ones too.
func (r *rig) abort(meant func(*fakePath) bool) {
	for _, o := range r.paths {
		if meant(o) {
			o.ghosts = nil
			for _, c := range o.queue {
				if !c.Reset {
					o.answer = once(c.CDB[0], status(scsi.TaskAborted))
				}
			}
		}
	}
}

// reset is LOGICAL UNIT RESET.
func (r *rig) reset() {
	r.resets++
	r.abort(func(*fakePath) bool { return true })
}

const ourKeys = 0x8123456789000000

func reserving(c *Config, _ *fakeLUN) { c.Fence, c.Keys = FenceReserve, ourKeys }

// lostWrite loses the session on which a write is out, and keeps the next one away.
func lostWrite(r *rig) (q *Request, lost, other *fakePath) {
	r.t.Helper()
	q = r.write(0, 512, 1)
	lost, other = r.outOn(q)
	r.slow[lost.slot], r.slow[other.slot] = true, true
	lost.kill(errCut)
	return q, lost, other
}

// TestReservationFences: a write whose session was lost is acknowledged as soon as a living
// session has preempted the lost one's key, long before it could be reinstated.
func TestReservationFences(t *testing.T) {
	r := ready(t, 2, reserving, func(_ *Config, l *fakeLUN) { l.inquiry.Vendor = "braid" })
	if len(r.keys) != 2 || r.keys[fakeNexus{0, 1}] == r.keys[fakeNexus{1, 1}] {
		t.Fatalf("keys %x", r.keys)
	}
	if _, slots := r.d.State(); slots[0].Key != r.keys[fakeNexus{0, 1}] {
		t.Errorf("the state says %x", slots[0].Key)
	}
	q, lost, _ := lostWrite(r)
	r.want(q, OK)
	if len(lost.ghosts) > 0 {
		t.Error("the lost session's write may still be executed")
	}
	if c := r.d.Status(r.now).Counters.Fences; c.Of("reserve") != 1 || c.Of("reinstate") != 0 {
		t.Errorf("fences %v", c)
	}
	if _, there := r.keys[lost.fakeNexus()]; there {
		t.Error("its key is registered still")
	}
	// It comes back, with a key that it never had.
	old := r.d.slots[lost.slot].rec.key
	r.slow = map[int]bool{}
	r.after(10 * time.Second)
	if k := r.keys[lost.fakeNexus()]; r.state(lost.slot) != "active" || k == 0 || k == old {
		t.Errorf("path %s, key %x, before %x", r.state(lost.slot), k, old)
	}
	// In the end no key is left.
	r.d.Stop(r.now, 9*time.Second)
	r.after(time.Second)
	if !r.d.Stopped() || len(r.keys) > 0 || r.reserved {
		t.Errorf("stopped %v, keys left %x, reserved %v", r.d.Stopped(), r.keys, r.reserved)
	}
}

// TestReservationIsReleased: also if a session that was lost, and needed no fence, has left its
// key there.
func TestReservationIsReleased(t *testing.T) {
	r := ready(t, 3, reserving)
	q, lost, _ := lostWrite(r)
	r.slow[2] = true
	r.after(r.d.cfg.FenceSettle)
	r.want(q, OK)
	for i := range 3 {
		if p, _ := r.d.slots[i].path.(*fakePath); p != nil && i != lost.slot && len(r.slow) > 0 {
			p.kill(errCut)
			break
		}
	}
	r.run()
	r.d.Stop(r.now, 9*time.Second)
	r.after(time.Second)
	if !r.d.Stopped() || r.reserved {
		t.Errorf("stopped %v, reserved %v, keys left %x", r.d.Stopped(), r.reserved, r.keys)
	}
}

// TestReserveModeWithUnkeyedPath: a path that may not register is no path once the LUN is
// reserved, and where one is in use nothing is reserved.
func TestReserveModeWithUnkeyedPath(t *testing.T) {
	deny := func(slot int) func(*Config, *fakeLUN) {
		return func(_ *Config, l *fakeLUN) {
			l.denyKeys = slot + 1
		}
	}
	r := ready(t, 3, reserving, deny(2))
	q := r.write(0, 512, 1)
	lost, _ := r.outOn(q)
	r.slow[0], r.slow[1] = true, true
	if lost.slot == 2 {
		t.Fatal("not the path that was meant")
	}
	lost.kill(errCut)
	r.after(r.d.cfg.FenceSettle + ms)
	r.wantHeld(q)
	if r.reserved {
		t.Error("the LUN is reserved, and a path in use has no key")
	}
	r = ready(t, 3, reserving)
	q, lost, _ = lostWrite(r)
	r.after(r.d.cfg.FenceSettle)
	r.want(q, OK)
	r.lun.denyKeys = lost.slot + 1
	r.slow = map[int]bool{}
	r.after(time.Minute)
	if got := r.state(lost.slot); got == "active" {
		t.Error("a path without a key is in use")
	}
	r.lun.denyKeys = 0
	r.after(time.Minute)
	if got := r.state(lost.slot); got != "active" {
		t.Errorf("it does not come back: %s", got)
	}
}

// TestReservationSettles: a target that is not known to wait for the tasks that it aborts is
// given FenceSettle.
func TestReservationSettles(t *testing.T) {
	r := ready(t, 2, reserving)
	q, _, _ := lostWrite(r)
	r.after(r.d.cfg.FenceSettle - ms)
	r.wantHeld(q)
	r.after(2 * ms)
	r.want(q, OK)
}

// TestReservationThatCannotFence: then reinstatement does it, as ever.
func TestReservationThatCannotFence(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"somebody took the key away": func(r *rig) { clear(r.keys) },
		"only foreign keys": func(r *rig) {
			for n := range r.keys {
				r.keys[n] ^= 1 << 60
			}
		},
		"the target is Linux'": func(r *rig) { r.d.lun.Vendor = "LIO-ORG" },
		"PREEMPT AND ABORT is not known": func(r *rig) {
			for _, p := range r.paths {
				p.answer = func(_ *scsi.Command, cdb scsi.CDB) error {
					if cdb.Op == scsi.OpPersistentReserveOut && cdb.Action == scsi.ReservePreemptAndAbort {
						return check(scsi.IllegalRequest, 0x24, 0)
					}
					return nil
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 2, reserving)
			change(r)
			before := maps.Clone(r.keys)
			q, lost, _ := lostWrite(r)
			r.after(time.Second)
			r.wantHeld(q)
			if !maps.Equal(r.keys, before) {
				t.Errorf("keys %x, before %x", r.keys, before)
			}
			if len(lost.ghosts) == 0 {
				t.Error("the write was aborted")
			}
			r.slow = map[int]bool{}
			r.after(r.wait)
			r.path(lost.slot).up = true
			r.after(r.d.cfg.FenceSettle)
			r.want(q, OK)
			if c := r.d.Status(r.now).Counters.Fences; c.Of("reinstate") != 1 {
				t.Errorf("fences %v", c)
			}
		})
	}
}

// TestNoKeysAtTheTarget: the paths are used without.
func TestNoKeysAtTheTarget(t *testing.T) {
	r := ready(t, 2, reserving, func(_ *Config, l *fakeLUN) { l.noReserve = true })
	q, lost, _ := lostWrite(r)
	r.after(time.Second)
	r.wantHeld(q)
	r.after(r.wait)
	r.path(lost.slot).up = true
	r.after(r.d.cfg.FenceSettle)
	r.want(q, OK)
}

// TestKeyOfFormerProcess: a nexus that a former process left is preempted by the key that the
// state file tells.
func TestKeyOfFormerProcess(t *testing.T) {
	cfg := config(2)
	reserving(&cfg, nil)
	cfg.Slots[1].Lost = &LostNexus{TPGT: 1, Time2Wait: 2 * time.Second,
		Time2Retain: 20 * time.Second, Key: 0x4242}
	r := newRig(t, cfg)
	r.keys[fakeNexus{1, 1}] = 0x4242
	r.refuse[1] = errors.New("no route to host")
	r.run()
	w := r.write(0, 512, 1)
	r.wantHeld(w)
	r.after(r.d.cfg.FenceSettle)
	r.want(w, OK)
	if c := r.d.Status(r.now).Counters.Fences; c.Of("reserve") != 1 || len(r.keys) != 1 {
		t.Errorf("fences %v, keys %x", c, r.keys)
	}
}

// TestPreemptDoesNotMeetTheSuccessor: while the key of a lost session is preempted, the next one
// of its slot sends nothing; should that path die too, another does it.
func TestPreemptDoesNotMeetTheSuccessor(t *testing.T) {
	r := ready(t, 3, reserving)
	q := r.write(0, 512, 1)
	lost, _ := r.outOn(q)
	for _, p := range r.paths {
		p.hold = holding(scsi.OpPersistentReserveIn)
	}
	lost.kill(errCut)
	r.run()
	var through *fakePath
	for _, p := range r.paths {
		if p.err == nil && len(p.queue) > 0 {
			through = p
		}
	}
	if through == nil {
		t.Fatal("nobody asks for the keys")
	}
	r.after(r.wait + time.Second) // a session through a sibling's portal is up
	next := r.path(lost.slot)
	if next.sent > 0 {
		t.Errorf("the successor was sent %d commands", next.sent)
	}
	for _, p := range r.paths {
		if p != through {
			p.hold = nil
		}
	}
	through.kill(errCut)
	r.run()
	if next.sent == 0 {
		t.Error("the successor still waits")
	}
	r.after(20 * time.Second)
	r.want(q, OK)
}

// TestFencedOnce: a lost session that is fenced, but whose data without copies still waits
// for a SYNC of its successor, is not fenced again with each attempt that fails.
func TestFencedOnce(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Fence, c.Retain = FenceReset, 0 })
	q := r.write(0, 512, 1)
	lost, other := r.outOn(q)
	r.want(q, OK)
	q = r.write(0, 512, 1)
	for _, p := range []*fakePath{lost, other} {
		r.refuse[p.slot] = errCut
	}
	lost.kill(errCut)
	f := r.flush()
	r.after(10 * time.Minute)
	r.want(q, OK)
	r.wantHeld(f)
	c := r.d.Status(r.now).Counters.Fences
	if c.Of("reset") != 1 || c.Of("wait") != 0 || r.resets != 1 {
		t.Errorf("fences %v, %d resets", c, r.resets)
	}
	clear(r.refuse)
	r.after(time.Minute)
	r.want(f, OK)
}

// TestFenceCommandMeetsBusy: it is sent again.
func TestFenceCommandMeetsBusy(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Fence = FenceReset })
	q := r.write(0, 512, 1)
	lost, other := r.outOn(q)
	r.slow[lost.slot], r.slow[other.slot] = true, true
	left := 3
	other.answer = func(c *scsi.Command, _ scsi.CDB) error {
		if left--; c.Reset && left >= 0 {
			return status(scsi.Busy)
		}
		return nil
	}
	lost.kill(errCut)
	r.after(time.Second + r.d.cfg.FenceSettle)
	r.want(q, OK)
}

// TestResetFences: only where it was asked for, and commands that it hit elsewhere are sent
// again.
func TestResetFences(t *testing.T) {
	r := ready(t, 2, func(c *Config, l *fakeLUN) {
		c.Fence, l.inquiry.Vendor = FenceReset, "braid"
	})
	q := r.write(0, 512, 1)
	lost, other := r.outOn(q)
	r.slow[lost.slot], r.slow[other.slot] = true, true
	bystander := r.read(8192, 512)
	lost.kill(errCut)
	r.after(r.d.cfg.FenceSettle - ms)
	r.wantHeld(q)
	r.after(2 * ms)
	r.want(q, OK)
	r.want(bystander, OK)
	if c := r.d.Status(r.now).Counters.Fences; c.Of("reset") != 1 || r.resets != 1 {
		t.Errorf("fences %v, %d resets", c, r.resets)
	}
	r = ready(t, 2)
	q, _, _ = lostWrite(r)
	r.after(time.Second)
	r.wantHeld(q)
	if r.resets != 0 {
		t.Error("a reset that nobody asked for")
	}
}
