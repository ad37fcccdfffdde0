package mpath

import (
	"errors"
	"testing"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// TestAddPath: a path that is added is verified like any other, and carries I/O.
func TestAddPath(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 4096, 1), OK)
	i, err := r.d.AddPath(r.now, SlotConfig{Name: "more", Target: "iqn.t"})
	if i != 1 || err != nil {
		t.Fatal(i, err)
	}
	r.run()
	r.wantStates("active active")
	for range 8 {
		r.want(r.write(0, 4096, 2), OK)
	}
	if r.path(1).count(scsi.OpWrite16) == 0 {
		t.Error("it carried nothing")
	}
	r.want(r.flush(), OK)
	for i := 2; i < barrier.MaxSlots; i++ {
		if _, err := r.d.AddPath(r.now, SlotConfig{Name: "more", Target: "iqn.t"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.d.AddPath(r.now, SlotConfig{}); !errors.Is(err, ErrTooManyPaths) {
		t.Error(err)
	}
}

// TestAddWrongPath: another LUN is refused, and ends nothing, not even at the start.
func TestAddWrongPath(t *testing.T) {
	r := ready(t, 1)
	r.luns[1] = newFakeLUN()
	r.luns[1].id[3]++
	if _, err := r.d.AddPath(r.now, SlotConfig{Name: "wrong", Target: "iqn.t"}); err != nil {
		t.Fatal(err)
	}
	r.run()
	p := r.d.Status(r.now).Paths[1]
	if p.State == "active" || !p.Final || p.LastErr == nil || !p.Added || r.d.Fatal() != nil {
		t.Fatalf("%+v, fatal %v", p, r.d.Fatal())
	}
	if err := r.d.RemovePath(r.now, 1); err != nil {
		t.Fatal(err)
	}
	r.run()
	if gone, err := r.d.PathGone(1); !gone || err != nil {
		t.Error(gone, err)
	}
}

// TestRemovePath: what is out is answered, the session is flushed, and only then it logs
// out. Its slot can be used again.
func TestRemovePath(t *testing.T) {
	r := ready(t, 2)
	r.d.Record()
	r.want(r.flush(), OK)
	for i := range 8 {
		r.want(r.write(uint64(i)*4096, 4096, byte(i+1)), OK)
	}
	p := r.path(1)
	p.hold = holding(scsi.OpWrite16)
	var out []*Request
	for i := range 4 {
		out = append(out, r.write(uint64(i+8)*4096, 4096, byte(i+9)))
	}
	r.step()
	syncs := p.count(scsi.OpSynchronizeCache16)
	if err := r.d.RemovePath(r.now, 1); err != nil {
		t.Fatal(err)
	}
	r.run()
	if p.out || p.count(scsi.OpSynchronizeCache16) != syncs {
		t.Fatal("it did not wait for what was out")
	}
	p.hold = nil
	for _, q := range out {
		r.want(q, OK)
	}
	if !p.out || p.count(scsi.OpSynchronizeCache16) != syncs+1 {
		t.Errorf("logged out: %v, %d SYNCs", p.out, p.count(scsi.OpSynchronizeCache16)-syncs)
	}
	if gone, err := r.d.PathGone(1); !gone || err != nil {
		t.Error(gone, err)
	}
	if _, slots := r.d.State(); slots[1].InUse {
		t.Error("it still stands in the state")
	}
	if err := r.d.RemovePath(r.now, 1); !errors.Is(err, ErrNoSuchPath) {
		t.Error(err)
	}
	if err := r.d.RemovePath(r.now, 0); !errors.Is(err, ErrLastPath) {
		t.Error(err)
	}
	r.after(time.Hour)
	r.want(r.write(0, 4096, 99), OK)
	r.want(r.flush(), OK)
	r.check(0, 4096, 99)
	if r.path(0).out || len(r.opened) != 2 {
		t.Errorf("%d sessions were opened", len(r.opened))
	}
	i, err := r.d.AddPath(r.now, SlotConfig{Name: "back", Target: "iqn.t"})
	if i != 1 || err != nil {
		t.Fatal(i, err)
	}
	version, _ := r.d.State()
	r.d.Recorded(version)
	r.run()
	version, _ = r.d.State()
	r.d.Recorded(version)
	r.run()
	r.wantStates("active active")
	r.want(r.flush(), OK)
}

// TestRemoveFails: a path whose session cannot be flushed stays.
func TestRemoveFails(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Retain = 0 })
	r.want(r.flush(), OK)
	for range 4 {
		r.want(r.write(0, 4096, 1), OK)
	}
	r.path(1).answer = times(1000, scsi.OpSynchronizeCache16, check(scsi.MediumError, 0x0c, 0))
	if err := r.d.RemovePath(r.now, 1); err != nil {
		t.Fatal(err)
	}
	r.run()
	if gone, err := r.d.PathGone(1); gone || err == nil {
		t.Error(gone, err)
	}
	r.path(1).answer = nil
	r.run()
	r.wantStates("active active")
}

// TestRemoveDead: a path that is down goes when it is fenced.
func TestRemoveDead(t *testing.T) {
	r := ready(t, 2)
	p := r.path(1)
	p.hold = holding(scsi.OpWrite16)
	q1, q2 := r.write(0, 4096, 1), r.write(4096, 4096, 2)
	r.step()
	p.Kill(r.now, errCut)
	r.refuse[0], r.refuse[1] = errCut, errCut
	r.run()
	if err := r.d.RemovePath(r.now, 1); err != nil {
		t.Fatal(err)
	}
	r.run()
	if gone, _ := r.d.PathGone(1); gone {
		t.Error("it is gone before it is fenced")
	}
	r.after(2 * time.Minute)
	r.want(q1, OK)
	r.want(q2, OK)
	if gone, err := r.d.PathGone(1); !gone || err != nil {
		t.Error(gone, err)
	}
}

// TestFailAndReinstate: a path that was taken out stays out, though it could come back,
// until somebody puts it back.
func TestFailAndReinstate(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 4096, 1), OK)
	if err := r.d.FailPath(r.now, 0); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.after(time.Hour)
	r.wantStates("faulty active")
	if err := r.d.Status(r.now).Paths[0].LastErr; !errors.Is(err, errOutOfService) {
		t.Error(err)
	}
	r.want(r.write(0, 4096, 2), OK)
	r.want(r.flush(), OK)
	if err := r.d.ReinstatePath(r.now, 0); err != nil {
		t.Fatal(err)
	}
	r.after(5 * time.Second)
	r.wantStates("active active")

	// Both: I/O waits, as without a path.
	r.d.FailPath(r.now, 0)
	r.d.FailPath(r.now, 1)
	r.run()
	w := r.write(0, 4096, 3)
	r.after(time.Hour)
	r.wantHeld(w)
	if s := r.d.Status(r.now).State; s != "queueing" {
		t.Error(s)
	}
	r.d.ReinstatePath(r.now, 1)
	r.after(5 * time.Second)
	r.want(w, OK)
	r.want(r.flush(), OK)
	r.check(0, 4096, 3)
}

// TestQueueOff: what waits fails when somebody says that it need not wait, and waits again
// when it shall.
func TestQueueOff(t *testing.T) {
	r := ready(t, 1)
	r.path(0).Kill(r.now, errCut)
	r.refuse[0] = errCut
	w := r.write(0, 4096, 1)
	r.after(time.Hour)
	r.wantHeld(w)
	r.d.SetNoPath(r.now, 0)
	r.want(w, EIO)
	r.want(r.read(0, 4096), EIO)
	r.d.SetNoPath(r.now, Forever)
	w = r.write(0, 4096, 2)
	r.after(time.Hour)
	r.wantHeld(w)
	delete(r.refuse, 0)
	r.after(2 * time.Minute)
	r.want(w, OK)
	r.check(0, 4096, 2)
}

// TestReread: the capacity is taken over when every path tells it.
func TestReread(t *testing.T) {
	r := ready(t, 2)
	before := r.d.lun.Bytes()
	r.lun.live = append(r.lun.live, make([]byte, 64*lunBlock)...)
	r.lun.stable = append(r.lun.stable, make([]byte, 64*lunBlock)...)
	r.lun.capacity.Blocks += 64
	r.d.Reread(r.now)
	if !r.d.Rereading() {
		t.Error("nothing is under way")
	}
	r.run()
	if n := r.d.lun.Bytes(); n != before+64*lunBlock || r.d.Rereading() {
		t.Error(n)
	}
}

// TestReinstateWhileFlushing: a path that is put back while the flush for its leaving is
// under way carries on, and the flush ends without it; so does one that goes again.
func TestReinstateWhileFlushing(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 4096, 1), OK)
	for _, p := range r.paths {
		p.hold = holding(scsi.OpSynchronizeCache16)
	}
	for range 3 {
		for slot := range 2 {
			if err := r.d.FailPath(r.now, slot); err != nil {
				t.Fatal(err)
			}
			r.run()
			if err := r.d.ReinstatePath(r.now, slot); err != nil {
				t.Fatal(err)
			}
			r.run()
		}
	}
	q := r.flush()
	for _, p := range r.paths {
		p.hold = nil
	}
	r.want(q, OK)
	r.wantStates("active active")
	r.want(r.write(0, 4096, 2), OK)
	r.check(0, 4096, 2)
}
