package barrier

import "errors"

// Mode says what becomes of new writes while a flush is under way.
type Mode uint8

// Drain sends them to one session, the drain path; the writes out on the others
// are awaited. Hold lets them wait until the flush is done. Epoch leaves them alone:
// only acknowledged writes are covered.
const (
	Drain Mode = iota
	Hold
	Epoch
)

// ErrNotStable is what a flush ends with when acknowledged data could not be made
// stable.
var ErrNotStable = errors.New("barrier: acknowledged data could not be made stable")

// maxSyncFailures is how many SYNCs a device may refuse in one round before the
// flush fails; the copies are sent again between them. maxSyncAborts is how many it
// may leave undone: each tells of something that happened, a target that restarts
// again and again for one, and the data can still be made stable.
const (
	maxSyncFailures = 3
	maxSyncAborts   = 32
)

// All is the scope of a flush that covers every session.
const All = ^uint64(0)

// A Flush is one request for a barrier.
type Flush struct {
	Owner any
	// Scope names the slots to sync, as bits: All, or those that took the parts
	// of a write that must be stable.
	Scope uint64
	// Moves is what the ledger's Moves said before the first of those parts was sent. If
	// it says otherwise by now, the flush covers every session.
	Moves uint64
	// Background says that nobody waits for it: it never drains, and its failure
	// is the next client's.
	Background bool
	// Err is how it ended, valid once Completed returned it.
	Err error

	next *Flush
}

// client reports whether the flush is one that drains or holds.
func (f *Flush) client() bool { return f.Scope == All && !f.Background }

type flushes struct{ head, tail *Flush }

func (q *flushes) push(f *Flush) {
	f.next = nil
	if q.tail == nil {
		q.head = f
	} else {
		q.tail.next = f
	}
	q.tail = f
}

func (q *flushes) pop() *Flush {
	f := q.head
	if f == nil {
		return nil
	}
	if q.head = f.next; q.head == nil {
		q.tail = nil
	}
	f.next = nil
	return f
}

// A Coordinator runs the flush rounds: one at a time, each for all flushes that
// came before it began. Not for concurrent use.
type Coordinator struct {
	l    *Ledger
	mode Mode

	next, current, done flushes

	waits  bool // the round under way awaits the writes that were out when it began
	drains bool // and has a drain path for new ones
	wanted bool // a client's flush waits for the next round
	scope  uint64
	drain  int
	slow   uint64 // sessions that are not the drain path while another one can be
	owed   bool   // a background flush failed
	rounds uint64
}

// NewCoordinator returns the coordinator of l's flushes.
func NewCoordinator(l *Ledger, mode Mode) *Coordinator {
	return &Coordinator{l: l, mode: mode, drain: -1}
}

// Flush admits f: it covers every write acknowledged until now.
func (c *Coordinator) Flush(f *Flush) {
	f.Err = nil
	c.wanted = c.wanted || f.client()
	c.next.push(f)
	c.Step()
}

// Active reports whether a round is under way.
func (c *Coordinator) Active() bool { return c.l.round.active }

// Draining reports whether a round sends new writes to one session.
func (c *Coordinator) Draining() bool { return c.l.round.active && c.drains }

// Waits reports whether a round with a client's flush awaits writes that were out, and
// what came after it is drained to one session or held.
func (c *Coordinator) Waits() bool { return c.l.round.active && c.waits }

// Rounds counts the rounds that were begun.
func (c *Coordinator) Rounds() uint64 { return c.rounds }

// Tag marks a request admitted now with the last round that has a flush older than it:
// Holds and Place of the same tag tell what becomes of its writes.
func (c *Coordinator) Tag() uint64 {
	switch {
	case c.mode == Epoch:
		return 0
	case c.wanted:
		return c.l.round.id + 1
	case c.l.round.active && c.waits:
		return c.l.round.id
	}
	return 0
}

// Holds reports whether a request with this tag must wait, because an older flush is
// not done.
func (c *Coordinator) Holds(tag uint64) bool {
	return c.mode == Hold && c.l.round.active && tag >= c.l.round.id
}

// Place returns the slot that a write of a request with this tag must go to, if the
// request came after a flush that still drains. The slot is -1 when no session is up.
func (c *Coordinator) Place(tag uint64) (slot int, must bool) {
	if !c.Draining() || tag < c.l.round.id {
		return 0, false
	}
	if !c.takesWrites() {
		c.rotate()
	}
	if !c.takesWrites() {
		return -1, true
	}
	return c.drain, true
}

// takesWrites reports whether the drain path is one.
func (c *Coordinator) takesWrites() bool {
	return c.drain >= 0 && c.l.slots[c.drain].alive && !c.l.slots[c.drain].resting
}

// Fresh reports whether the session in slot came up during the round under way: it
// takes no write until the round ends.
func (c *Coordinator) Fresh(slot int) bool {
	s := &c.l.slots[slot]
	return c.l.round.active && s.upRound == c.l.round.id && slot != c.drain
}

// Avoid names the sessions, as bits, that are not to be the drain path of rounds to come
// while another one can be: a flush would wait for them.
func (c *Coordinator) Avoid(slow uint64) { c.slow = slow }

// rotate makes the next living session the drain path.
func (c *Coordinator) rotate() {
	last := -1
	for i := 1; i <= MaxSlots; i++ {
		j := (c.drain + i + MaxSlots) % MaxSlots
		if !c.l.slots[j].alive || c.l.slots[j].resting {
			continue
		}
		if c.slow&(1<<j) == 0 {
			c.drain = j
			return
		}
		if last < 0 {
			last = j
		}
	}
	if last >= 0 {
		c.drain = last
	}
}

// begin starts a round for all flushes that wait.
func (c *Coordinator) begin() {
	l := c.l
	c.current, c.next = c.next, flushes{}
	c.scope = 0
	c.wanted = false
	client := false
	for f := c.current.head; f != nil; f = f.next {
		if f.Moves == l.moves {
			c.scope |= f.Scope
		} else {
			c.scope = All
		}
		client = client || f.client()
	}
	c.waits = client && c.mode != Epoch
	c.drains = client && c.mode == Drain
	c.rounds++
	l.round.id++
	l.round.active, l.round.heirs = true, 0
	for w := l.failed.pop(); w != nil; w = l.failed.pop() {
		l.replay(w)
	}
	for i := range l.slots {
		s := &l.slots[i]
		s.older, s.failures, s.aborts, s.captured, s.target = 0, 0, 0, false, 0
		if c.covers(i) {
			s.target = s.acked
		}
		if s.alive && c.waits {
			s.older = s.out
		}
	}
	if c.drains {
		c.rotate()
	}
}

func (c *Coordinator) covers(slot int) bool {
	return (c.scope|c.l.round.heirs)&(1<<slot) != 0
}

// NextSync returns the next SYNCHRONIZE CACHE that must be sent, if any. Copies that
// are being written again go first.
func (c *Coordinator) NextSync() (Token, bool) {
	l := c.l
	if !l.round.active || l.replays > 0 {
		return Token{}, false
	}
	for i := range l.slots {
		s := &l.slots[i]
		if !s.alive || s.syncing || s.older > 0 {
			continue
		}
		if !s.captured && c.waits {
			s.captured, s.target = true, max(s.target, s.acked)
		}
		if s.target > s.synced {
			return l.beginSync(i), true
		}
	}
	return Token{}, false
}

// Synced says that the SYNC was answered GOOD, and so was, before or after it,
// every command that was sent on its session before it.
func (c *Coordinator) Synced(t Token) {
	c.l.endSync(t)
	c.Step()
}

// Refused says that the device could not make its cache stable. What any session has in
// a cache may be gone, for several may share one, and the next SYNC that succeeds would
// say nothing about that: it counts as a loss of cache.
func (c *Coordinator) Refused(t Token) {
	if !c.l.current(t) {
		return
	}
	c.l.CacheLost()
	s := &c.l.slots[t.Slot]
	s.failures++
	c.failed(s, s.failures >= maxSyncFailures)
}

// Aborted says that the SYNC was not executed, for a reason that is no refusal, such as a
// unit attention. The session's copies are written again before the next one.
func (c *Coordinator) Aborted(t Token) {
	if !c.l.current(t) {
		return
	}
	s := &c.l.slots[t.Slot]
	c.l.replayAll(s)
	s.aborts++
	c.failed(s, s.aborts >= maxSyncAborts)
}

func (c *Coordinator) failed(s *slot, tooOften bool) {
	s.syncing = false
	if tooOften && c.l.round.active {
		c.end(ErrNotStable)
	}
	c.Step()
}

// Retry says that the SYNC was not executed for a reason that passes, such as BUSY.
func (c *Coordinator) Retry(t Token) {
	if c.l.current(t) {
		c.l.slots[t.Slot].syncing = false
	}
}

// Step begins a round if there is one to begin, and ends the one under way if it is
// complete. It is to be called after writes were answered and sessions changed.
func (c *Coordinator) Step() {
	for {
		if !c.l.round.active {
			if c.next.head == nil {
				return
			}
			c.begin()
		}
		switch {
		case c.l.failed.n > 0:
			c.end(ErrNotStable)
		case c.complete():
			c.end(nil)
		default:
			return
		}
	}
}

// complete reports whether nothing that the round must make stable is missing.
func (c *Coordinator) complete() bool {
	l := c.l
	if l.replays > 0 {
		return false
	}
	for i := range l.slots {
		s := &l.slots[i]
		switch {
		case c.covers(i) && s.orphaned:
			return false
		case !s.alive:
			continue
		case s.older > 0:
			return false
		case c.waits && !s.captured:
			s.captured, s.target = true, max(s.target, s.acked)
		}
		if s.target > s.synced {
			return false
		}
	}
	return true
}

// Stuck reports whether the round waits for a session that is not there.
func (c *Coordinator) Stuck() bool {
	for i := range c.l.slots {
		if s := &c.l.slots[i]; c.covers(i) && s.orphaned && !s.alive && !s.bequest {
			return c.l.round.active
		}
	}
	return false
}

// Fail ends every flush that waits, and the round under way, with err.
func (c *Coordinator) Fail(err error) {
	if c.l.round.active {
		c.end(err)
	}
	c.wanted = false
	for f := c.next.pop(); f != nil; f = c.next.pop() {
		f.Err = err
		c.done.push(f)
	}
}

func (c *Coordinator) end(err error) {
	c.l.round.active = false
	c.waits, c.drains = false, false
	for f := c.current.pop(); f != nil; f = c.current.pop() {
		f.Err = err
		switch {
		case f.Background:
			c.owed = c.owed || err != nil
		case f.Err == nil && c.owed && f.client(): // a write with FUA has its own answer
			f.Err, c.owed = ErrNotStable, false
		}
		c.done.push(f)
	}
}

// Completed returns the next flush that has ended, or nil.
func (c *Coordinator) Completed() *Flush { return c.done.pop() }
