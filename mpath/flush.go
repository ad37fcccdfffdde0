package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/barrier"
)

// A flush is a client's flush, or the second half of a write that must be stable, in the
// coordinator's hands.
type flush struct {
	barrier.Flush
	req    *Request
	from   time.Duration
	losses uint64 // that were known when what it covers was begun
	next   *flush
}

func (d *Device) newFlush(r *Request, scope uint64) *flush {
	f := d.freeFlushes
	if f == nil {
		f = new(flush)
	} else {
		d.freeFlushes = f.next
	}
	*f = flush{req: r, from: d.now, losses: d.ledger.Losses()}
	f.Owner, f.Scope = f, scope
	d.rounds.Avoid(d.slow())
	return f
}

// flush admits a client's flush.
func (d *Device) flush(r *Request) {
	d.stats.Flushes.Requested++
	d.sendWrites() // what was submitted before it is out when the round begins
	d.rounds.Flush(&d.newFlush(r, barrier.All).Flush)
}

// makeStable syncs the sessions that took a part of a write whose client asked for FUA
// of a device that has none.
func (d *Device) makeStable(r *Request) {
	r.stable = true
	f := d.newFlush(r, r.scope)
	f.Moves, f.losses = r.moves, r.losses
	d.rounds.Flush(&f.Flush)
}

// stepFlush sends the SYNCs that are due and ends the flushes that are done.
func (d *Device) stepFlush() bool {
	moved := false
	d.rounds.Step()
	for t, ok := d.rounds.NextSync(); ok; t, ok = d.rounds.NextSync() {
		d.sync(t)
		moved = true
	}
	for f := d.rounds.Completed(); f != nil; f = d.rounds.Completed() {
		d.flushed(f)
		moved = true
	}
	return moved
}

func (d *Device) sync(t barrier.Token) {
	if d.writeThrough() || d.noSync && !d.lun.WriteCache {
		d.rounds.Synced(t)
		return
	}
	s := d.slots[t.Slot]
	o := d.newOp(opSync)
	o.token = t
	d.buildSync(o)
	d.submit(s, o)
	s.stats.Syncs++
}

// syncAnswered takes the answer to a SYNCHRONIZE CACHE.
func (d *Device) syncAnswered(s *slot, o *op) {
	if o.cmd.Err == nil || judge(o.cmd.Err).action == done {
		s.syncDone, s.busySince = o, never
		return // counted when everything sent before it is answered too
	}
	defer d.freeOp(o)
	v := judge(o.cmd.Err)
	d.notice(s, v.notice)
	switch {
	case v.action == lost:
	case v.action == demote && !d.noSync:
		d.sync10, d.noSync = true, d.sync10
		if d.noSync && d.lun.WriteCache {
			d.log(slog.LevelError, "the LUN has a volatile cache and no command to flush it: "+
				"flushes fail; turn its write cache off", "path", s.name)
		}
		d.rounds.Retry(o.token)
	case v.action == unreachable:
		d.reverify(s)
		d.rounds.Retry(o.token)
	case v.action == later:
		d.retrySync(s, o.token)
	case v.action == inaccessible:
		d.accessRefused(s, v.access)
		d.retrySync(s, o.token)
	case v.action == again:
		d.rounds.Aborted(o.token)
	default:
		d.log(slog.LevelWarn, "flush refused", "path", s.name, "error", o.cmd.Err)
		d.rounds.Refused(o.token)
	}
}

// retrySync lets a SYNC be sent again after a pause, unless the device has been busy for
// too long.
func (d *Device) retrySync(s *slot, t barrier.Token) {
	if s.busySince == never {
		s.busySince = d.now
	}
	if d.now-s.busySince > busyLimit {
		s.busySince = never
		d.rounds.Refused(t)
		return
	}
	o := d.newOp(opSync)
	o.token, o.notNow = t, d.now+syncPause
	d.later.push(o)
}

// syncPause is how long a SYNC waits that met BUSY.
const syncPause = 100 * time.Millisecond

// countSync counts a SYNC for which everything sent before it is answered. A unit
// attention that tells of a lost cache may come with any of those answers.
func (d *Device) countSync(s *slot) {
	o := s.syncDone
	if o == nil || s.path.Err() != nil || s.out.head != nil && s.out.head.serial < o.serial {
		return
	}
	s.syncDone = nil
	t := o.token
	d.freeOp(o)
	d.rounds.Synced(t)
}

// flushed ends a flush.
func (d *Device) flushed(b *barrier.Flush) {
	if b == &d.background {
		d.flushing = false
		if b.Err != nil {
			d.squeezeAt = d.now + squeezePause
			d.log(slog.LevelError, "background flush failed", "error", b.Err)
		}
		return
	}
	if s, ok := b.Owner.(*slot); ok {
		d.retireFlushed(s, b)
		return
	}
	f := b.Owner.(*flush)
	r := f.req
	switch {
	case b.Err != nil && errors.Is(b.Err, errStopping):
		r.fail(ESHUTDOWN, b.Err)
	case b.Err != nil:
		r.fail(EIO, b.Err)
		d.owes(r.Client, f.from) // it is told of a loss by this
		d.stats.Flushes.Failed++
	case d.concerns(r, f.from), f.losses != d.ledger.Losses(): // what it covers may be lost
		r.fail(EIO, barrier.ErrNotStable)
		d.stats.Flushes.Failed++
	}
	d.stats.Flushes.Time += d.now - f.from
	f.req, f.next = nil, d.freeFlushes
	d.freeFlushes = f
	d.finish(r)
}

// concerns reports whether a flush has to tell of a loss: the last one if nobody was told.
func (d *Device) concerns(r *Request, from time.Duration) bool {
	if d.stopping != nil && r == &d.stopping.req {
		return d.untold()
	}
	return d.owes(r.Client, from)
}

// untold reports whether no client was told of the last loss.
func (d *Device) untold() bool {
	d.markLoss()
	return d.losses > 0 && len(d.told) == 0
}

// owes reports, once to each client that was there, that acknowledged data of which no
// copy was kept may have been lost. A flush that came before the last answer to a write that
// this concerns may get its error first, and does not count.
func (d *Device) owes(client uint64, from time.Duration) bool {
	d.markLoss()
	if d.losses == 0 || client > d.lossMark || d.told[client] == d.losses {
		return false
	}
	if from <= d.lossAnswered {
		return true
	}
	if len(d.told) >= maxTold {
		clear(d.told) // clients come and go; at worst one is told twice
	}
	d.told[client] = d.losses
	return true
}

const maxTold = 1024

// markLoss notes who was there when data was lost.
func (d *Device) markLoss() {
	if n := d.ledger.Losses(); n != d.losses {
		d.losses, d.lossMark = n, d.youngest
		clear(d.told)
	}
}

// tellAgain lets the last loss be told to every client once more: it concerns a write that
// was not acknowledged when it was told.
func (d *Device) tellAgain() {
	d.markLoss()
	d.lossMark, d.lossAnswered = d.youngest, d.now
	clear(d.told)
}

// Resumed takes note of another connection of a client that was there before: the kernel,
// which means the device and not the connection. It is told of the last loss in any case:
// the answer that told it may have been lost with the connection before.
func (d *Device) Resumed(client uint64) {
	d.Arrived(client)
	d.lossMark = d.youngest
}

// Arrived takes note of a client before its first request: from now on a loss of data is
// told to it too. And one that comes while the LUN is write protected, and so may never try to
// write, has that looked at.
func (d *Device) Arrived(client uint64) {
	if d.ReadOnly() {
		d.askProtection()
	}
	d.markLoss()
	d.youngest = max(d.youngest, client)
}
