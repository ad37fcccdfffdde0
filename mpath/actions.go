package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/barrier"
)

// What somebody may ask of a running device. Each of these takes effect at the next Step.

// Errors of these requests.
var (
	ErrNoSuchPath   = errors.New("the device has no such path")
	ErrLastPath     = errors.New("it is the device's only path")
	ErrTooManyPaths = errors.New("the device has as many paths as it can have")

	errOutOfService = errors.New("taken out of service")
)

// retirement is the orderly end of a path: what is out is answered, its session is synced,
// and it logs out.
type retirement struct {
	removing bool // it will not come back
	flushing bool
	flushed  bool
	flush    *barrier.Flush // its own: it may outlast the retirement
	err      error          // why it stayed
}

// AddPath gives the device one more path and returns its slot: that of a path that was
// removed, if there is one, else a new one.
func (d *Device) AddPath(now time.Duration, c SlotConfig) (int, error) {
	d.now = now
	c.Added = true
	for i, s := range d.slots {
		if s.state == closed && s.rec.fenceOnly && !s.rec.inUse && d.stopping == nil {
			d.cfg.Slots[i] = c
			d.slots[i] = newSlot(now, i, &d.cfg)
			d.slots[i].rec.version = s.rec.version
			return i, nil
		}
	}
	if len(d.slots) == barrier.MaxSlots || d.stopping != nil {
		return 0, ErrTooManyPaths
	}
	i := len(d.slots)
	d.cfg.Slots = append(d.cfg.Slots, c)
	d.slots = append(d.slots, newSlot(now, i, &d.cfg))
	return i, nil
}

// RemovePath takes a path out for good: its session is synced and logs out. PathGone tells
// when that is done.
func (d *Device) RemovePath(now time.Duration, slot int) error {
	s, err := d.pathAt(slot)
	if err != nil {
		return err
	}
	others := 0
	for _, o := range d.slots {
		if o != s && !o.rec.fenceOnly && !o.retire.removing {
			others++
		}
	}
	if others == 0 {
		return ErrLastPath
	}
	d.takeOut(now, s)
	s.retire.removing = true
	return nil
}

// FailPath takes a path out until ReinstatePath puts it back.
func (d *Device) FailPath(now time.Duration, slot int) error {
	s, err := d.pathAt(slot)
	if err == nil {
		d.takeOut(now, s)
	}
	return err
}

func (d *Device) pathAt(slot int) (*slot, error) {
	if slot < 0 || slot >= len(d.slots) || d.slots[slot].rec.fenceOnly {
		return nil, ErrNoSuchPath
	}
	return d.slots[slot], nil
}

func (d *Device) takeOut(now time.Duration, s *slot) {
	d.now = now
	s.retire.err = nil
	if s.outOfService {
		return
	}
	s.outOfService = true
	d.log(slog.LevelWarn, "path is taken out of service", "path", s.name)
	d.arrange()
}

// ReinstatePath puts a path back that was taken out, or kept in reserve because of its
// losses, or is waited for; and lets its group carry I/O if it can.
func (d *Device) ReinstatePath(now time.Duration, slot int) error {
	s, err := d.pathAt(slot)
	if err != nil || s.retire.removing {
		return ErrNoSuchPath
	}
	d.now = now
	s.outOfService, s.retire, s.flaps = false, retirement{}, flaps{}
	switch s.state {
	case closed:
		d.enter(s, down)
		fallthrough
	case down:
		s.retryAt, s.failures = max(now, s.notBefore), 0
	case ghost:
		if d.rank(s) > rankNone {
			d.useGroup(d.key(s))
		}
	}
	d.arrange()
	return nil
}

// PathGone reports whether a path that was to be taken out is; or why it stays.
func (d *Device) PathGone(slot int) (bool, error) {
	s := d.slots[slot]
	return s.outOfService && s.state == closed, s.retire.err
}

// SetNoPath changes what becomes of I/O when no path is left, as Config.NoPath says it.
func (d *Device) SetNoPath(now, wait time.Duration) {
	d.now = now
	d.cfg.NoPath = wait
}

// NoPath is how long I/O waits when no path is left.
func (d *Device) NoPath() time.Duration { return d.cfg.NoPath }

// Reread has every path tell again what it leads to, its capacity too. Rereading reports
// whether that is still under way.
func (d *Device) Reread(now time.Duration) {
	d.now = now
	d.reverifyAll()
}

// Rereading reports whether a path that works is being looked at again.
func (d *Device) Rereading() bool {
	for _, s := range d.slots {
		if s.inLedger && (s.state == probing || s.state == proving) {
			return true
		}
	}
	return false
}

// stepRetire lets a path that is to go, go on with that.
func (d *Device) stepRetire(s *slot) {
	if !s.outOfService || d.stopping != nil {
		return
	}
	r := &s.retire
	switch s.state {
	case down:
		if !s.fence.needed {
			d.retired(s)
		}
	case opening, recording, probing, proving:
		if !s.inLedger && s.via == s.index {
			d.leave(s)
		}
	case ghost:
		switch {
		case s.busy():
		case !s.inLedger || r.flushed:
			d.leave(s)
		case !r.flushing:
			r.flushing = true
			r.flush = &barrier.Flush{Owner: s, Scope: 1 << s.index, Moves: d.ledger.Moves(),
				Background: true}
			d.rounds.Flush(r.flush)
		}
	}
}

// retireFlushed takes the end of the flush of a path that is to go. If it failed, the path
// stays. A path that was put back meanwhile has nothing to do with it any more.
func (d *Device) retireFlushed(s *slot, f *barrier.Flush) {
	r, err := &s.retire, f.Err
	if r.flush != f {
		return
	}
	r.flush, r.flushing, r.flushed, d.moved = nil, false, err == nil, true
	if err == nil || !s.outOfService {
		return
	}
	d.log(slog.LevelError, "path stays in service: its session cannot be flushed", "path", s.name,
		"error", err)
	s.outOfService, s.retire = false, retirement{err: err}
	d.arrange()
}

// retired ends a slot that nobody needs any more for now.
func (d *Device) retired(s *slot) {
	d.enter(s, closed)
	s.lastErr = errOutOfService
	if s.retire.removing {
		s.rec.fenceOnly = true
		d.erase(s)
	}
	d.countPaths()
}
