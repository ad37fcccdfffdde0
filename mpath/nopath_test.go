package mpath

import (
	"errors"
	"slices"
	"testing"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// noPath takes every path of a device away, for good.
func (r *rig) noPath() {
	for i := range r.d.slots {
		r.refuse[i] = errors.New("no route to host")
	}
	for _, p := range r.paths {
		p.kill(errCut)
	}
}

func (r *rig) comeBack() { clear(r.refuse) }

func TestNoPathQueues(t *testing.T) {
	r := ready(t, 2)
	w0 := r.write(8192, 512, 9)
	r.want(w0, OK)
	q := r.write(0, 512, 1) // out when the paths go
	r.step()
	r.noPath()
	all := []*Request{q, r.write(512, 512, 2), r.read(0, 512), r.read(8192, 512), r.flush(),
		r.submit(&Request{Op: Trim, Offset: 4096, Length: 512})}
	r.after(10 * time.Hour)
	for i, q := range all {
		if r.isDone(q) {
			t.Fatalf("request %d ended: %d", i, q.Err)
		}
	}
	if st := r.d.Status(r.now); st.State != "queueing" || st.NoPathFor < 9*time.Hour {
		t.Errorf("the device is %s, for %v", st.State, st.NoPathFor)
	}
	r.comeBack()
	r.after(2 * time.Minute)
	for _, q := range all {
		r.want(q, OK)
	}
	r.check(0, 512, 1)
	r.check(8192, 512, 9)
}

func TestNoPathFails(t *testing.T) {
	for _, limit := range []time.Duration{0, 10 * time.Second} {
		r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.NoPath = limit })
		kept := r.write(8192, 512, 9)
		r.want(kept, OK)
		q := r.write(0, 512, 1)
		r.step()
		r.noPath()
		r.step()
		all := []*Request{q, r.write(0, 512, 2), r.read(0, 512), r.read(8192, 512), r.flush(),
			r.submit(&Request{Op: WriteZeroes, Offset: 4096, Length: 512, FUA: true})}
		if limit > 0 {
			r.after(limit - 10*ms)
			for _, q := range all {
				r.wantHeld(q)
			}
			r.after(20 * ms)
		}
		for _, q := range all {
			r.want(q, EIO)
		}
		if st := r.d.Status(r.now); st.State != "failed" {
			t.Errorf("the device is %s", st.State)
		}
		// From now on at once.
		r.want(r.read(0, 512), EIO)
		// What was acknowledged is there when a path comes back; what was given up may
		// not come back to life over what is newer.
		r.comeBack()
		r.after(2 * time.Minute)
		r.check(8192, 512, 9)
		r.want(r.write(0, 512, 3), OK)
		for _, p := range r.paths {
			if p.err != nil && len(p.ghosts) > 0 && r.d.Status(r.now).Doubtful > 0 {
				t.Error("a write went out over a doubtful one")
			}
		}
		r.check(0, 512, 3)
		r.want(r.flush(), OK)
	}
}

// TestFlushWithoutItsSession: without copies a flush waits for the session that died, as
// long as no_path says, although another path is up.
func TestFlushWithoutItsSession(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) {
		c.Retain, c.NoPath, c.Fence = 0, 20*time.Second, FenceWait
	})
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	r.want(q, OK)
	r.refuse[on.slot] = errors.New("no route to host")
	on.kill(errCut)
	f := r.flush()
	r.wantHeld(f)
	r.check(0, 512, 1)
	r.after(19 * time.Second)
	r.wantHeld(f)
	r.after(2 * time.Second)
	r.want(f, EIO)
	// It is tried again by the next one, which succeeds when the session is back.
	f = r.flush()
	r.wantHeld(f)
	r.comeBack()
	r.after(19 * time.Second)
	if !r.isDone(f) {
		r.after(time.Minute)
		f = r.flush()
	}
	r.want(f, OK)
}

// TestB6WithoutCopies: all sessions went together, and with them, it may be, the target's
// cache: EIO once to each client that was there.
func TestB6WithoutCopies(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Retain = 0 })
	flush := func(client uint64, want Errno) {
		t.Helper()
		r.want(r.submit(&Request{Op: Flush, Client: client}), want)
	}
	flush(1, OK)
	flush(2, OK)
	r.want(r.write(0, 512, 1), OK)
	r.noPath()
	r.run()
	r.comeBack()
	r.after(time.Minute)
	r.d.Arrived(3)
	flush(3, OK) // it came after the loss
	flush(1, EIO)
	flush(1, OK)
	flush(2, EIO)
	flush(2, OK)
	flush(1, OK)
}

// TestB6Refused: a SYNC that fails is not forgotten by the next one that succeeds.
func TestB6Refused(t *testing.T) {
	medium := check(scsi.MediumError, 0x0c, 0)
	for _, c := range []struct {
		name    string
		retain  uint64
		refuses int
		want    []Errno // of flushes one after the other
	}{
		{"with copies, once", 1 << 20, 1, []Errno{OK, OK}},
		{"with copies, twice", 1 << 20, 2, []Errno{OK, OK}},
		{"with copies, three times", 1 << 20, 3, []Errno{EIO, OK}},
		{"with copies, again and again", 1 << 20, 7, []Errno{EIO, EIO, OK}},
		{"without copies, once", 0, 1, []Errno{EIO, OK}},
		{"without copies, three times", 0, 3, []Errno{EIO, OK}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1, func(cfg *Config, _ *fakeLUN) { cfg.Retain = c.retain })
			r.want(r.flush(), OK)
			r.want(r.write(0, 512, 1), OK)
			p, n := r.path(0), c.refuses
			p.answer = func(_ *scsi.Command, cdb scsi.CDB) error {
				if cdb.Op == scsi.OpSynchronizeCache16 && n > 0 {
					n--
					r.lun.loseCache() // as a buffered file does, whose write-back failed
					return medium
				}
				return nil
			}
			for _, want := range c.want {
				r.want(r.flush(), want)
			}
			if c.retain > 0 && r.lun.stable[0] != 1 {
				t.Error("it is not stable")
			}
		})
	}
}

// TestBusySync: a device that is busy is asked again, for a while.
func TestBusySync(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 512, 1), OK)
	r.path(0).answer = times(5, scsi.OpSynchronizeCache16, status(scsi.Busy))
	f := r.flush()
	r.wantHeld(f)
	r.after(6 * syncPause)
	r.want(f, OK)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestAttentionAtSync: a loss of cache that the SYNC itself tells of. The copies come first.
func TestAttentionAtSync(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	for i := range 2 {
		r.path(i).answer = once(scsi.OpSynchronizeCache16, check(scsi.UnitAttention, 0x29, 0))
	}
	r.lun.loseCache()
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestSyncCountsOldAnswers: a SYNC counts only when what was sent before it is answered: an
// older command may tell of the loss.
func TestSyncCountsOldAnswers(t *testing.T) {
	for name, end := range map[string]func(p *fakePath){
		"told":      func(p *fakePath) { p.answer = once(scsi.OpRead16, check(scsi.UnitAttention, 0x29, 0)) },
		"path lost": func(p *fakePath) { p.kill(errCut) },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 1)
			r.want(r.write(0, 512, 1), OK)
			p := r.path(0)
			p.hold = holding(scsi.OpRead16)
			read := r.read(4096, 512)
			r.step()
			r.lun.loseCache()
			f := r.flush()
			r.wantHeld(f)
			end(p)
			p.hold = nil
			r.after(time.Minute)
			r.want(read, OK)
			r.want(f, OK)
			if r.lun.stable[0] != 1 {
				t.Error("a flush counted a SYNC that an older command spoilt")
			}
		})
	}
}

// TestBarrierModes: where new writes go while a flush is under way.
func TestBarrierModes(t *testing.T) {
	for _, mode := range []barrier.Mode{barrier.Drain, barrier.Hold, barrier.Epoch} {
		r := ready(t, 3, func(c *Config, _ *fakeLUN) { c.Barrier = mode })
		r.want(r.flush(), OK)
		for i := range 3 {
			r.path(i).hold = holding(scsi.OpSynchronizeCache16, scsi.OpWrite16)
		}
		old := r.write(0, 512, 1)
		f := r.flush() // in the same breath
		r.run()
		syncs, writes := 0, 0
		for i := range 3 {
			for _, c := range r.path(i).queue {
				if c.CDB[0] == scsi.OpSynchronizeCache16 {
					syncs++
				} else {
					writes++
				}
			}
		}
		if writes != 1 || syncs != 0 && mode != barrier.Epoch {
			t.Errorf("mode %d: %d writes and %d SYNCs are out", mode, writes, syncs)
		}
		var later []*Request
		used := map[int]bool{}
		for i := range uint64(6) {
			later = append(later, r.write(8192+i*512, 512, 2))
			r.step()
		}
		for i := range 3 {
			for _, c := range r.path(i).queue {
				if c.CDB[0] == scsi.OpWrite16 && c.Data[0] == 2 {
					used[i] = true
				}
			}
		}
		done := r.isDone(f) // in epoch there was nothing to cover
		want := map[barrier.Mode]int{barrier.Drain: 1, barrier.Hold: 0, barrier.Epoch: 3}[mode]
		if len(used) != want || done != (mode == barrier.Epoch) {
			t.Errorf("mode %d: new writes on %d paths, want %d; flush done %v", mode, len(used), want, done)
		}
		for i := range 3 {
			r.path(i).hold = nil
		}
		r.want(old, OK)
		r.want(f, OK)
		for _, q := range later {
			r.want(q, OK)
		}
		if mode != barrier.Epoch && r.lun.stable[0] != 1 {
			t.Errorf("mode %d: a write that was sent before the flush is not covered", mode)
		}
	}
}

// TestLossIsToldToAllThatWait: every flush that waited when data was lost fails, and so does
// a write that was to be stable, not only the client's first.
func TestLossIsToldToAllThatWait(t *testing.T) {
	r := ready(t, 1, func(c *Config, l *fakeLUN) { c.Retain, l.mode.DPOFUA = 0, false })
	r.want(r.flush(), OK)
	r.want(r.write(0, 512, 1), OK)
	r.path(0).hold = holding(scsi.OpSynchronizeCache16)
	fua := r.submit(&Request{Op: Write, FUA: true, Offset: 512, Length: 512, Data: chunks(512, 2)})
	f := r.flush()
	r.wantHeld(f)
	r.noPath()
	r.want(f, EIO)
	r.want(fua, EIO)
	r.comeBack()
	r.after(time.Minute)
	r.want(r.flush(), OK)
}

// unflushed is a device that keeps no copies, with a write that one path has answered.
func unflushed(t *testing.T, paths int) (r *rig, on, other *fakePath) {
	t.Helper()
	r = ready(t, paths, func(c *Config, _ *fakeLUN) { c.Retain = 0 })
	r.want(r.flush(), OK)
	q := r.write(0, 512, 1)
	on, other = r.outOn(q)
	r.want(q, OK)
	return r, on, other
}

// TestFenceIsNoSync: a session made only to fence may have synced a target that restarted,
// as long as the sibling whose portal it used has not shown that it lives.
func TestFenceIsNoSync(t *testing.T) {
	r, on, other := unflushed(t, 2)
	other.hold = func(*scsi.Command, scsi.CDB) bool { return true } // dead, and nobody knows
	r.lun.loseCache()
	r.after(ms)
	on.kill(errCut)
	f := r.flush()
	r.refuse[on.slot] = errors.New("no route to host")
	r.after(5 * time.Second)
	r.wantHeld(f)
	if !slices.ContainsFunc(r.opened, func(o dialled) bool { return o.via != o.slot }) {
		t.Fatalf("no session was made only to fence: %v", r.opened)
	}
	other.kill(errCut)
	r.want(f, EIO)
}

// TestFenceSyncAfterLoss: the cache is lost after the sibling has shown that it lives, and
// before a session made only to fence has synced. Its SYNC says nothing of what was lost, and
// the unit attention that would tell was taken for that of a new nexus: the sibling has to be
// heard once more.
func TestFenceSyncAfterLoss(t *testing.T) {
	r, on, other := unflushed(t, 2)
	r.refuse[on.slot] = errors.New("no route to host")
	r.slow[other.slot] = true
	on.kill(errCut)
	f := r.flush()
	r.after(5 * time.Second)
	r.wantHeld(f)
	fence := r.paths[len(r.paths)-1]
	if fence.slot != on.slot || fence.via != other.slot {
		t.Fatalf("no session was made only to fence: %v", r.opened)
	}
	r.lun.loseCache()
	other.answer = once(scsi.OpTestUnitReady, check(scsi.UnitAttention, 0x29, 0))
	other.hold = func(*scsi.Command, scsi.CDB) bool { return true }
	fence.up = true
	r.wantHeld(f)
	other.hold = nil
	r.want(f, EIO)
	r.want(r.flush(), OK)
}

// TestFenceSyncIsSettled: the same without a loss. The flush is done as soon as the sibling
// has answered, or is not there any more while another one is.
func TestFenceSyncIsSettled(t *testing.T) {
	for _, dies := range []bool{false, true} {
		r, on, other := unflushed(t, 3)
		other.hold = holding(scsi.OpTestUnitReady)
		r.refuse[on.slot] = errors.New("no route to host")
		r.after(ms)
		on.kill(errCut)
		f := r.flush()
		r.after(5 * time.Second)
		r.wantHeld(f)
		if other.hold = nil; dies {
			r.refuse[other.slot] = errors.New("no route to host")
			other.kill(errCut)
		}
		r.want(f, OK)
		if r.lun.stable[0] != 1 {
			t.Error("it is not stable")
		}
	}
}

// TestLossOfAPart: a write of several parts is acknowledged after a loss that was told, and
// one of its parts is among what was lost: it is told again.
func TestLossOfAPart(t *testing.T) {
	r := ready(t, 1, func(c *Config, _ *fakeLUN) { c.Retain = 0 })
	r.want(r.flush(), OK)
	q := r.write(0, 2*Chunk, 7)
	r.step()
	n := 0
	r.path(0).hold = func(*scsi.Command, scsi.CDB) bool { n++; return n > 1 }
	r.wantHeld(q)
	r.lun.loseCache()
	r.noPath()
	r.want(r.flush(), EIO)
	r.comeBack()
	r.after(time.Minute)
	r.want(q, OK)
	r.want(r.flush(), EIO)
	r.want(r.flush(), OK)
}
