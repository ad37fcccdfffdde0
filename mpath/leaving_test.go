package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// TestAskedToLeave: a path whose target asks for logout takes no new commands; those that
// are out are answered, and it comes back. That is no flapping.
func TestAskedToLeave(t *testing.T) {
	for _, slots := range []int{1, 2} {
		r := ready(t, slots, flapConfig)
		r.want(r.flush(), OK)
		for i := range 6 {
			p := r.path(0)
			p.hold = holding(scsi.OpWrite16, scsi.OpRead16)
			early := r.write(0, 4096, byte(i))
			r.step()
			p.asked = true
			w, rd := r.write(4096, 4096, byte(i)), r.read(8192, 4096)
			r.step()
			r.step()
			p.hold = nil
			r.after(5 * time.Second)
			for _, q := range []*Request{early, w, rd} {
				r.want(q, OK)
			}
			if s := r.state(0); s != "active" || r.path(0) == p {
				t.Fatalf("path 0 is %s", s)
			}
		}
		r.want(r.flush(), OK)
		if c := r.d.Status(r.now).Counters.Fences; c.Of("reinstate")+c.Of("wait") != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// TestHeard: a unit attention that the target tells of its own accord counts as well.
func TestHeard(t *testing.T) {
	r := ready(t, 2)
	before := r.d.lun.Bytes()
	r.lun.live = append(r.lun.live, make([]byte, 64*lunBlock)...)
	r.lun.stable = append(r.lun.stable, make([]byte, 64*lunBlock)...)
	r.lun.capacity.Blocks += 64
	r.path(1).heard = []scsi.Attention{scsi.CapacityChanged}
	r.run()
	if n := r.d.lun.Bytes(); n != before+64*lunBlock {
		t.Errorf("%d bytes", n)
	}
}

// TestTimesOfTheEnd: the times that the target names last hold.
func TestTimesOfTheEnd(t *testing.T) {
	r := ready(t, 1, func(c *Config, _ *fakeLUN) { c.RetryMin, c.RetryMax = 10*ms, 10*ms })
	p := r.path(0)
	p.nexus.Time2Wait = 20 * time.Second
	p.Kill(r.now, errCut)
	r.after(15 * time.Second)
	if len(r.opened) != 1 {
		t.Error("it came back before the time that the target named")
	}
	r.after(10 * time.Second)
	r.wantStates("active")
}
