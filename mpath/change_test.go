package mpath

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// everywhere has every path, also those to come, answer by f.
func (r *rig) everywhere(f func(c *scsi.Command, cdb scsi.CDB) error) {
	r.lun.answer = f
}

// refusing refuses commands by their operation codes.
func refusing(err error, codes ...uint8) func(*scsi.Command, scsi.CDB) error {
	return func(c *scsi.Command, cdb scsi.CDB) error {
		if holding(codes...)(c, cdb) {
			return err
		}
		return nil
	}
}

// TestWriteSameIsNoMore: zeroes are written in its place, as many commands as it takes, also
// when the session dies in the middle.
func TestWriteSameIsNoMore(t *testing.T) {
	const size = 3 << 20
	for _, dies := range []bool{false, true} {
		r := ready(t, 2)
		r.want(r.write(0, size, 9), OK)
		r.everywhere(refusing(check(scsi.IllegalRequest, 0x20, 0), scsi.OpWriteSame16))
		q := r.submit(&Request{Op: WriteZeroes, Offset: 512, Length: size - 1024})
		if dies {
			for _, p := range r.paths {
				p.hold = func(_ *scsi.Command, cdb scsi.CDB) bool {
					return cdb.Op == scsi.OpWrite16 && p.count(scsi.OpWrite16) > 10
				}
			}
			r.run()
			for _, p := range r.paths {
				p.hold = nil
				if len(p.queue) > 0 {
					p.kill(errCut)
				}
			}
			r.after(10 * time.Second)
		}
		r.want(q, OK)
		r.check(0, 512, 9)
		for off := uint64(512); off < size-512; off += 512 {
			r.check(off, 512, 0)
		}
		r.check(size-512, 512, 9)
		if r.d.CanZeroFast() {
			t.Error("zeroes are said to be fast")
		}
		r.want(r.flush(), OK)
	}
}

// TestTrimIsNoMore: a trim that the device does not take any more is left out, also where it
// is kept and would be sent again.
func TestTrimIsNoMore(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 8192, 9), OK)
	r.want(r.submit(&Request{Op: Trim, Offset: 0, Length: 4096}), OK)
	r.everywhere(refusing(check(scsi.IllegalRequest, 0x24, 0), scsi.OpUnmap, scsi.OpWriteSame16))
	r.want(r.submit(&Request{Op: Trim, Offset: 4096, Length: 4096}), OK)
	if r.d.lun.CanTrim() {
		t.Error("trims are still said to work")
	}
	r.check(4096, 4096, 9)
	r.path(0).kill(errCut)
	r.path(1).kill(errCut)
	r.after(20 * time.Second)
	r.want(r.flush(), OK)
	r.want(r.submit(&Request{Op: Trim, Offset: 0, Length: 4096}), OK)
}

// TestWriteProtectionComesAndGoes: writes are refused while it is on, by word of the device;
// what was written before is still made stable.
func TestWriteProtectionComesAndGoes(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	r.lun.mode.WriteProtected = true
	r.everywhere(refusing(check(scsi.DataProtect, 0x27, 0), scsi.OpWrite16))
	r.want(r.write(512, 512, 2), EPERM)
	if !r.d.ReadOnly() {
		t.Error("it is not said to be read-only")
	}
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 {
		t.Error("the flush of a device that is write protected by now did nothing")
	}
	r.check(0, 512, 1)
	r.lun.mode.WriteProtected = false
	r.everywhere(nil)
	q := r.write(512, 512, 2)
	r.run()
	for range 3 {
		if r.isDone(q) && q.Err == OK {
			break
		}
		r.after(protectionPause)
		q = r.write(512, 512, 2)
		r.run()
	}
	r.want(q, OK)
	if r.d.ReadOnly() {
		t.Error("it is still said to be read-only")
	}
}

// TestAbortsForAWhile are no error: a target in trouble is given the time that a busy one is.
func TestAbortsForAWhile(t *testing.T) {
	r := ready(t, 2)
	r.everywhere(refusing(check(scsi.AbortedCommand, 0x0b, 0), scsi.OpWrite16, scsi.OpRead16))
	w, q := r.write(0, 512, 1), r.read(4096, 512)
	r.after(time.Minute)
	r.wantHeld(w)
	r.everywhere(nil)
	r.after(busyMax)
	r.want(w, OK)
	r.want(q, OK)
}

// TestLUNGoesAndComes: a session behind which there is no LUN any more is no path, and what
// waits for one gets no error.
func TestLUNGoesAndComes(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	r.everywhere(func(*scsi.Command, scsi.CDB) error { return check(scsi.IllegalRequest, 0x25, 0) })
	w, f := r.write(512, 512, 2), r.flush()
	r.after(5 * time.Minute)
	r.wantHeld(w)
	r.wantHeld(f)
	r.everywhere(nil)
	r.after(time.Minute)
	r.want(w, OK)
	r.want(f, OK)
	if r.lun.stable[0] != 1 {
		t.Error("what was written before is not stable")
	}
}

// TestPoolIsFull: only those who write are told, and it passes.
func TestPoolIsFull(t *testing.T) {
	r := ready(t, 2)
	r.want(r.write(0, 512, 1), OK)
	r.everywhere(refusing(check(scsi.DataProtect, 0x27, 0x07), scsi.OpWrite16))
	r.want(r.write(512, 512, 2), ENOSPC)
	r.check(0, 512, 1)
	r.want(r.flush(), OK)
	if r.d.ReadOnly() {
		t.Error("it is said to be read-only")
	}
	r.everywhere(nil)
	r.want(r.write(512, 512, 2), OK)
}

// TestBadBlocks: only who touches them gets an error.
func TestBadBlocks(t *testing.T) {
	r := ready(t, 2)
	const bad = Chunk + 4096
	r.everywhere(func(_ *scsi.Command, cdb scsi.CDB) error {
		if cdb.Op == scsi.OpRead16 && cdb.LBA <= bad/512 && bad/512 < cdb.LBA+uint64(cdb.Blocks) {
			return check(scsi.MediumError, 0x11, 0)
		}
		return nil
	})
	for _, c := range []struct {
		off, n uint64
		want   Errno
	}{
		{0, Chunk, OK}, {Chunk, 4096, OK}, {bad, 512, EIO}, {bad + 512, 512, OK},
		{0, 3 * Chunk, EIO}, {2 * Chunk, Chunk, OK},
	} {
		r.want(r.read(c.off, c.n), c.want)
	}
	if r.state(0) != "active" || r.state(1) != "active" {
		t.Error("a bad block cost a path")
	}
}

// TestIdentityChanges: a session that leads to another LUN all of a sudden, as a unit
// attention hints, is no path any more; the others go on without an error.
func TestIdentityChanges(t *testing.T) {
	for _, ascq := range []uint8{0x03, 0x05, 0x0e} {
		r := ready(t, 2)
		r.want(r.write(0, 512, 1), OK)
		other := newFakeLUN()
		other.id[3] = 77
		p := r.path(0)
		p.lun, r.luns[0] = other, other
		p.answer = once(scsi.OpWrite16, check(scsi.UnitAttention, 0x3f, ascq))
		for i := range uint64(8) {
			r.want(r.write(i*512, 512, byte(i+1)), OK)
		}
		r.after(time.Minute)
		if r.state(0) == "active" || r.state(1) != "active" || r.d.Fatal() != nil {
			t.Fatalf("paths are %s, %s; %v", r.state(0), r.state(1), r.d.Fatal())
		}
		for _, b := range other.live {
			if b != 0 {
				t.Fatal("the other LUN was written")
			}
		}
		for i := range uint64(8) {
			r.check(i*512, 512, byte(i+1))
		}
		r.want(r.flush(), OK)
	}
}

// TestCapacityShrinks: a path that tells less is refused, and nothing shrinks.
func TestCapacityShrinks(t *testing.T) {
	r := ready(t, 2)
	small := newFakeLUN()
	small.live, small.stable = r.lun.live, r.lun.stable
	small.capacity.Blocks /= 2
	r.path(0).lun, r.luns[0] = small, small
	r.path(0).answer = once(scsi.OpRead16, check(scsi.UnitAttention, 0x2a, 0x09))
	for range 4 {
		r.check((lunBlocks-1)*512, 512, 0)
	}
	r.after(time.Minute)
	if r.state(0) == "active" || r.state(1) != "active" || r.d.LUN().Blocks != lunBlocks {
		t.Errorf("paths are %s, %s; %d blocks", r.state(0), r.state(1), r.d.LUN().Blocks)
	}
}
