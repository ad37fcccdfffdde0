package mpath

import (
	"testing"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// TestStopErr: the end in good order says whether some of what was acknowledged may not be
// stable.
func TestStopErr(t *testing.T) {
	refused := check(scsi.MediumError, 0x0c, 0)
	for _, c := range []struct {
		name   string
		retain uint64
		before func(r *rig)
		want   error
	}{
		{"all is well", 0, func(*rig) {}, nil},
		{"the flush is refused", 0, func(r *rig) {
			r.path(0).answer = times(9, scsi.OpSynchronizeCache16, refused)
		}, barrier.ErrNotStable},
		{"nothing was unstable, and no path is left", 0, func(r *rig) {
			r.want(r.flush(), OK)
			r.noPath()
		}, nil},
		{"copies, and no path is left", 1 << 20, func(r *rig) { r.noPath() }, errNotFlushed},
		{"no copies, and no path is left", 0, func(r *rig) { r.noPath() }, barrier.ErrNotStable},
		{"a read waits for a path as well", 0, func(r *rig) {
			r.noPath()
			r.read(0, 512)
		}, errNotFlushed},
		{"the same, and a client was told", 0, func(r *rig) {
			r.noPath()
			r.want(r.flush(), EIO)
		}, nil},
		{"lost, and nobody was told", 0, func(r *rig) {
			r.noPath()
			r.run()
			r.comeBack()
			r.after(time.Minute)
		}, barrier.ErrNotStable},
		{"lost, and somebody was told", 0, func(r *rig) {
			r.noPath()
			r.want(r.flush(), EIO)
			r.comeBack()
			r.after(time.Minute)
		}, nil},
		{"the target hangs", 0, func(r *rig) {
			r.path(0).hold = func(*scsi.Command, scsi.CDB) bool { return true }
		}, errNotFlushed},
		{"it never was written to", 0, func(r *rig) {
			r.d.wrote = false
			r.path(0).answer = times(9, scsi.OpSynchronizeCache16, refused)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1, retaining(c.retain))
			r.want(r.flush(), OK)
			r.want(r.write(0, 512, 1), OK)
			c.before(r)
			r.run()
			r.d.Stop(r.now, 10*time.Second)
			r.after(11 * time.Second)
			if got := r.d.StopErr(); !r.d.Stopped() || got != c.want {
				t.Errorf("stopped: %v, error %v, want %v", r.d.Stopped(), got, c.want)
			}
		})
	}
}

// TestStopErrOfFormer: what a former process left may be unstable until a flush was done.
func TestStopErrOfFormer(t *testing.T) {
	for _, flushes := range []bool{false, true} {
		cfg := config(1)
		cfg.Slots[0].Lost = &LostNexus{TPGT: 1}
		r := newRig(t, cfg)
		r.after(time.Minute)
		if flushes {
			r.want(r.flush(), OK)
		}
		r.noPath()
		r.read(0, 512)
		r.run()
		r.d.Stop(r.now, 10*time.Second)
		r.after(11 * time.Second)
		if got := r.d.StopErr(); (got == nil) != flushes {
			t.Errorf("flushed %v: error %v", flushes, got)
		}
	}
}

// TestStopLeavesUnsynced: a session that logs out stays in the state if what it wrote, or what
// a former process wrote over its slot, was not synced. A target may keep that in a cache of
// its own for each nexus, so that the next process must sync it there.
func TestStopLeavesUnsynced(t *testing.T) {
	for _, c := range []struct {
		name   string
		retain uint64
		write  bool
		lost   bool // a former process left slot 1
		refuse bool // the last flush
		want   [2]bool
	}{
		{name: "flushed", write: true},
		{name: "copies", retain: 1 << 20, write: true, refuse: true, want: [2]bool{true, true}},
		{name: "no copies", write: true, refuse: true, want: [2]bool{true, true}},
		{name: "left by a former process", lost: true, refuse: true, want: [2]bool{false, true}},
		{name: "left by a former process, and flushed", lost: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2, func(cfg *Config, _ *fakeLUN) {
				cfg.Retain = c.retain
				if c.lost {
					cfg.Slots[1].Lost = &LostNexus{TPGT: 1}
				}
			})
			r.after(time.Minute)
			r.d.wrote = false
			if c.write {
				r.want(r.write(0, 512, 1), OK)
			}
			if c.refuse {
				for i := range 2 {
					r.path(i).answer = times(99, scsi.OpSynchronizeCache16,
						check(scsi.MediumError, 0x0c, 0))
				}
			}
			paths := []*fakePath{r.path(0), r.path(1)}
			r.d.Stop(r.now, 10*time.Second)
			r.wantStopped(10 * time.Second)
			_, slots := r.d.State()
			for i, want := range c.want {
				if paths[i].err != scsi.ErrLoggedOut || slots[i].InUse != want {
					t.Errorf("slot %d, %v: in the state: %v", i, paths[i].err, slots[i].InUse)
				}
			}
		})
	}
}

// TestUntold: a loss that nobody was told of, or a flush that the device refused, goes into the
// state when the device ends, and the next process tells the kernel. That no path was there
// does not: what the target's cache has is still there.
func TestUntold(t *testing.T) {
	for _, c := range []struct {
		name   string
		retain uint64
		before func(r *rig)
		want   bool
	}{
		{"all is well", 0, func(*rig) {}, false},
		{"the flush is refused", 1 << 20, func(r *rig) {
			r.path(0).answer = times(99, scsi.OpSynchronizeCache16, check(scsi.MediumError, 0x0c, 0))
		}, true},
		{"copies, and no path is left", 1 << 20, (*rig).noPath, false},
		{"no copies, and the cache is lost", 0, func(r *rig) {
			r.path(0).heard = []scsi.Attention{scsi.CacheLoss}
		}, true},
	} {
		r := ready(t, 1, retaining(c.retain))
		r.want(r.flush(), OK)
		r.want(r.write(0, 512, 1), OK)
		c.before(r)
		before := r.d.StateVersion()
		r.d.Stop(r.now, 10*time.Second)
		r.after(11 * time.Second)
		if r.d.Untold() != c.want || c.want && r.d.StateVersion() == before {
			t.Errorf("%s: untold: %v", c.name, r.d.Untold())
		}
	}
	r := ready(t, 1, func(cfg *Config, _ *fakeLUN) { cfg.Untold = true })
	r.d.Arrived(1)
	r.want(r.submit(&Request{Op: Flush, Client: 1}), OK)
	if !r.d.Untold() {
		t.Error("told to one who was not there")
	}
	r.d.Resumed(2)
	r.want(r.submit(&Request{Op: Flush, Client: 2}), EIO)
	r.want(r.submit(&Request{Op: Flush, Client: 2}), OK)
	if r.d.Untold() {
		t.Error("still in the state, although the kernel was told")
	}
}

// TestResumed: the kernel means the device, and not the connection: whoever comes for it after
// a loss is told, also if the answer that told of it may have been lost with a connection.
func TestResumed(t *testing.T) {
	r := ready(t, 1, retaining(0))
	flush := func(client uint64, want Errno) {
		t.Helper()
		r.want(r.submit(&Request{Op: Flush, Client: client}), want)
	}
	r.d.Resumed(1)
	flush(1, OK)
	r.want(r.submit(&Request{Op: Write, Length: 512, Data: chunks(512, 1), Client: 1}), OK)
	r.noPath()
	r.run()
	r.d.Resumed(2)
	flush(2, EIO)
	flush(2, OK)
	r.d.Resumed(3)
	r.comeBack()
	r.after(time.Minute)
	flush(3, EIO)
	flush(3, OK)
	r.d.Arrived(4)
	flush(4, OK)
}

// TestCopyOfAPartDropped: the copy of one part of a write is dropped and that is told before the
// write is acknowledged: it is told again.
func TestCopyOfAPartDropped(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Barrier = barrier.Epoch })
	r.want(r.flush(), OK)
	r.path(0).hold = holding(scsi.OpWrite16)
	r.path(1).hold = r.path(0).hold
	q := r.write(0, 2*Chunk, 7)
	r.wantHeld(q)
	for i := range 2 {
		if n := len(r.path(i).queue); n != 1 {
			t.Fatalf("%d commands are out on path %d", n, i)
		}
	}
	r.path(0).hold = nil
	r.wantHeld(q)
	r.lun.loseCache()
	r.path(0).heard = []scsi.Attention{scsi.ReservationsChanged}
	r.run()
	r.want(r.flush(), EIO)
	r.after(ms)
	r.want(r.write(8*Chunk, 512, 8), OK)
	r.path(0).hold = holding(scsi.OpSynchronizeCache16)
	f := r.flush()
	r.path(1).hold = nil
	r.want(q, OK)
	r.path(0).hold = nil
	r.want(f, EIO) // maybe before the write is answered, on another connection
	r.after(ms)
	r.want(r.flush(), EIO)
	r.want(r.flush(), OK)
}
