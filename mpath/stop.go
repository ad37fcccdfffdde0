package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/barrier"
)

// stopping is the orderly end of a device: what is in flight is answered, a flush makes
// it stable, every session logs out.
type stopping struct {
	until   time.Duration
	failAt  time.Duration // when what waits for a path is given up
	flush   *flush
	req     Request
	flushed bool
	logout  bool
	err     error // why some of what was acknowledged may not be stable
}

func (s *stopping) deadline() time.Duration { return min(s.failAt, s.until) }

// Stop begins the orderly end: new requests are refused with ESHUTDOWN. It takes no
// longer than grace; Stopped tells when it is over.
func (d *Device) Stop(now, grace time.Duration) {
	if d.stopping == nil {
		d.stopping = &stopping{until: now + grace, failAt: now + grace*6/10}
		for _, s := range d.slots {
			s.retryAt = never // no session is opened any more
		}
	}
}

// Stopped reports whether every session has ended, or time is up.
func (d *Device) Stopped() bool {
	if d.stopping == nil {
		return false
	}
	if d.now >= d.stopping.until {
		return true
	}
	return d.stopping.logout && d.allClosed()
}

// StopErr is why some of what was acknowledged may not be on stable storage, once the device
// has Stopped: nil if the last flush succeeded, or nothing had to be flushed. A loss of data
// without copies that no client was told of is such a reason too.
func (d *Device) StopErr() error {
	s := d.stopping
	switch {
	case s == nil || !d.wrote:
		return nil
	case !s.flushed:
		return errNotFlushed
	}
	return s.err
}

var errNotFlushed = errors.New("the last flush did not end in time")

func (d *Device) allClosed() bool {
	for _, s := range d.slots {
		if s.path != nil {
			return false
		}
	}
	return true
}

func (d *Device) stepStop() {
	s := d.stopping
	if s == nil || s.logout {
		return
	}
	if d.now >= s.failAt {
		s.failAt = never
		if !d.anyActive() || d.inFlight > 0 {
			d.log(slog.LevelError, "stopping with I/O that waits for a path", "requests", d.inFlight)
			d.failWaiting(ESHUTDOWN, errStopping)
			if !s.flushed && !d.anyActive() {
				s.flushed = true
				if d.ledger.Unstable() > 0 || d.ledger.Orphans() || d.untold() {
					s.err = errNotFlushed
				}
			}
		}
	}
	if !s.flushed && s.flush == nil && d.inFlight == 0 {
		if s.flushed = d.ReadOnly() && !d.wrote; s.flushed {
			return
		}
		s.flush = d.newFlush(&s.req, barrier.All)
		s.req.Op = Flush
		d.inFlight++
		d.rounds.Flush(&s.flush.Flush)
		d.stepFlush()
	}
	if s.flushed && d.inFlight == 0 {
		s.logout, s.failAt = true, never
		d.releaseReservation()
		for _, slot := range d.slots {
			d.leave(slot)
		}
	}
}

// stopFlushed takes the end of the last flush, which is not a client's.
func (d *Device) stopFlushed() {
	s := d.stopping
	s.flushed = true
	if s.req.Err != OK {
		if s.err = s.req.Reason; errors.Is(s.err, errStopping) {
			s.err = errNotFlushed
		}
		d.log(slog.LevelError, "the last flush failed", "error", s.err)
	}
}

// leave logs a slot's session out.
func (d *Device) leave(s *slot) {
	switch {
	case s.path == nil:
		d.enter(s, closed)
	case s.path.Up():
		d.enter(s, leaving)
		s.probe = nil // an answer to it makes no path of what leaves
		d.logout(s)
	default:
		s.path.Kill(d.now, errStopping)
	}
}
