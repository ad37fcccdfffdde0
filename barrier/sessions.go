package barrier

// slot is what the ledger knows of one session, through all its incarnations.
type slot struct {
	alive       bool
	resting     bool   // it is given no new writes
	seen        bool   // it was up in this process
	upRound     uint64 // the flush round during which it came up, if any
	incarnation uint64 // how often it was lost
	acked       uint64 // how many unstable writes it answered
	synced      uint64 // how many of those are known to be stable
	bare        uint64 // number of the last one without a copy
	loose       uint64 // bytes without a copy that it ever acknowledged
	firm        uint64 // of those, that are stable, lost or another session's by now
	orphaned    bool   // writes without a copy were unstable when it was lost
	bequest     bool   // orphaned, and the next living session's SYNC ends that
	orphan      uint64 // orphaned and alive: the number whose SYNC ends that
	left        bool   // orphaned by a former process: nothing but a SYNC ends that

	kept list // by number
	out  int  // writes out on it

	// Of the flush round under way:
	older    int    // writes out on it that the round waits for
	target   uint64 // number that must be synced
	captured bool   // target is what it will be
	syncing  bool   // a SYNC is out
	failures int    // SYNCs that the device refused
	aborts   int    // SYNCs that it did not execute
}

// uncopied reports whether writes without a copy are unstable.
func (s *slot) uncopied() bool { return s.orphaned || s.bare > s.synced }

// ours reports whether such writes were acknowledged by this process too, and not only by a
// former one.
func (s *slot) ours() bool { return !s.left || s.bare > s.orphan }

// Up says that the session in slot is ready for commands. The first time it counts
// as dirty: what a former process wrote may be in its cache.
func (l *Ledger) Up(slot int) {
	s := &l.slots[slot]
	s.alive = true
	if !s.seen || s.orphaned {
		s.acked++
	}
	if s.orphaned {
		s.bare, s.orphan = s.acked, s.acked
	}
	s.seen = true
	s.upRound = 0
	if l.round.active {
		s.upRound, s.target = l.round.id, s.acked
	}
	s.bequest = false
	l.inherit()
}

// MarkDirty says that a former process wrote over this slot: until it is up and
// synced, no flush is complete.
func (l *Ledger) MarkDirty(slot int) {
	if s := &l.slots[slot]; !s.seen {
		s.orphaned, s.left = true, true
	}
}

// Touched says that the cache behind slot may hold something that must be made stable, and
// of which there are copies if it was answered here.
func (l *Ledger) Touched(slot int) { l.slots[slot].acked++ }

// Changed says that the caching mode of the device behind slot changed: what it
// answered before, and what was then taken as stable, may have been unstable.
func (l *Ledger) Changed(slot int) {
	s := &l.slots[slot]
	s.acked++
	s.bare = s.acked
}

// Lost says that the session in slot is dead. Its copies are written again, and so
// are the answered writes that were not acknowledged yet. The writes that are out on
// it are reported one by one, by Unknown.
func (l *Ledger) Lost(slot int) {
	s := &l.slots[slot]
	s.alive, s.syncing = false, false
	s.incarnation++
	l.moves++
	l.distrust(func(w *Write) bool { return w.at == slot && w.number > s.synced })
	l.replayAll(s)
	if s.bare > s.synced || s.left {
		s.orphaned = true
	}
	s.synced = s.acked
	l.coverAll()
}

// coverAll makes the round under way cover all that was acknowledged until now. What it was
// to cover may have been on the lost session alone, with its copy cut by a newer write that
// another session answered: that one stands for it.
func (l *Ledger) coverAll() {
	if !l.round.active {
		return
	}
	for i := range l.slots {
		if s := &l.slots[i]; s.alive {
			s.target = max(s.target, s.acked)
		}
	}
}

// distrust makes answered but unacknowledged writes ready again.
func (l *Ledger) distrust(lost func(w *Write) bool) {
	for _, w := range l.out.writes {
		if w.state == answered && !w.Stable && lost(w) {
			l.again(w)
		}
	}
}

// CacheLost says that the device told of a loss of its cache: every copy is written
// again, on whatever session its write was answered, and every session must be
// synced again.
func (l *Ledger) CacheLost() {
	l.epoch++
	l.moves++
	l.distrust(func(*Write) bool { return true })
	for i := range l.slots {
		s := &l.slots[i]
		l.replayAll(s)
		if s.uncopied() {
			l.losses++
			s.orphaned, s.bare = s.left, 0
		}
		s.firm = s.loose
		s.synced = s.acked
		if s.alive {
			s.acked++
		}
		if l.round.active {
			s.target = max(s.target, s.acked)
		}
	}
}

// Epoch counts the losses of a cache that were seen. What was read before one of them and
// is answered after it may be what the cache fell back to.
func (l *Ledger) Epoch() uint64 { return l.epoch }

// Orphaned reports whether unstable writes without copies died with slot's session:
// flushes wait until its successor has answered a SYNC.
func (l *Ledger) Orphaned(slot int) bool { return l.slots[slot].orphaned && !l.slots[slot].alive }

// Orphans reports whether there is such a slot, or one whose successor is yet to be synced.
func (l *Ledger) Orphans() bool {
	for i := range l.slots {
		if l.slots[i].orphaned {
			return true
		}
	}
	return false
}

// Settled says that a successor of slot's session, which carries no I/O, has answered a
// SYNC.
func (l *Ledger) Settled(slot int) {
	s := &l.slots[slot]
	s.orphaned, s.left, s.firm = false, false, s.loose
}

// Bare reports whether acknowledged data of which there is no copy would count as lost if all
// sessions went now.
func (l *Ledger) Bare() bool {
	for i := range l.slots {
		if s := &l.slots[i]; s.uncopied() && s.ours() {
			return true
		}
	}
	return false
}

// Losses counts the events in which acknowledged data of which there was no copy
// was, or may have been, lost.
func (l *Ledger) Losses() uint64 { return l.losses }

// LostBefore counts a loss of which a former process told nobody.
func (l *Ledger) LostBefore() { l.losses++ }

// Lose counts the unstable writes without copies of a session that died together
// with all others as lost. What the target's cache still has of them is synced when the
// slot is up again, but no flush waits for that. It does wait for what a former process
// left, because who wrote that may not be there yet to be told.
func (l *Ledger) Lose(slot int) {
	s := &l.slots[slot]
	if !s.orphaned {
		return
	}
	if s.ours() {
		l.losses++
	}
	s.firm = s.loose
	if !s.left {
		s.orphaned, s.seen = false, false
	}
}

// Rest says whether the living session in slot is kept for later: it is never the drain
// path, but what it acknowledged is still made stable by a SYNC of its own.
func (l *Ledger) Rest(slot int, rests bool) {
	l.slots[slot].resting = rests
	l.inherit()
}

// Standby says that the session in slot, on which no write is out, cannot reach the
// device's cache any more, because the device lets others alone do that (asymmetric access).
// Its copies are written again on those. For what has no copy their next SYNCs stand: the
// cache is the logical unit's, and a device that moves it from one port to another keeps
// what is in it.
func (l *Ledger) Standby(slot int) {
	l.Lost(slot)
	l.Bequeath(slot)
}

// Bequeath says the same of a slot whose session is dead already, or has carried nothing.
func (l *Ledger) Bequeath(slot int) {
	s := &l.slots[slot]
	s.bequest = s.orphaned && !s.alive
	l.inherit()
}

// inherit lets the living sessions answer for what a session in standby left without a
// copy.
func (l *Ledger) inherit() {
	heirs := false
	for i := range l.slots {
		heirs = heirs || l.slots[i].alive && !l.slots[i].resting
	}
	for i := range l.slots {
		s := &l.slots[i]
		if !heirs || !s.bequest {
			continue
		}
		s.bequest, s.orphaned, s.left = false, false, false
		for j := range l.slots {
			h := &l.slots[j]
			if h.alive && !h.resting {
				l.Changed(j)
				l.round.heirs |= 1 << j
				h.loose += s.loose - s.firm // to the first of them
				s.firm = s.loose
			}
		}
		l.coverAll()
	}
}

// A Token stands for one SYNCHRONIZE CACHE that was sent.
type Token struct {
	Slot        int
	incarnation uint64
	epoch       uint64
	upTo        uint64
	loose       uint64
}

func (l *Ledger) beginSync(i int) Token {
	s := &l.slots[i]
	s.syncing = true
	return Token{Slot: i, incarnation: s.incarnation, epoch: l.epoch, upTo: s.acked,
		loose: s.loose}
}

// current reports whether t's session still is the one it was sent on.
func (l *Ledger) current(t Token) bool {
	return l.slots[t.Slot].alive && l.slots[t.Slot].incarnation == t.incarnation
}

// endSync counts a SYNC that was answered GOOD after everything sent before it on
// its session. One of an old incarnation, or from before a loss of cache, counts
// for nothing.
func (l *Ledger) endSync(t Token) {
	if !l.current(t) {
		return
	}
	s := &l.slots[t.Slot]
	s.syncing = false
	if t.epoch != l.epoch {
		return
	}
	s.synced, s.firm = max(s.synced, t.upTo), max(s.firm, t.loose)
	s.orphaned = s.orphaned && s.orphan > s.synced
	s.left = s.left && s.orphaned
	l.release(s, t.upTo)
}

// Unstable counts the bytes that were acknowledged and are not stable: those of copies, also
// of copies that are written again, and those without a copy, as often as they were written.
func (l *Ledger) Unstable() uint64 {
	n := l.kept.bytes()
	for i := range l.slots {
		n += l.slots[i].loose - l.slots[i].firm
	}
	return n
}
