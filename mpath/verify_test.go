package mpath

import (
	"errors"
	"strings"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

func TestLUNIsRead(t *testing.T) {
	r := ready(t, 1, func(_ *Config, l *fakeLUN) {
		l.mode.DPOFUA = true
		l.limits.MaxTransfer, l.limits.OptTransfer = 2048, 256
		l.capacity.PhysicalExponent = 3
	})
	got := r.d.LUN()
	want := LUN{
		Identity: got.Identity, Vendor: "TEST", Product: "DISK", Revision: "1", Serial: "S1",
		Blocks: lunBlocks, BlockSize: 512, PhysicalBlock: 4096, WriteCache: true, FUA: true, Thin: true,
		MaxTransfer: 1 << 20, OptTransfer: 128 << 10, Unmap: true, MaxUnmap: 4096, UnmapSame: true,
		MaxWriteSame: 2048, ZeroedWhenUnmap: true,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !strings.Contains(got.Identity, "0102030405060708090a0b0c0d0e0f") {
		t.Errorf("identity %q", got.Identity)
	}
	if !r.d.Ready() || r.d.ReadOnly() || !r.d.CanZeroFast() {
		t.Error("the device is not ready, or reads only, or zeroes slowly")
	}
}

func TestOldDisk(t *testing.T) {
	r := ready(t, 1, func(_ *Config, l *fakeLUN) {
		l.noPages, l.noSame, l.noCap16, l.noSync16 = true, true, true, true
		l.mode = scsi.Mode{}
		l.provision = scsi.LogicalProvisioning{}
	})
	r.want(r.write(0, 1024, 4), OK)
	r.check(0, 1024, 4)
	r.want(r.submit(&Request{Op: WriteZeroes, Length: 512}), OK)
	r.check(0, 512, 0)
	r.want(r.flush(), OK)
	p := r.path(0)
	if p.count(scsi.OpWrite10) != 2 || p.count(scsi.OpRead10) != 2 || p.count(scsi.OpSynchronizeCache10) == 0 {
		t.Errorf("commands: %+v", p.received)
	}
	if r.lun.stable[512] != 4 {
		t.Error("flushed data is not stable")
	}
}

// TestNoSync: without a cache a flush needs no command that the LUN does not know; with one
// flushes fail.
func TestNoSync(t *testing.T) {
	for _, wce := range []bool{false, true} {
		r := ready(t, 1, func(_ *Config, l *fakeLUN) { l.noSync, l.mode.WCE = true, wce })
		r.want(r.write(0, 512, 4), OK)
		want := OK
		if wce {
			want = EIO
		}
		r.want(r.flush(), want)
	}
}

func TestTrustWCE(t *testing.T) {
	r := ready(t, 2, func(c *Config, l *fakeLUN) { c.TrustWCE, l.mode.WCE = true, false })
	r.want(r.write(0, 512, 4), OK)
	r.want(r.submit(&Request{Op: Trim, FUA: true, Offset: 4096, Length: 512}), OK)
	r.want(r.submit(&Request{Op: WriteZeroes, Offset: 8192, Length: 512}), OK)
	r.path(0).kill(errCut)
	r.slow[0] = true
	r.want(r.flush(), OK)
	if n := r.path(1).count(scsi.OpSynchronizeCache16); n != 0 {
		t.Errorf("%d SYNCs", n)
	}
}

// TestWrongPaths: what a second path is refused for.
func TestWrongPaths(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *fakeLUN)
		want   string // why the device says so at once; nothing where it may be mended
	}{
		{"another identity", func(l *fakeLUN) { l.id[5] = 99 }, "different LUNs"},
		{"another serial number", func(l *fakeLUN) { l.serial = "S2" }, "different LUNs"},
		{"smaller", func(l *fakeLUN) { l.capacity.Blocks-- }, "capacity"},
		{"another block size", func(l *fakeLUN) { l.capacity.BlockSize = 4096 }, "block size"},
		{"no disk", func(l *fakeLUN) { l.inquiry.PeripheralQualifier = 3 }, ""},
		{"a tape", func(l *fakeLUN) { l.inquiry.DeviceType = 1 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, config(2))
			other := newFakeLUN()
			other.live, other.stable = r.lun.live, r.lun.stable
			c.change(other)
			r.luns[1] = other
			r.run()
			if r.state(0) != "active" || r.state(1) == "active" {
				t.Fatalf("paths are %s and %s", r.state(0), r.state(1))
			}
			if err := r.d.Fatal(); (err != nil) != (c.want != "") ||
				err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("fatal: %v, want %q", err, c.want)
			}
			r.want(r.write(0, 512, 1), OK)
			if n := len(r.paths[1].received); n != 0 {
				t.Errorf("%d commands on the wrong path", n)
			}
		})
	}
}

// TestLargerCapacityIsTaken: only a smaller one is a reason to refuse a path.
func TestLargerCapacityIsTaken(t *testing.T) {
	r := newRig(t, config(2))
	other := newFakeLUN()
	other.capacity.Blocks++
	r.luns[1] = other
	r.run()
	if r.state(1) != "active" || r.d.Fatal() != nil {
		t.Errorf("path 1 is %s: %v", r.state(1), r.d.Fatal())
	}
}

// TestNoIdentity: one path needs none, several do.
func TestNoIdentity(t *testing.T) {
	for slots, want := range map[int]bool{1: true, 2: false} {
		r := newRig(t, config(slots))
		r.lun.noPages = true
		r.run()
		if ok := r.d.Fatal() == nil; ok != want {
			t.Errorf("%d paths: fatal %v", slots, r.d.Fatal())
		}
	}
}

// TestBadCapacity: nonsense is refused, not used.
func TestBadCapacity(t *testing.T) {
	for _, c := range []scsi.Capacity{
		{Blocks: 0, BlockSize: 512}, {Blocks: 100, BlockSize: 0}, {Blocks: 100, BlockSize: 520},
		{Blocks: 100, BlockSize: 1 << 20}, {Blocks: 100, BlockSize: 256},
		{Blocks: 1 << 54, BlockSize: 512},
	} {
		r := newRig(t, config(1))
		r.lun.capacity = c
		r.run()
		if r.d.Ready() {
			t.Errorf("%+v is ready", c)
		}
	}
}

// TestFirstAttentions: the unit attentions of a new nexus are taken, and prove nothing.
func TestFirstAttentions(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 3), OK)
	r.path(0).kill(errCut)
	r.slow[0] = true
	r.run()
	r.after(time.Minute)
	losses := r.d.Status(r.now).Counters.CacheLosses
	p := r.path(0)
	p.answer = times(3, scsi.OpTestUnitReady, check(scsi.UnitAttention, 0x29, 0))
	p.up = true
	r.run()
	if r.state(0) != "active" {
		t.Fatalf("path 0 is %s, %d: %v", r.state(0), r.d.slots[0].state, r.logs)
	}
	if n := r.d.Status(r.now).Counters.CacheLosses; n != losses {
		t.Errorf("%d losses of cache were counted", n-losses)
	}
}

// TestEndlessAttentions: a probe is bounded.
func TestEndlessAttentions(t *testing.T) {
	r := newRig(t, config(1))
	r.slow[0] = true
	r.run()
	p := r.path(0)
	p.answer = times(1<<30, scsi.OpTestUnitReady, check(scsi.UnitAttention, 0x29, 0))
	p.up = true
	r.run()
	if p.err == nil || p.sent > probeTries+2 {
		t.Errorf("the session lives after %d commands", p.sent)
	}
}

// TestNotReadyYet: a device that is becoming ready is waited for.
func TestNotReadyYet(t *testing.T) {
	r := newRig(t, config(1))
	r.slow[0] = true
	r.run()
	p := r.path(0)
	p.answer = times(5, scsi.OpTestUnitReady, check(scsi.NotReady, 0x04, 0x01))
	p.up = true
	r.run()
	if r.d.Ready() {
		t.Fatal("it is ready already")
	}
	r.after(6 * probePause)
	if !r.d.Ready() {
		t.Errorf("it is not ready: %v", r.logs)
	}
}

type finalError struct{ error }

func (finalError) Permanent() bool { return true }

// TestFinalAnswers: the device cannot come up when every path met an answer that trying
// again does not change.
func TestFinalAnswers(t *testing.T) {
	final := finalError{errors.New("authentication failed")}
	r := newRig(t, config(2))
	r.refuse[0] = final
	r.refuse[1] = errors.New("connection refused")
	r.run()
	if r.d.Fatal() != nil {
		t.Errorf("fatal although one path may come: %v", r.d.Fatal())
	}
	r.refuse[1] = final
	r.after(time.Minute)
	if !errors.Is(r.d.Fatal(), error(final)) {
		t.Errorf("fatal: %v", r.d.Fatal())
	}
}

// TestModeChange: a change of WCE makes every session dirty.
func TestModeChange(t *testing.T) {
	r := ready(t, 2, func(_ *Config, l *fakeLUN) { l.mode.WCE = false })
	r.want(r.flush(), OK)
	syncs := func() int {
		return r.path(0).count(scsi.OpSynchronizeCache16) + r.path(1).count(scsi.OpSynchronizeCache16)
	}
	before := syncs()
	r.lun.mode.WCE = true
	r.path(0).answer = once(scsi.OpRead16, check(scsi.UnitAttention, 0x2a, 0x01))
	r.d.turn = 1
	r.check(0, 512, 0)
	lun := r.d.LUN()
	if !lun.WriteCache {
		t.Fatal("the change was not taken over")
	}
	r.want(r.flush(), OK)
	if n := syncs() - before; n != 2 {
		t.Errorf("%d SYNCs, want 2", n)
	}
}

// TestLossToldWhileLookingAgain: a loss of cache that an established nexus tells of while its
// LUN is looked at again counts.
func TestLossToldWhileLookingAgain(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 512, 3), OK)
	mode := once(scsi.OpRead16, check(scsi.UnitAttention, 0x2a, 0x01))
	loss := once(scsi.OpTestUnitReady, check(scsi.UnitAttention, 0x29, 0x00))
	r.path(0).answer = func(c *scsi.Command, cdb scsi.CDB) error {
		if err := mode(c, cdb); err != nil {
			return err
		}
		return loss(c, cdb)
	}
	r.check(0, 512, 3)
	if n, _ := r.d.ledger.Replayed(); n != 1 {
		t.Errorf("%d copies were written again", n)
	}
}

// TestLookingAgainAsksNobody: a path that is looked at again waits for no sibling: a quiet one
// may have answered nothing since the path was verified first.
func TestLookingAgainAsksNobody(t *testing.T) {
	r := newRig(t, config(2))
	r.slow[1] = true
	r.run()
	r.path(1).hold = holding(scsi.OpWriteSame16)
	r.path(1).up = true
	r.refuse[0] = errCut
	r.path(0).kill(errCut)
	r.run()
	r.comeBack()
	r.after(time.Minute)
	r.path(1).hold = nil
	r.after(time.Minute)
	for i := range 2 {
		r.path(i).heard = []scsi.Attention{scsi.ModeChanged}
		r.run()
		if got := r.state(i); got != "active" {
			t.Errorf("path %d is %s", i, got)
		}
	}
}

// TestNoWriteBeforeRecorded: no command goes out before the state that names the session was
// written down.
func TestNoWriteBeforeRecorded(t *testing.T) {
	r := newRig(t, config(1))
	r.d.Record()
	r.run()
	if r.path(0).sent != 0 {
		t.Fatalf("%d commands went out", r.path(0).sent)
	}
	v, slots := r.d.State()
	if v != r.d.StateVersion() || len(slots) != 1 || !slots[0].InUse || slots[0].Nexus.TPGT != 1 {
		t.Fatalf("version %d, state %+v", v, slots)
	}
	r.d.Recorded(v - 1)
	r.run()
	if r.path(0).sent != 0 {
		t.Fatal("an older version was enough")
	}
	r.d.Recorded(v)
	r.run()
	if r.state(0) != "active" {
		t.Errorf("the path is %s", r.state(0))
	}
	v, slots = r.d.State()
	if slots[0].Vendor != "TEST" {
		t.Errorf("the state says vendor %q", slots[0].Vendor)
	}
	// Another session of the same portal group changes nothing in the state.
	r.path(0).kill(errCut)
	r.after(time.Minute)
	if r.d.StateVersion() != v || r.state(0) != "active" {
		t.Errorf("version %d, the path is %s", r.d.StateVersion(), r.state(0))
	}
}
