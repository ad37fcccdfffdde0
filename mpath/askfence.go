package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// askPause is how long a command to fence waits that met BUSY.
const askPause = 100 * time.Millisecond

// askToFence has a lost session's tasks ended by a command to another session, where the
// policy says so. It is not done while a new session of the slot is at work, whose commands
// would be hit too: those are the same nexus's.
func (d *Device) askToFence(s *slot) {
	f := &s.fence
	if !f.needed || f.told || f.refused || f.asked || f.settleBy != never || d.now < f.askAt ||
		s.state != down && s.state != opening || d.stopping != nil {
		return
	}
	switch d.cfg.Fence {
	case FenceReserve:
		through := d.otherThan(s, func(o *slot) bool { return o.keyed })
		if through == nil {
			return
		}
		switch {
		case !d.abortsRegistrants():
			d.cannotFence(s, "this target does not abort tasks for PREEMPT AND ABORT of a registration")
			return
		case !d.mayReserve():
			d.cannotFence(s, "the LUN is shared, or not every path has registered a key")
			return
		}
		f.asked = true
		d.readKeys(s, through)
	case FenceReset:
		through := d.otherThan(s, func(*slot) bool { return true })
		if through == nil {
			return
		}
		f.asked = true
		o := d.newOp(opReset)
		o.lost, o.cmd.Reset, o.cmd.Timeout = s, true, probeTimeout
		d.submit(through, o)
	}
}

// otherThan is an active path to the same target as s.
func (d *Device) otherThan(s *slot, may func(*slot) bool) *slot {
	for _, o := range d.slots {
		if o != s && o.state == active && d.sameTarget(s, o) && may(o) {
			return o
		}
	}
	return nil
}

// fenceAnswered takes the answer to a command that fences another session.
func (d *Device) fenceAnswered(through *slot, o *op) {
	defer d.freeOp(o)
	s := o.lost
	d.moved = true
	if o.cmd.Err == nil {
		switch o.kind {
		case opKeys:
			d.keysRead(through, o)
			return
		case opReserve:
			d.reserved = true
			d.fenceBy(opPreempt, scsi.ReservePreemptAndAbort, s, through, o.key)
			return
		case opPreempt:
			d.log(slog.LevelInfo, "reservation key preempted", "path", s.name, "through", through.name)
			d.settles(s, byReservation, d.lun.Vendor == vendorEmbedded)
		case opReset:
			d.log(slog.LevelWarn, "logical unit reset", "for", s.name, "through", through.name)
			// The lost session is still there at the target: what the network
			// delivers to it after the reset is executed.
			d.settles(s, byReset, false)
			d.checkSiblings()
		}
		s.fence.asked = false
		return
	}
	s.fence.asked = false
	v := judge(o.cmd.Err)
	if v.action == lost {
		return // through another path
	}
	if v.status == nil || v.status.Status != scsi.ReservationConflict {
		d.notice(through, v.notice)
	}
	if (v.action == again || v.action == later) && s.fence.tries < maxTries {
		s.fence.tries++
		if v.action == later {
			s.fence.askAt = d.now + askPause
		}
		return
	}
	d.cannotFence(s, "the target refuses", "error", o.cmd.Err)
}

// cannotFence gives up fencing by a command: reinstatement or waiting will do it.
func (d *Device) cannotFence(s *slot, why string, args ...any) {
	s.fence.refused, s.fence.tries = true, 0
	d.log(slog.LevelWarn, "lost session cannot be fenced by a command",
		append([]any{"path", s.name, "because", why}, args...)...)
}
