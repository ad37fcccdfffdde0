package mpath

import (
	"testing"

	"braid/iscsi/scsi"
)

func TestReadWriteFlush(t *testing.T) {
	r := ready(t, 2)
	w := r.write(4096, 8192, 0xa1)
	r.want(w, OK)
	if !w.Retained {
		t.Error("the copy of an unstable write is not kept")
	}
	r.check(4096, 8192, 0xa1)
	r.check(0, 4096, 0)
	if r.pool.back != 0 {
		t.Fatalf("%d buffers came back before the flush", r.pool.back)
	}
	r.want(r.flush(), OK)
	if r.lun.stable[4096] != 0xa1 {
		t.Error("flushed data is not stable")
	}
	r.run()
	if st := r.d.Status(r.now); r.pool.back != 1 || st.Retained != 0 || st.Unstable != 0 {
		t.Errorf("after a flush %d buffers came back, %d bytes are retained, %d unstable",
			r.pool.back, st.Retained, st.Unstable)
	}
}

func TestRequestsThatEndAtOnce(t *testing.T) {
	r := ready(t, 1)
	lun := r.d.LUN()
	size := lun.Bytes()
	for _, c := range []struct {
		name string
		q    Request
		want Errno
	}{
		{"not aligned", Request{Op: Read, Offset: 1, Length: 512}, EINVAL},
		{"part of a block", Request{Op: Write, Length: 100}, EINVAL},
		{"beyond the end", Request{Op: Read, Offset: size, Length: 512}, EINVAL},
		{"across the end", Request{Op: Trim, Offset: size - 512, Length: 1024}, EINVAL},
		{"wraps around", Request{Op: Read, Offset: ^uint64(511), Length: 1024}, EINVAL},
		{"nothing", Request{Op: Write}, OK},
		{"cache", Request{Op: Cache, Length: 512}, OK},
	} {
		sent := r.path(0).sent
		q := c.q
		r.submit(&q)
		if !r.isDone(&q) || q.Err != c.want {
			t.Errorf("%s: done %v, error %d, want %d", c.name, r.over[&q], q.Err, c.want)
		}
		if r.path(0).sent != sent {
			t.Errorf("%s: a command was sent", c.name)
		}
	}
}

func TestReadOnly(t *testing.T) {
	for name, change := range map[string]func(*Config, *fakeLUN){
		"by configuration": func(c *Config, _ *fakeLUN) { c.ReadOnly = true },
		"by the LUN":       func(_ *Config, l *fakeLUN) { l.mode.WriteProtected = true },
	} {
		r := ready(t, 1, change)
		for _, op := range []Op{Write, Trim, WriteZeroes} {
			r.want(r.submit(&Request{Op: op, Length: 512, Data: chunks(512, 1)}), EPERM)
		}
		r.want(r.flush(), OK)
		r.check(0, 512, 0)
		if !r.d.ReadOnly() {
			t.Error(name, "it does not say that it is read-only")
		}
	}
}

func TestSplitting(t *testing.T) {
	for _, c := range []struct {
		name     string
		limit    uint32 // blocks of MAXIMUM TRANSFER LENGTH
		n        uint64
		commands int
	}{
		{"one piece", 0, Chunk, 1},
		{"one block more", 0, Chunk + 512, 2},
		{"five pieces", 0, 5 * Chunk, 5},
		{"a small limit", 64, Chunk, 8},
		{"an odd limit", 100, Chunk + 512, 7}, // cut at pieces of memory too
	} {
		r := ready(t, 2, func(_ *Config, l *fakeLUN) { l.limits.MaxTransfer = c.limit })
		r.want(r.write(0, c.n, 0x5a), OK)
		got := r.path(0).count(scsi.OpWrite16) + r.path(1).count(scsi.OpWrite16)
		if got != c.commands {
			t.Errorf("%s: %d commands, want %d", c.name, got, c.commands)
		}
		r.check(0, c.n, 0x5a)
		r.check(c.n, 512, 0)
	}
}

// TestSplitOverPaths: the parts of one large request go over all paths.
func TestSplitOverPaths(t *testing.T) {
	for _, sel := range []Selector{ServiceTime, QueueLength, RoundRobin} {
		r := ready(t, 3, func(c *Config, _ *fakeLUN) { c.Selector = sel })
		q := r.read(0, 9*Chunk)
		r.step()
		for i := range 3 {
			if n := len(r.path(i).queue); n != 3 {
				t.Errorf("selector %d: %d parts on path %d, want 3", sel, n, i)
			}
		}
		r.want(q, OK)
	}
}

func TestSelectors(t *testing.T) {
	for _, c := range []struct {
		name string
		sel  Selector
		want [2]int // reads on each path, of six, while path 0 has one large read out
	}{
		{"service-time", ServiceTime, [2]int{0, 6}},
		{"queue-length", QueueLength, [2]int{3, 4}},
		{"round-robin", RoundRobin, [2]int{3, 3}},
	} {
		r := ready(t, 2, func(cfg *Config, _ *fakeLUN) { cfg.Selector = c.sel })
		for i := range 2 {
			r.path(i).hold = holding(scsi.OpRead16)
		}
		r.d.turn = 1
		r.read(0, Chunk)
		r.step()
		if len(r.path(0).queue) != 1 {
			t.Fatalf("%s: the first read is not on path 0", c.name)
		}
		for i := range uint64(6) {
			r.read(i*512, 512)
			r.step()
		}
		got := [2]int{len(r.path(0).queue) - 1, len(r.path(1).queue)}
		if c.sel == QueueLength {
			if d := got[1] - got[0]; got[0]+got[1] != 6 || d < 0 || d > 2 {
				t.Errorf("%s: %v", c.name, got)
			}
		} else if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNotCoherent: one path is used at a time, however it fares, and another one only when
// it is lost. It is left for a better one when it holds nothing that is not stable.
func TestNotCoherent(t *testing.T) {
	r := newRig(t, config(3))
	r.d.cfg.Coherent = false
	r.run()
	r.wantStates("active ghost ghost")
	for i := range uint64(6) {
		r.want(r.write(i*512, 512, 1), OK)
		r.check(i*512, 512, 1)
	}
	r.path(0).hold = holding(scsi.OpRead16)
	q := r.read(0, 512)
	r.after(600 * ms) // it is slow: no reason to ask another one
	r.wantHeld(q)
	r.path(0).Kill(r.now, errCut)
	r.refuse[0] = errCut
	r.want(q, OK)
	r.wantStates("faulty active ghost")
	r.want(r.write(0, 512, 2), OK)
	p := r.path(1)
	p.hold = holding(scsi.OpSynchronizeCache16)
	delete(r.refuse, 0)
	r.after(5000 * ms)
	r.wantStates("ghost active ghost")
	r.check(0, 512, 2)
	p.hold = nil
	r.after(5000 * ms)
	r.wantStates("active ghost ghost")
	if p.count(scsi.OpSynchronizeCache16) == 0 {
		t.Error("it was left without a SYNC")
	}
	r.check(0, 512, 2)
}

func TestFUA(t *testing.T) {
	for _, c := range []struct {
		name        string
		dpofua      bool
		op          Op
		fua, syncs  int // commands with FUA, SYNCs
		retainLater bool
	}{
		{"the LUN has FUA", true, Write, 1, 0, false},
		{"it has none", false, Write, 0, 1, false},
		{"a trim", true, Trim, 0, 1, false},
		{"zeroes", true, WriteZeroes, 0, 1, false},
	} {
		r := ready(t, 2, func(_ *Config, l *fakeLUN) { l.mode.DPOFUA = c.dpofua })
		r.want(r.flush(), OK)
		before := r.path(0).count(scsi.OpSynchronizeCache16) + r.path(1).count(scsi.OpSynchronizeCache16)
		q := &Request{Op: c.op, FUA: true, Offset: 512, Length: 512}
		if c.op == Write {
			q.Data = chunks(512, 0x77)
		}
		r.lun.live[512], r.lun.stable[512] = 9, 9
		r.want(r.submit(q), OK)
		fua, syncs := 0, -before
		for i := range 2 {
			syncs += r.path(i).count(scsi.OpSynchronizeCache16)
			for _, cdb := range r.path(i).received {
				if cdb.FUA {
					fua++
				}
			}
		}
		if fua != c.fua || syncs != c.syncs {
			t.Errorf("%s: %d commands with FUA, %d SYNCs; want %d, %d", c.name, fua, syncs, c.fua, c.syncs)
		}
		if r.lun.stable[512] == 9 {
			t.Errorf("%s: it is not stable", c.name)
		}
		r.run()
		if st := r.d.Status(r.now); st.Retained != 0 {
			t.Errorf("%s: %d bytes are retained", c.name, st.Retained)
		}
	}
}

// TestFUAMovedPart: a part of a write with FUA was answered by a path that died, and was
// written again on another, before the last part was answered: that other is synced too.
func TestFUAMovedPart(t *testing.T) {
	r := ready(t, 3)
	r.want(r.flush(), OK)
	for i := range 3 {
		r.path(i).hold = holding(scsi.OpWrite16)
	}
	q := r.submit(&Request{Op: Write, FUA: true, Length: 2 * Chunk, Data: chunks(2*Chunk, 3)})
	r.run()
	first, last := -1, -1
	for i := range 3 {
		if len(r.path(i).queue) == 1 {
			first, last = last, i
		}
	}
	if first < 0 {
		t.Fatal("the parts are not on two paths")
	}
	other := 3 - first - last
	r.path(first).hold = nil
	r.run()
	r.slow[first] = true
	r.path(other).hold = nil
	r.path(last).hold = holding(scsi.OpWrite16)
	r.path(first).kill(errCut)
	// The copy goes to whichever path; all but the last part are let through.
	r.run()
	r.path(last).hold = nil
	r.want(q, OK)
	for _, off := range []int{0, Chunk} {
		if r.lun.stable[off] != 3 {
			t.Errorf("byte %d is not stable", off)
		}
	}
	if r.path(other).count(scsi.OpWrite16) > 0 && r.path(other).count(scsi.OpSynchronizeCache16) < 2 {
		t.Error("the path that took the copy was not synced")
	}
}

func TestTrimAndZeroes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *fakeLUN)
		q      Request
		op     uint8
		n      int
		unmap  bool
	}{
		{"trim", func(*fakeLUN) {}, Request{Op: Trim, Length: 1 << 20}, scsi.OpUnmap, 1, false},
		{"trim in pieces", func(l *fakeLUN) { l.limits.MaxUnmapLBAs = 512 },
			Request{Op: Trim, Length: 1 << 20}, scsi.OpUnmap, 4, false},
		{"trim without UNMAP", func(l *fakeLUN) { l.provision.LBPU = false },
			Request{Op: Trim, Length: 1 << 20}, scsi.OpWriteSame16, 1, true},
		{"trim where the limit is zero", func(l *fakeLUN) { l.limits.MaxUnmapLBAs = 0 },
			Request{Op: Trim, Length: 1 << 20}, scsi.OpWriteSame16, 1, true},
		{"trim of what is not thin", func(l *fakeLUN) { l.provision = scsi.LogicalProvisioning{} },
			Request{Op: Trim, Length: 1 << 20}, scsi.OpUnmap, 0, false},
		{"zeroes", func(*fakeLUN) {}, Request{Op: WriteZeroes, Length: 1 << 20},
			scsi.OpWriteSame16, 1, true},
		{"zeroes in pieces", func(*fakeLUN) {}, Request{Op: WriteZeroes, Length: 3<<20 + 1024},
			scsi.OpWriteSame16, 4, true},
		{"zeroes that stay allocated", func(*fakeLUN) {},
			Request{Op: WriteZeroes, NoHole: true, Length: 4096}, scsi.OpWriteSame16, 1, false},
		{"zeroes where unmapped is not zero", func(l *fakeLUN) {
			l.provision.LBPRZ, l.capacity.LBPRZ = false, false
		}, Request{Op: WriteZeroes, Length: 4096}, scsi.OpWriteSame16, 1, false},
		{"zeroes without WRITE SAME", func(l *fakeLUN) { l.noSame = true },
			Request{Op: WriteZeroes, Length: 1<<20 + 1024}, scsi.OpWrite16, 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1, func(_ *Config, l *fakeLUN) { c.change(l) })
			for i := range r.lun.live {
				r.lun.live[i] = 0xcc
			}
			c.q.Offset = 512
			c.q.Length -= 512
			r.want(r.submit(&c.q), OK)
			if got := r.path(0).count(c.op); got != c.n {
				t.Errorf("%d commands, want %d: %+v", got, c.n, r.path(0).received)
			}
			for _, cdb := range r.path(0).received {
				if cdb.Unmap != c.unmap {
					t.Errorf("UNMAP bit %v, want %v", cdb.Unmap, c.unmap)
				}
			}
			if c.q.Op == WriteZeroes {
				r.check(512, c.q.Length, 0)
			}
			r.check(0, 512, 0xcc)
			r.check(512+c.q.Length, 512, 0xcc)
			r.want(r.flush(), OK)
			if st := r.d.Status(r.now); st.Retained != 0 {
				t.Errorf("%d bytes are retained", st.Retained)
			}
		})
	}
}

// TestOverlappingWrites: B9. The second write to a block waits for the first.
func TestOverlappingWrites(t *testing.T) {
	r := ready(t, 2)
	for i := range 2 {
		r.path(i).hold = holding(scsi.OpWrite16)
	}
	a, b := r.write(0, 1024, 1), r.write(512, 1024, 2)
	r.wantHeld(a)
	if n := len(r.path(0).queue) + len(r.path(1).queue); n != 1 {
		t.Fatalf("%d writes are out", n)
	}
	for i := range 2 {
		r.path(i).hold = nil
	}
	r.want(a, OK)
	r.want(b, OK)
	r.check(0, 512, 1)
	r.check(512, 1024, 2)
}
