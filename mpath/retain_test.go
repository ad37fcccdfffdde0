package mpath

import (
	"testing"

	"braid/iscsi/scsi"
)

func retaining(bytes uint64) func(*Config, *fakeLUN) {
	return func(c *Config, _ *fakeLUN) { c.Retain = bytes }
}

// TestRetainLimit: at the limit new writes wait, a flush in the background makes room, and
// nothing has to ask for it.
func TestRetainLimit(t *testing.T) {
	r := ready(t, 2, retaining(4*Chunk))
	for i := range uint64(12) {
		r.submit(&Request{Op: Write, Offset: i * Chunk, Length: Chunk, Data: chunks(Chunk, byte(i+1))})
	}
	for range 100 {
		r.d.Step(r.now)
		if st := r.d.Status(r.now); st.Retained > 4*Chunk {
			t.Fatalf("%d bytes are retained", st.Retained)
		}
		for _, p := range r.paths {
			p.run()
		}
	}
	if n := len(r.done()); n != 12 {
		t.Fatalf("%d of 12 writes are done", n)
	}
	for i := range uint64(12) {
		r.check(i*Chunk, Chunk, byte(i+1))
	}
	if r.pool.back < 8 {
		t.Errorf("%d buffers came back", r.pool.back)
	}
}

// TestRetainWaitsForWritesUnderWay: there is no room because a write that is out has it;
// that is no reason to flush, and none to spin.
func TestRetainWaitsForWritesUnderWay(t *testing.T) {
	r := ready(t, 1, retaining(Chunk+512))
	r.path(0).hold = holding(scsi.OpWrite16)
	a := r.write(0, Chunk, 1)
	b := r.write(Chunk, Chunk, 2)
	r.wantHeld(a)
	r.wantHeld(b)
	before := r.d.rounds.Rounds()
	for range 10 {
		r.d.Step(r.now)
	}
	if n := r.d.rounds.Rounds() - before; n > 0 {
		t.Errorf("%d rounds for nothing", n)
	}
	r.path(0).hold = nil
	r.want(a, OK)
	r.want(b, OK)
}

// TestLargerThanRetain: such a write goes with FUA and is not kept; where there is no FUA it
// is kept, alone.
func TestLargerThanRetain(t *testing.T) {
	for _, fua := range []bool{true, false} {
		r := ready(t, 1, retaining(Chunk), func(_ *Config, l *fakeLUN) { l.mode.DPOFUA = fua })
		q := r.write(0, 2*Chunk, 7)
		r.want(q, OK)
		stable := r.lun.stable[0] == 7 && r.lun.stable[2*Chunk-1] == 7
		if q.Retained == fua || fua && !stable {
			t.Errorf("FUA %v: retained %v, stable %v", fua, q.Retained, stable)
		}
		r.want(r.flush(), OK)
		if r.lun.stable[0] != 7 {
			t.Errorf("FUA %v: it is not stable", fua)
		}
	}
}

// TestBackgroundFailureIsTold: the failure of a background flush is the next client flush's.
func TestBackgroundFailureIsTold(t *testing.T) {
	r := ready(t, 1, retaining(4*Chunk))
	r.want(r.flush(), OK)
	refused := 0
	r.path(0).answer = func(_ *scsi.Command, cdb scsi.CDB) error {
		if cdb.Op == scsi.OpSynchronizeCache16 && refused < 3 {
			refused++
			return check(scsi.MediumError, 0x0c, 0)
		}
		return nil
	}
	r.want(r.write(0, 3*Chunk+512, 1), OK)
	r.run()
	if refused != 3 {
		t.Fatalf("%d SYNCs were refused: no background flush", refused)
	}
	r.want(r.flush(), EIO)
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestBackgroundFailureWaits: a background flush that fails is not tried again at once.
func TestBackgroundFailureWaits(t *testing.T) {
	r := ready(t, 1, retaining(4*Chunk))
	r.want(r.flush(), OK)
	syncs := 0
	r.path(0).answer = func(_ *scsi.Command, cdb scsi.CDB) error {
		if cdb.Op == scsi.OpSynchronizeCache16 {
			syncs++
			return check(scsi.MediumError, 0x0c, 0)
		}
		return nil
	}
	r.want(r.write(0, 3*Chunk+512, 1), OK)
	r.after(100 * ms)
	before := syncs
	r.after(squeezePause)
	if before > 6 || syncs == before {
		t.Errorf("%d SYNCs at first, %d a while later", before, syncs)
	}
}

// TestShared: other hosts write too, so no copy is ever kept.
func TestShared(t *testing.T) {
	r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Shared = true })
	q := r.write(0, 512, 1)
	r.want(q, OK)
	if q.Retained || r.d.ledger.Kept() != 0 {
		t.Error("a copy is kept")
	}
}

// TestRetainedBuffers: every buffer that the device says it keeps goes to the pool once, and
// one that it does not keep never.
func TestRetainedBuffers(t *testing.T) {
	r := ready(t, 2)
	kept := 0
	for i := range uint64(20) {
		if i%3 == 0 {
			r.path(int(i) % 2).answer = once(scsi.OpWrite16, check(scsi.MediumError, 0x0c, 0))
		}
		q := r.write(i%4*Chunk, 2*Chunk+512, byte(i))
		r.run()
		r.done()
		if q.Retained {
			kept += len(q.Data)
		}
	}
	r.path(0).answer, r.path(1).answer = nil, nil
	r.want(r.flush(), OK)
	r.run()
	if r.pool.back != kept {
		t.Errorf("%d buffers came back of %d", r.pool.back, kept)
	}
}

// TestCopiesInReplayCount: what is being written again counts as unstable.
func TestCopiesInReplayCount(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 4096, 1)
	on, other := r.outOn(q)
	r.want(q, OK)
	other.hold = holding(scsi.OpWrite16)
	r.slow[on.slot], r.slow[other.slot] = true, true
	on.kill(errCut)
	r.run()
	if st := r.d.Status(r.now); st.Unstable != 4096 || st.Counters.Replays != 1 ||
		st.Counters.ReplayBytes != 4096 {
		t.Errorf("%d bytes are unstable, %d copies of %d bytes were sent again",
			st.Unstable, st.Counters.Replays, st.Counters.ReplayBytes)
	}
}

// TestRefusedCopiesAreWrittenAgain: blocks whose copies the device refused cannot be read. When
// it takes writes again that need not be told, and nobody has to flush: who reads finds out.
func TestRefusedCopiesAreWrittenAgain(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 4096, 1), OK)
	r.want(r.write(8192, 4096, 2), OK)
	p := r.path(0)
	refuses := true
	p.answer = func(_ *scsi.Command, cdb scsi.CDB) error {
		if cdb.Op == scsi.OpWrite16 && refuses {
			return check(scsi.DataProtect, 0x27, 0)
		}
		return nil
	}
	r.lun.loseCache()
	p.heard = []scsi.Attention{scsi.CacheLoss}
	r.run()
	for range 2 {
		r.want(r.read(0, 512), EIO)
	}
	refuses = false
	r.check(0, 4096, 1)
	if n := r.d.ledger.Replays(); n != 0 {
		t.Error(n, "copies are written again that nobody asked for")
	}
	r.check(8192, 4096, 2)
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 || r.lun.stable[8192] != 2 {
		t.Error("it is not stable")
	}
}
