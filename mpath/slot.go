package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// slotState is where a slot stands.
//
//	down -> opening -> recording -> probing -> proving -> ghost <-> active
//	  ^        |           |           |          |         |         |
//	  +--------+-----------+-----------+----------+---------+---------+  the session died
//	opening -> fencing -> settling -> leaving -> down: a session that only fences
type slotState uint8

const (
	down      slotState = iota // no session; the next one is opened in time
	opening                    // a session is being set up
	recording                  // it is up, and is being written down
	probing                    // the LUN behind it is being verified
	proving                    // verified; its siblings must show that they live
	ghost                      // works, and waits for its turn
	active                     // carries I/O
	fencing                    // it is only there to end its predecessor's tasks
	settling                   // and has synced; its siblings must show that they live
	leaving                    // it logs out
	closed                     // nothing more happens here
)

// A slot is the place of a path. Sessions in it come and go; each has the slot's ISID.
type slot struct {
	index int
	name  string
	state slotState
	path  Path
	via   int // slot whose portals the session uses
	probe *probe

	out      ops    // commands on the session, in the order in which they were sent
	load     uint64 // of reads and writes among them
	service  service
	serial   uint64
	syncDone *op // a SYNC that was answered before an older command

	busySince time.Duration // of a SYNC; never if it was not refused as BUSY

	inLedger   bool            // the ledger counts the session as alive
	witness    bool            // the session was verified: what it tells of has happened since
	proven     time.Duration   // a command sent then, or later, was answered
	clearedAt  time.Duration   // when it was last found not to be dead
	delayed    time.Duration   // what was sent until then may have waited for a connection
	suspectAt  time.Duration   // since when it is slow; never if it is not
	asked      time.Duration   // when its siblings were asked for life because of it
	notBefore  time.Duration   // no new session earlier: Time2Wait
	several    bool            // connections of the session that was lost
	upAt       time.Duration   // when it became active last
	ends       []time.Duration // when the target ended it soon after, within the last minute
	verifiedAt time.Duration   // before it counts, its siblings answer something newer
	retryAt    time.Duration
	failures   int    // sessions in a row that did not become active
	prompt     bool   // the session came up at the first try
	blocks     uint64 // capacity that the path told last
	doubted    uint64 // larger one that another path told, after which it was asked again
	refusal    error  // why it is logged out, if that is because of what its LUN is
	lastErr    error
	final      bool // the peer's answer was final
	once       bool // it was active in this process

	access       access
	flaps        flaps
	outOfService bool // taken out by somebody, or on its way out of the device
	retire       retirement

	fence fence
	rec   record
	keyed bool   // the key of its record is registered for the session
	drawn uint16 // keys
	stats PathCounters
}

func newSlot(now time.Duration, i int, cfg *Config) *slot {
	c := cfg.Slots[i]
	s := &slot{
		index: i, name: c.Name, via: i, notBefore: now,
		proven: -1, delayed: -1, busySince: never, suspectAt: never, access: access{askAt: never},
	}
	s.fence = newFence(now, c.Lost, cfg)
	s.rec.fenceOnly = c.FenceOnly
	s.rec.inUse = c.Lost != nil
	if c.Lost != nil {
		s.rec.nexus = scsi.Nexus{
			TPGT: c.Lost.TPGT, Time2Wait: c.Lost.Time2Wait, Time2Retain: c.Lost.Time2Retain,
		}
		s.several, s.rec.vendor = c.Lost.Several, c.Lost.Vendor
		s.notBefore = now + drops(c.Lost.Vendor, c.Lost.Several)
		s.rec.key = c.Lost.Key
	}
	s.retryAt = s.notBefore
	return s
}

// stepSlot lets a slot go on as far as it can.
func (d *Device) stepSlot(s *slot) {
	if s.path != nil {
		if s.path.Deadline() <= d.now {
			s.path.Tick(d.now)
		}
		if s.path.Recovering() {
			s.delayed = d.now
		}
		if s.state == active && !s.path.Up() {
			d.arrange() // it takes no commands any more: its target asked it to log out
		}
		d.hear(s)
		if s.path.Err() != nil {
			d.lose(s)
		} else if d.collect(s); s.path.Err() != nil {
			d.lose(s)
		}
	}
	d.stepSuspect(s)
	d.stepFence(s)
	d.askToFence(s)
	d.stepAccess(s)
	d.stepRetire(s)
	switch s.state {
	case down:
		if d.now >= s.retryAt && d.stopping == nil {
			d.openSession(s)
		}
	case opening:
		if s.path.Up() {
			d.sessionUp(s)
		}
	case recording:
		if d.recorded(s) {
			d.startProbe(s)
		}
	case probing, fencing:
		d.stepProbe(s)
	case proving:
		if d.siblingsProven(s, s.verifiedAt) {
			d.activate(s)
		}
	case settling:
		if d.siblingsProven(s, s.verifiedAt) {
			d.ledger.Settled(s.index)
			d.endFencing(s)
		}
	}
}

func (s *slot) deadline(now time.Duration) time.Duration {
	next := min(s.fence.deadline(now), s.suspectDeadline(now))
	if s.path != nil {
		next = min(next, s.path.Deadline())
	}
	switch {
	case s.state == down:
		next = min(next, s.retryAt)
	case s.probe != nil && s.probe.wait > 0:
		next = min(next, s.probe.wait)
	case s.state == active, s.state == ghost:
		next = min(next, s.access.deadline())
	}
	return next
}

func (d *Device) openSession(s *slot) {
	if !s.fence.needed && s.outOfService {
		d.retired(s)
		return
	}
	if d.buried(s) {
		d.enter(s, closed)
		return
	}
	d.enter(s, opening)
	s.path = d.open.Open(d.now, s.index, s.via)
}

// sessionUp looks at what a new session is good for.
func (d *Device) sessionUp(s *slot) {
	n := s.path.Nexus()
	d.reinstated(s, n)
	if s.via != s.index || s.rec.fenceOnly || s.outOfService {
		d.enter(s, fencing)
		s.probe = &probe{steps: d.fenceSteps(s)}
		return
	}
	d.record(s, n)
	d.enter(s, recording)
}

// activate takes a verified path into use, or into reserve.
func (d *Device) activate(s *slot) {
	d.enter(s, ghost)
	if !s.inLedger {
		s.prompt = s.failures <= 1 // the loss before it counts as one
	}
	s.failures, s.lastErr, s.final, s.once = 0, nil, false, true
	s.probe = nil
	d.ledger.Rest(s.index, true) // also one that was active before it was looked at again
	if !s.inLedger {
		s.service = service{}
		s.inLedger, s.upAt = true, d.now
		d.returned(s)
		d.ledger.Up(s.index)
		d.rounds.Step()
	}
	d.testifies(s)
	d.arrange()
	if s.state == ghost {
		d.log(slog.LevelInfo, "path stands by", "path", s.name, "reserve", s.flaps.marginal(d.now))
	}
	s.access.askAt = d.now + d.pollPause(s)
	d.grow()
}

// standBy keeps a verified path for later that can carry nothing now, because of the
// access state of its target port.
func (d *Device) standBy(s *slot) {
	d.enter(s, ghost)
	s.failures, s.lastErr, s.final, s.probe = 0, errAccess{s.access.state}, false, nil
	s.access.since = d.now
	if s.rec.inUse && !s.inLedger {
		d.ledger.Bequeath(s.index)
	}
	d.testifies(s)
	d.log(slog.LevelInfo, "path stands by", "path", s.name, "state", s.access.state)
	d.arrange()
	s.access.askAt = d.now + d.pollPause(s)
	d.countPaths()
}

// lose buries a dead session: its commands come back, what they mean is told to the
// ledger, and the next session is planned.
func (d *Device) lose(s *slot) {
	err := s.path.Err()
	was := s.state
	d.enter(s, down) // nothing may be sent here while its commands come back
	d.collect(s)
	if s.out.n > 0 {
		panic("mpath: a dead path did not hand back its commands")
	}
	if s.syncDone != nil {
		d.freeOp(s.syncDone)
		s.syncDone = nil
	}
	alive := s.inLedger
	if alive {
		s.inLedger = false
		d.ledger.Lost(s.index)
		d.rounds.Step()
	}
	if alive { // what carried nothing has nothing to do with the fence
		d.record(s, s.path.Nexus()) // the target may have named other times
		s.fence.lastSent = s.path.LastSent()
	}
	s.notBefore = max(s.notBefore, d.waitsUntil(s))
	s.path, s.probe, s.keyed, s.witness = nil, nil, false, false
	s.access.asking, s.access.askAt = false, never
	d.arrange()
	clean := errors.Is(err, scsi.ErrLoggedOut)
	if was == leaving {
		d.left(s, clean)
		return
	}
	if alive {
		s.stats.Failovers++
		d.endedByTarget(s, err)
		if !orderly(err) {
			d.flapped(s)
		}
		d.checkSiblings()
	}
	d.log(slog.LevelWarn, "path lost", "path", s.name, "error", err)
	d.needFence(s, alive)
	d.failed(s, err)
	d.countPaths()
}

// left is the end of a session that was asked to log out.
func (d *Device) left(s *slot, clean bool) {
	if d.stopping != nil {
		d.enter(s, closed)
		if clean && d.StopErr() == nil && !d.ledger.Orphaned(s.index) {
			d.erase(s) // otherwise the next process's first flush has to sync it
		}
		return
	}
	if s.outOfService && !s.fence.needed {
		if clean {
			d.erase(s)
		}
		d.retired(s)
		return
	}
	if d.buried(s) {
		d.enter(s, closed)
		d.erase(s)
		return
	}
	if s.refusal != nil {
		if clean {
			d.erase(s)
		}
		d.failed(s, s.refusal)
		s.refusal = nil
		return
	}
	s.via, s.retryAt = s.index, d.now+d.backoff(s)
}

// failed plans what follows a session that came to nothing.
func (d *Device) failed(s *slot, err error) {
	s.lastErr = err
	s.failures++
	// A target that restarts may not know its LUNs yet: only a path that never worked is
	// given up.
	d.plan(s, permanent(err) && !s.once)
}

// plan says when, and through whose portals, the next session is opened. A lost session
// that may still execute writes is reinstated through a sibling's portal of the same
// portal group where there is one, because its own may be what failed.
func (d *Device) plan(s *slot, final bool) {
	s.final = final
	if d.stopping != nil {
		s.retryAt = never
		return
	}
	if final && !d.ready && d.allFinal() {
		d.fatal = &PathError{s.name, s.lastErr}
	}
	sibling := d.fenceSibling(s)
	if s.fence.needed && sibling >= 0 && s.via == s.index {
		s.via, s.retryAt = sibling, s.notBefore
		return
	}
	s.via = s.index
	pause := d.backoff(s)
	if final {
		pause = d.cfg.RetryMax
	}
	s.retryAt = max(d.now+pause, s.notBefore)
}

// resetGrace is how long the reset of a given up connection has to reach the target before
// the session is reinstated.
const resetGrace = 250 * time.Millisecond

// waitsUntil is when a session that is dead may be followed by a new one: Time2Wait after
// the connection was terminated (RFC 7143 sections 7.5 and 13.15). One that fell silent was
// terminated when the target last showed life, not when that was noticed here: the time of
// silence is part of the wait.
func (d *Device) waitsUntil(s *slot) time.Duration {
	wait := s.rec.nexus.Time2Wait
	if life, ok := s.path.LastLife(); ok {
		return max(life+wait, d.now+min(wait, resetGrace))
	}
	s.several = true
	return d.now + max(wait, drops(d.vendor(s), true))
}

// backoff draws the pause before the next session: exponential, with full jitter.
func (d *Device) backoff(s *slot) time.Duration {
	limit := d.cfg.RetryMax
	if n := max(s.failures-1, 0); n < 16 {
		limit = min(limit, d.cfg.RetryMin<<n)
	}
	return time.Duration(d.cfg.Rand.Int64N(int64(limit) + 1))
}

// allFinal reports whether every slot met an answer that trying again cannot change.
func (d *Device) allFinal() bool {
	for _, s := range d.slots {
		if !s.final && !s.rec.fenceOnly && !s.outOfService {
			return false
		}
	}
	return true
}

// anyAlive reports whether a session carries I/O, or will when its LUN was looked at again.
func (d *Device) anyAlive() bool {
	for _, s := range d.slots {
		if s.inLedger {
			return true
		}
	}
	return false
}

func (d *Device) anyActive() bool {
	for _, s := range d.slots {
		if s.state == active {
			return true
		}
	}
	return false
}

// countPaths notes when the last path went.
func (d *Device) countPaths() {
	if d.noPathSince == never && !d.anyAlive() && !d.hopes() {
		d.noPathSince = d.now
		d.lostTogether()
		d.allFlapped()
		if d.stopping == nil {
			d.log(slog.LevelError, "no path left; I/O waits")
		}
	}
}

// enter changes a slot's state. What comes of it may concern this slot and others in the
// same Step.
func (d *Device) enter(s *slot, state slotState) {
	s.state = state
	d.moved = true
}
