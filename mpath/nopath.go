package mpath

import (
	"errors"
	"log/slog"
	"time"
)

var (
	errNoPath   = errors.New("no path is left and the no_path policy does not wait longer")
	errStopping = errors.New("the device is stopping")
)

// noPathDeadline is when waiting I/O is failed.
func (d *Device) noPathDeadline() time.Duration {
	since := min(d.noPathSince, d.stuckSince)
	if since == never || d.cfg.NoPath == Forever {
		return never
	}
	return since + d.cfg.NoPath
}

// expireNoPath fails what waited for a path as long as the policy lets it.
func (d *Device) expireNoPath() {
	switch stuck := d.rounds.Stuck(); {
	case !stuck:
		d.stuckSince = never
	case d.stuckSince == never:
		d.stuckSince = d.now
	}
	if d.inFlight == 0 || d.now < d.noPathDeadline() {
		return
	}
	if d.noPathSince == never { // only a flush lacks its session
		d.stuckSince = never
		d.rounds.Fail(errNoPath)
		return
	}
	d.log(slog.LevelError, "I/O fails: no path", "requests", d.inFlight)
	d.failWaiting(EIO, errNoPath)
}

// failWaiting ends every request that no path has: all of them, when there is none.
func (d *Device) failWaiting(e Errno, reason error) {
	for r := d.admission.pop(); r != nil; r = d.admission.pop() {
		r.fail(e, reason)
		d.finish(r)
	}
	for _, q := range []*ops{&d.stalled, &d.blocked, &d.later} {
		d.failQueue(q, e, reason)
	}
	for _, w := range d.ledger.Unanswered() {
		o := w.Owner.(*op)
		d.ledger.Abandon(w)
		d.endPart(o, e, reason)
	}
	d.rounds.Fail(reason)
}

// failQueue ends the clients' commands of a queue. Copies stay.
func (d *Device) failQueue(q *ops, e Errno, reason error) {
	for n := q.n; n > 0; n-- {
		o := q.pop()
		switch {
		case o.req == nil:
			q.push(o)
		case o.kind == opWrite:
			w := o.w
			if q == &d.later {
				d.ledger.Refused(w)
			} else {
				d.ledger.Abandon(w)
			}
			d.endPart(o, e, reason)
		default:
			d.endPart(o, e, reason)
		}
	}
}

// lostTogether counts data without copies as lost when all sessions went: the target may
// have gone with its cache.
func (d *Device) lostTogether() {
	for _, s := range d.slots {
		if s.once {
			d.ledger.Lose(s.index)
		}
	}
}
