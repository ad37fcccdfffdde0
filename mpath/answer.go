package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// Bounds of retries. A refusal that passes is waited for by time, and so is one that asks to
// try again at once when it did so quickTries times: a target in trouble aborts commands for
// a while, and an error is no answer to that.
const (
	quickTries = 3
	maxTries   = 10 // of a command to fence
	busyMin    = 10 * time.Millisecond
	busyMax    = time.Second
	busyLimit  = 2 * time.Minute
)

var errSpoilt = errors.New("the device refused to take unflushed data again")

// collect takes the answers of a path.
func (d *Device) collect(s *slot) {
	for c := s.path.Completed(); c != nil; c = s.path.Completed() {
		o := c.Owner.(*op)
		s.out.remove(o)
		s.load -= o.load()
		d.proof(s, o)
		switch o.kind {
		case opRead, opWrite:
			d.answered(s, o)
		case opSync:
			d.syncAnswered(s, o)
		case opProbe:
			d.probed(s, o)
		case opCheck:
			d.checked(s, o)
		case opAccess:
			d.accessAnswered(s, o)
		case opSetGroup:
			d.setGroupAnswered(s, o)
		case opKeys, opReserve, opPreempt, opReset:
			d.fenceAnswered(s, o)
		case opUnregister:
			d.unregistered(s, o)
		}
		d.countSync(s)
		if s.path == nil {
			return
		}
	}
}

// proof notes that a session lived when the command was sent, and has nothing to tell any more
// that happened before.
func (d *Device) proof(s *slot, o *op) {
	if isLost, _ := scsi.Lost(o.cmd.Err); isLost || !o.proves() {
		return
	}
	s.proven = max(s.proven, o.sent)
	if o.kind <= opWrite && o.sent > s.delayed { // else it tells nothing of how fast the path is
		s.stats.serve(d.now - o.sent)
		if o.cmd.Err == nil && o.cmd.Timeout == ioTimeout {
			s.service.take(d.now-o.sent, o.behind, o.rested)
		}
	}
}

// proves reports whether an answer comes from the logical unit, which tells its unit attentions
// with it. Task management is answered in front of that, or by the session itself if it is busy
// with another; and by itself a session ends commands too, because of their timeout or a reset.
// They may not even have left.
func (o *op) proves() bool {
	switch {
	case o.cmd.Reset:
		return false
	case o.cmd.Err == nil:
		return true
	}
	v := judge(o.cmd.Err)
	return v.status == nil || v.status.Status != scsi.TaskAborted
}

// answered takes the answer to a part of a client's request, or to a copy.
func (d *Device) answered(s *slot, o *op) {
	if d.spare(s, o) {
		return
	}
	if o.cmd.Err == nil {
		if o.kind == opRead && o.cmd.Transferred < len(o.data) {
			d.log(slog.LevelError, "short read", "path", s.name, "offset", o.off,
				"want", len(o.data), "got", o.cmd.Transferred)
			d.refuse(o, EIO, errShort)
			return
		}
		d.good(o)
		return
	}
	v := judge(o.cmd.Err)
	d.notice(s, v.notice)
	switch v.action {
	case lost:
		s.stats.Retries++
		d.unknown(o, v.sent)
	case done:
		if o.kind == opWrite {
			d.good(o)
		} else {
			d.retryLater(s, o) // what of the data has come is not told
		}
	case again, unreachable:
		if v.action == unreachable {
			d.reverify(s)
		}
		if o.tries++; o.tries > quickTries {
			d.retryLater(s, o)
			return
		}
		s.stats.Retries++
		d.resend(o)
	case later:
		d.retryLater(s, o)
	case inaccessible:
		s.stats.Retries++
		d.accessRefused(s, v.access)
		d.resend(o)
	case elsewhere:
		d.retryElsewhere(s, o)
	case demote:
		if d.demotes(s, o) {
			d.resend(o)
			return
		}
		fallthrough
	default:
		d.suspectProtection(s, v)
		d.log(slog.LevelError, "device refused", "path", s.name, "kind", o.kind, "error", o.cmd.Err)
		d.refuse(o, max(v.errno, 1), o.cmd.Err)
	}
}

var errShort = errors.New("the device answered GOOD to a read that it did not fill")

func (d *Device) good(o *op) {
	if o.kind == opRead {
		if o.epoch != d.ledger.Epoch() {
			// The device may have read it between the loss of its cache and the
			// replay of the copies.
			if o.twin != nil {
				d.forsake(o)
			} else {
				d.sendRead(o)
			}
			return
		}
		if o.twin != nil {
			d.won(o)
		}
		r := o.req
		d.freeOp(o)
		d.partDone(r)
		return
	}
	if d.sendRest(o) {
		return
	}
	w := o.w
	if o.req == nil {
		d.freeOp(o)
	}
	d.ledger.Answered(w)
}

// unknown sends a command again whose session was lost.
func (d *Device) unknown(o *op, sent bool) {
	if o.kind == opRead {
		d.sendRead(o)
		return
	}
	w := o.w
	if o.req == nil {
		d.freeOp(o)
	}
	d.ledger.Unknown(w, sent)
}

// retryElsewhere sends a command again on a path that has not refused it, if there is one.
func (d *Device) retryElsewhere(s *slot, o *op) {
	s.stats.Retries++
	o.avoid |= 1 << s.index
	for _, other := range d.slots {
		if other.state == active && o.avoid&(1<<other.index) == 0 {
			d.resend(o)
			return
		}
	}
	d.log(slog.LevelError, "device refused", "path", s.name, "kind", o.kind, "error", o.cmd.Err)
	d.refuse(o, EIO, o.cmd.Err)
}

// retryLater sends a command again after a pause that grows. The ledger counts a write
// as out meanwhile.
func (d *Device) retryLater(s *slot, o *op) {
	s.stats.Retries++
	if o.since == 0 {
		o.since = d.now
	}
	if d.now-o.since > busyLimit {
		d.log(slog.LevelError, "device refused for too long", "path", s.name, "kind", o.kind,
			"error", o.cmd.Err)
		d.refuse(o, EIO, o.cmd.Err)
		return
	}
	pause := busyMax
	if o.pauses < 7 {
		pause = min(busyMin<<o.pauses, busyMax)
	}
	o.pauses++
	o.notNow = d.now + pause
	d.later.push(o)
}

// takeDue sends the commands again whose pause is over.
func (d *Device) takeDue() {
	for o := d.later.head; o != nil; {
		next := o.next
		if o.notNow <= d.now {
			d.later.remove(o)
			d.resend(o)
		}
		o = next
	}
}

// refuse ends a command with the device's error.
func (d *Device) refuse(o *op, e Errno, reason error) {
	if o.kind == opWrite {
		w := o.w
		if o.req == nil {
			d.freeOp(o)
			d.ledger.Refused(w)
			return
		}
		d.ledger.Refused(w)
	}
	d.endPart(o, e, reason)
}

// endPart ends a part of a request with an error.
func (d *Device) endPart(o *op, e Errno, reason error) {
	r := o.req
	r.fail(e, reason)
	d.freeOp(o)
	d.partDone(r)
}

// checked takes the answer to a question for a sign of life.
func (d *Device) checked(s *slot, o *op) {
	if isLost, _ := scsi.Lost(o.cmd.Err); s.state == proving && o.cmd.Err != nil && !isLost {
		d.startProbe(s) // what it found may not hold any more, and it is no witness
	} else if o.cmd.Err != nil {
		v := judge(o.cmd.Err)
		d.notice(s, v.notice)
		if !o.proves() && s.path.Err() == nil && s.proven < o.sent {
			d.check(s) // somebody may wait for it
		}
		switch v.action {
		case inaccessible:
			d.accessRefused(s, v.access)
		case unreachable:
			d.reverify(s)
		}
	}
	d.moved = true // a path that came up may have waited for it
	d.freeOp(o)
}

// notice acts on a unit attention of an established nexus.
func (d *Device) notice(s *slot, a scsi.Attention) {
	if a != scsi.NotAttention {
		d.log(slog.LevelWarn, "unit attention", "path", s.name, "what", a.String())
	}
	switch a {
	case scsi.CacheLoss:
		d.stats.CacheLosses++
		d.ledger.CacheLost()
		d.rounds.Step()
	case scsi.ReservationsChanged:
		d.ledger.DropCopies()
	case scsi.ALUAChanged:
		d.askAll()
	case scsi.CapacityChanged:
		d.reverifyAll()
	case scsi.ModeChanged, scsi.InquiryChanged, scsi.LUNsChanged:
		d.reverify(s)
	}
}

// hear acts on what the target told of its own accord.
func (d *Device) hear(s *slot) {
	for a, ok := s.path.Heard(); ok; a, ok = s.path.Heard() {
		if s.witness {
			d.notice(s, a)
		}
	}
}
