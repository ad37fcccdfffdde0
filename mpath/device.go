package mpath

import (
	"log/slog"
	"math"
	"time"

	"braid/barrier"
)

// maxPasses bounds how often one Step goes over the slots: what becomes of one may concern
// another.
const maxPasses = 4

// never is a deadline that does not come.
const never = time.Duration(math.MaxInt64)

// A Device is one block device over several paths. See the package comment.
type Device struct {
	cfg    Config
	open   Connector
	now    time.Duration // of the call under way
	ledger *barrier.Ledger
	rounds *barrier.Coordinator

	slots    []*slot
	lun      LUN
	known    bool // lun is valid
	ready    bool // it was known with a path that is active
	readyAt  time.Duration
	used     bool          // a request was submitted
	wrote    bool          // one that changes blocks was begun
	askedAt  time.Duration // when it was last looked whether the LUN is write protected
	reserved bool          // for the sessions that have registered keys
	moved    bool          // a slot changed in a way that may concern others
	fatal    error
	sync10   bool // the LUN knows only SYNCHRONIZE CACHE(10)
	noSync   bool // it knows none
	turn     int  // round robin

	admission requests // writes that wait for room, a flush that holds, or a fence
	stalled   ops      // for a path
	blocked   ops      // reads of blocks whose copies must be written first
	later     ops      // for their time
	done      requests
	freeOps   ops

	noPathSince time.Duration // when the last path went; never while there is one
	stuckSince  time.Duration // since when a flush lacks a session; never if none does
	inFlight    int           // requests submitted and not completed
	background  barrier.Flush
	flushing    bool          // background is under way
	squeezeAt   time.Duration // not before that is it begun again
	freeFlushes *flush

	losses   uint64 // of the ledger's, seen
	lossMark uint64 // the youngest client that was there at the last loss
	// When a write was answered last that the loss concerns, but not who was told before.
	lossAnswered time.Duration
	told         map[uint64]uint64 // client -> losses that it was told of
	youngest     uint64            // client

	persist  persistence
	stopping *stopping
	groups   groups
	stats    Counters
}

// New returns a device that opens its paths at the first Step.
func New(now time.Duration, cfg Config, open Connector) *Device {
	cfg.setDefaults()
	d := &Device{cfg: cfg, open: open, noPathSince: now, stuckSince: never, told: map[uint64]uint64{}}
	d.ledger = barrier.NewLedger(cfg.Retain)
	d.rounds = barrier.NewCoordinator(d.ledger, cfg.Barrier)
	d.groups = groups{key: noGroup, lackSince: never, failbackAt: never}
	for i := range cfg.Slots {
		d.slots = append(d.slots, newSlot(now, i, &d.cfg))
		if cfg.Slots[i].Lost != nil {
			d.ledger.MarkDirty(i)
			d.wrote = true
		}
	}
	if d.persist.untold = cfg.Untold; cfg.Untold {
		d.ledger.LostBefore()
	}
	return d
}

// Ready reports whether the device is known and has had a path.
func (d *Device) Ready() bool { return d.ready }

// Fatal is why the device cannot come up, or must stop: nil while there is hope.
func (d *Device) Fatal() error { return d.fatal }

// LUN is what is known of the logical unit once the device was ready.
func (d *Device) LUN() LUN { return d.lun }

// ReadOnly reports whether writes are refused.
func (d *Device) ReadOnly() bool { return d.cfg.ReadOnly || d.lun.WriteProtected }

// CanZeroFast reports whether zeroes need not be sent one by one.
func (d *Device) CanZeroFast() bool { return d.known && !d.lun.noSame }

// Submit takes a request. It is completed later, by Completed.
func (d *Device) Submit(now time.Duration, r *Request) {
	d.now = now
	r.Err, r.Reason, r.Retained, r.scope = OK, nil, false, 0
	d.inFlight++
	d.used = true
	d.youngest = max(d.youngest, r.Client)
	switch {
	case d.stopping != nil:
		r.fail(ESHUTDOWN, nil)
	case !d.valid(r):
		r.fail(EINVAL, nil)
	case r.changes() && d.ReadOnly():
		d.askProtection()
		r.fail(EPERM, nil)
	case r.Op == Cache, r.Op == Flush && d.ReadOnly() && !d.wrote, r.Op == Trim && !d.lun.CanTrim():
	case r.Op == Flush:
		d.flush(r)
		return
	case r.Length == 0:
	case r.Op == Read:
		d.read(r)
		return
	default:
		d.admit(r)
		return
	}
	d.finish(r)
}

func (d *Device) valid(r *Request) bool {
	if !d.known || r.Op == Flush {
		return d.known
	}
	bs := uint64(d.lun.BlockSize)
	end := r.Offset + r.Length
	return r.Offset%bs == 0 && r.Length%bs == 0 && end >= r.Offset && end <= d.lun.Bytes()
}

// Completed returns the next request that has ended, nil if there is none.
func (d *Device) Completed() *Request { return d.done.pop() }

// finish ends a request.
func (d *Device) finish(r *Request) {
	d.inFlight--
	if d.stopping != nil && r == &d.stopping.req {
		d.stopFlushed()
		return
	}
	d.done.push(r)
}

// Idle reports whether no request is under way.
func (d *Device) Idle() bool { return d.inFlight == 0 && d.done.n == 0 }

// Step lets everything happen that can happen now. It is to be called after bytes
// were received, after Submit, and when Deadline has come.
func (d *Device) Step(now time.Duration) {
	d.now = now
	d.moved = true
	for i := 0; d.moved && i < maxPasses; i++ {
		d.moved = false
		for _, s := range d.slots {
			d.stepSlot(s)
		}
	}
	d.stepGroups()
	d.expireNoPath()
	d.takeDue()
	for d.progress() {
	}
	d.squeeze(false)
	d.stepStop()
	d.recordLoss()
}

// progress moves what can move, and reports whether anything did.
func (d *Device) progress() bool {
	moved := d.release()
	moved = d.admitWaiting() || moved
	moved = d.sendWrites() || moved
	moved = d.unstall() || moved
	moved = d.unblock() || moved
	return d.stepFlush() || moved
}

// release answers what was acknowledged and gives back memory.
func (d *Device) release() bool {
	moved := false
	for o := d.ledger.Acknowledged(); o != nil; o = d.ledger.Acknowledged() {
		o := o.(*op)
		r := o.req
		d.freeOp(o)
		d.partDone(r)
		moved = true
	}
	for b := d.ledger.Released(); b != nil; b = d.ledger.Released() {
		d.cfg.Pool.Put(b)
		moved = true
	}
	return moved
}

// Deadline is when Step is wanted next, if nothing else happens.
func (d *Device) Deadline() time.Duration {
	next := d.groupsDeadline()
	for _, s := range d.slots {
		next = min(next, s.deadline(d.now))
	}
	for o := d.later.head; o != nil; o = o.next {
		next = min(next, o.notNow)
	}
	if d.inFlight > 0 && d.cfg.NoPath != Forever {
		next = min(next, d.noPathDeadline())
	}
	if d.stopping != nil {
		next = min(next, d.stopping.deadline())
	}
	if d.squeezeAt > d.now {
		next = min(next, d.squeezeAt)
	}
	return next
}

func (d *Device) log(level slog.Level, msg string, args ...any) { d.cfg.Log(level, msg, args...) }
