package mpath

import (
	"strings"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// TestRefusals: what becomes of a command that a device refuses once, and of one that it
// refuses again and again on the path that took it first.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		once   Errno // how a write ends that is refused once
		always Errno // how it ends if that path, of two, always refuses it
		alone  Errno // if there is only one path
		pause  time.Duration
	}{
		{"BUSY", status(scsi.Busy), OK, EIO, EIO, busyMin},
		{"TASK SET FULL", status(scsi.TaskSetFull), OK, EIO, EIO, busyMin},
		{"becoming ready", check(scsi.NotReady, 0x04, 0x01), OK, EIO, EIO, busyMin},
		{"TASK ABORTED", status(scsi.TaskAborted), OK, EIO, EIO, 0},
		{"ABORTED COMMAND", check(scsi.AbortedCommand, 0x0b, 0), OK, EIO, EIO, 0},
		{"unit attention, mode changed", check(scsi.UnitAttention, 0x2a, 0x01), OK, EIO, EIO, 0},
		{"unit attention, nexus loss", check(scsi.UnitAttention, 0x29, 0x07), OK, EIO, EIO, 0},
		{"unit attention, cache loss", check(scsi.UnitAttention, 0x29, 0x00), OK, EIO, EIO, 0},
		{"unit attention, any other", check(scsi.UnitAttention, 0x5a, 0x01), OK, EIO, EIO, 0},
		{"HARDWARE ERROR", check(scsi.HardwareError, 0x44, 0), OK, OK, EIO, 0},
		{"not ready for good", check(scsi.NotReady, 0x3a, 0), OK, OK, EIO, 0},
		{"no such LUN any more", check(scsi.IllegalRequest, 0x25, 0), OK, OK, EIO, 0},
		{"MEDIUM ERROR", check(scsi.MediumError, 0x0c, 0), EIO, EIO, EIO, 0},
		{"thin and full", check(scsi.DataProtect, 0x27, 0x07), ENOSPC, ENOSPC, ENOSPC, 0},
		{"write protected", check(scsi.DataProtect, 0x27, 0x00), EPERM, EPERM, EPERM, 0},
		{"LBA out of range", check(scsi.IllegalRequest, 0x21, 0), EINVAL, EINVAL, EINVAL, 0},
		{"invalid field", check(scsi.IllegalRequest, 0x24, 0), EIO, EIO, EIO, 0},
		{"RESERVATION CONFLICT", status(scsi.ReservationConflict), EIO, EIO, EIO, 0},
		{"an unknown status", status(0x3c), EIO, EIO, EIO, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2)
			r.path(0).answer = once(scsi.OpWrite16, c.err)
			r.d.turn = 1
			q := r.write(0, 512, 7)
			start := r.now
			if c.pause > 0 {
				r.wantHeld(q)
				r.after(c.pause - ms)
				r.wantHeld(q)
				r.after(ms)
				r.want(q, c.once)
			}
			r.after(10 * time.Second)
			r.want(q, c.once)
			if c.once == OK {
				r.check(0, 512, 7)
			}
			if c.pause == 0 && r.now-start > 10*time.Second+ms {
				t.Error("it took its time")
			}
			for i, want := range []Errno{c.alone, c.always} {
				r := ready(t, i+1)
				r.path(0).answer = times(1<<30, scsi.OpWrite16, c.err)
				r.d.turn = i
				for i == 1 && c.always != OK && len(r.paths) == 2 { // both paths
					r.path(1).answer = times(1<<30, scsi.OpWrite16, c.err)
					break
				}
				q := r.write(0, 512, 7)
				r.after(busyLimit + 10*time.Second)
				r.want(q, want)
			}
		})
	}
}

// TestReadRetry: a read that one path refuses for a reason that may be its own is tried on
// another.
func TestReadRetry(t *testing.T) {
	r := ready(t, 2)
	r.lun.live[0] = 0x42
	r.path(0).answer = times(1<<30, scsi.OpRead16, check(scsi.HardwareError, 0x08, 0))
	for range 4 {
		q := r.read(0, 512)
		r.want(q, OK)
		if q.Data[0][0] != 0x42 {
			t.Fatal("wrong data")
		}
	}
	if r.path(1).count(scsi.OpRead16) != 4 {
		t.Errorf("%d reads on the good path", r.path(1).count(scsi.OpRead16))
	}
}

// TestShortRead: GOOD for a read that was not filled is an error, not old memory.
func TestShortRead(t *testing.T) {
	r := ready(t, 1)
	p := r.path(0)
	q := r.read(0, 1024)
	r.step()
	c := p.queue[0]
	p.queue = nil
	c.Err, c.Transferred = nil, 512
	p.done = append(p.done, c)
	r.want(q, EIO)
}

// TestUnitAttentions: what a sign of each kind on an established nexus brings about.
func TestUnitAttentions(t *testing.T) {
	for _, c := range []struct {
		name      string
		asc, ascq uint8
		replayed  uint64
		probed    bool
	}{
		{"power on", 0x29, 0x00, 1, false},
		{"power on occurred", 0x29, 0x01, 1, false},
		{"bus reset", 0x29, 0x02, 1, false},
		{"device internal reset", 0x29, 0x04, 1, false},
		{"bus device reset function", 0x29, 0x03, 0, false},
		{"nexus loss", 0x29, 0x07, 0, false},
		{"mode parameters", 0x2a, 0x01, 0, true},
		{"capacity", 0x2a, 0x09, 0, true},
		{"inquiry data", 0x3f, 0x03, 0, true},
		{"LUNs", 0x3f, 0x0e, 0, true},
		{"thin threshold", 0x38, 0x07, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1)
			r.want(r.write(0, 512, 5), OK)
			probed := 0
			attention := once(scsi.OpRead16, check(scsi.UnitAttention, c.asc, c.ascq))
			r.path(0).answer = func(cmd *scsi.Command, cdb scsi.CDB) error {
				if cdb.Op == scsi.OpInquiry && !cdb.EVPD {
					probed++
				}
				return attention(cmd, cdb)
			}
			r.check(4096, 512, 0)
			if n, _ := r.d.ledger.Replayed(); n != c.replayed {
				t.Errorf("%d copies were written again, want %d", n, c.replayed)
			}
			if (probed > 0) != c.probed {
				t.Errorf("the LUN was looked at %d times", probed)
			}
			if r.state(0) != "active" {
				t.Errorf("the path is %s", r.state(0))
			}
		})
	}
}

// TestReservationsChanged: another host wrote. The copies are never sent, the next flush of
// each client fails, once.
func TestReservationsChanged(t *testing.T) {
	for name, err := range map[string]error{
		"conflict":              status(scsi.ReservationConflict),
		"preempted":             check(scsi.UnitAttention, 0x2a, 0x03),
		"released":              check(scsi.UnitAttention, 0x2a, 0x04),
		"registrations changed": check(scsi.UnitAttention, 0x2a, 0x05),
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 1)
			r.want(r.write(0, 512, 5), OK)
			r.path(0).answer = once(scsi.OpRead16, err)
			r.read(4096, 512)
			r.run()
			if n, _ := r.d.ledger.Replayed(); n != 0 || r.d.ledger.Kept() != 0 {
				t.Errorf("%d copies were sent, %d are kept", n, r.d.ledger.Kept())
			}
			r.want(r.flush(), EIO)
			r.want(r.flush(), OK)
			if r.pool.back != 1 {
				t.Errorf("%d buffers came back", r.pool.back)
			}
		})
	}
}

// TestDeferredError: an error of an earlier command, which had ended with GOOD, says that
// what was acknowledged did not get there.
func TestDeferredError(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 512, 5), OK)
	r.path(0).answer = once(scsi.OpRead16, &scsi.StatusError{Status: scsi.CheckCondition,
		Sense: scsi.Sense{Key: scsi.MediumError, ASC: 0x0c, Deferred: true}})
	r.check(0, 512, 5)
	if n, _ := r.d.ledger.Replayed(); n != 1 {
		t.Errorf("%d copies were written again", n)
	}
}

func TestErrorsAreLoggedWithTheirPath(t *testing.T) {
	r := ready(t, 1)
	r.path(0).answer = once(scsi.OpWrite16, check(scsi.MediumError, 0x0c, 0))
	q := r.write(0, 512, 5)
	r.want(q, EIO)
	if q.Reason == nil || !strings.Contains(strings.Join(r.logs, ""), "path 0") {
		t.Errorf("reason %v, logs %v", q.Reason, r.logs)
	}
}
