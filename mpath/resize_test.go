package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// TestGrow: a larger capacity is taken over when every path carries I/O, and I/O goes on.
func TestGrow(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 7), OK)
	before := r.d.lun.Bytes()
	r.want(r.read(before, 512), EINVAL)

	r.path(1).Kill(r.now, errStopping) // and it cannot come back
	r.refuse[1] = errStopping
	r.run()
	r.lun.live = append(r.lun.live, make([]byte, 64*lunBlock)...)
	r.lun.stable = append(r.lun.stable, make([]byte, 64*lunBlock)...)
	r.lun.capacity.Blocks += 64
	r.path(0).answer = once(scsi.OpRead16, check(scsi.UnitAttention, 0x2a, 0x09))
	r.check(0, 512, 7)
	if n := r.d.lun.Bytes(); n != before {
		t.Fatalf("%d bytes while a path is away, want %d", n, before)
	}

	delete(r.refuse, 1)
	r.after(time.Minute)
	if n := r.d.lun.Bytes(); n != before+64*lunBlock {
		t.Fatalf("%d bytes, want %d", n, before+64*lunBlock)
	}
	r.want(r.write(before, 512, 9), OK)
	r.check(before, 512, 9)
}

// TestNeverShrink: a path that tells a smaller capacity is refused.
func TestNeverShrink(t *testing.T) {
	r := ready(t, 2)
	before := r.d.lun.Bytes()
	r.lun.capacity.Blocks--
	r.path(0).Kill(r.now, errStopping)
	r.after(time.Minute)
	if r.state(0) == "active" || r.state(1) != "active" || r.d.lun.Bytes() != before {
		t.Errorf("paths %s and %s, %d bytes", r.state(0), r.state(1), r.d.lun.Bytes())
	}
}

// TestGrownMeanwhile: a LUN that grows while its paths are looked at. Those that were asked
// before are asked again, and none is refused.
func TestGrownMeanwhile(t *testing.T) {
	for _, late := range []int{0, 1} {
		r := newRig(t, config(2))
		small := r.lun.capacity.Blocks
		// The first answer of one path is the old capacity, and the other path is done first.
		old, wait := true, true
		r.slow[0], r.slow[1] = true, true
		r.step()
		p := r.paths[late]
		p.answer = func(c *scsi.Command, cdb scsi.CDB) error {
			if cdb.Op == scsi.OpServiceActionIn16 {
				if r.lun.capacity.Blocks = small + 64; old {
					r.lun.capacity.Blocks, old = small, false
				}
			}
			return nil
		}
		p.hold = func(_ *scsi.Command, cdb scsi.CDB) bool {
			return wait && cdb.Op == scsi.OpInquiry && cdb.EVPD
		}
		p.up = true
		r.run()
		r.lun.capacity.Blocks = small + 64
		r.paths[1-late].up = true
		r.run()
		wait = false
		r.run()
		r.wantStates("active active")
		if n := r.d.lun.Blocks; n != small+64 || r.d.Fatal() != nil {
			t.Errorf("path %d late: %d blocks, want %d; fatal: %v", late, n, small+64, r.d.Fatal())
		}
	}
}

// TestNoGrowthWithoutAPath: a path that is taken out while it is looked at again tells
// nothing of the capacity, and neither does the lack of any other.
func TestNoGrowthWithoutAPath(t *testing.T) {
	r := ready(t, 1)
	before := r.d.lun.Bytes()
	r.path(0).hold = holding(scsi.OpServiceActionIn16)
	r.d.Reread(r.now)
	r.run()
	if err := r.d.FailPath(r.now, 0); err != nil {
		t.Fatal(err)
	}
	r.path(0).hold = nil
	r.run()
	if n := r.d.lun.Bytes(); n != before {
		t.Fatalf("%d bytes, want %d", n, before)
	}
	if err := r.d.ReinstatePath(r.now, 0); err != nil {
		t.Fatal(err)
	}
	r.after(time.Second)
	r.want(r.write(0, 512, 1), OK)
}
