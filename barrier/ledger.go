package barrier

// maxReplays is how many copies are written again at a time. It bounds the index
// and leaves room for the clients' own requests.
const maxReplays = 64

// A Ledger knows every write that is out, doubtful, or acknowledged but not known
// to be stable. Sessions are told apart by slot numbers below MaxSlots. Methods
// panic when they are called against the life of a write: that is the caller's
// bug. Not for concurrent use.
type Ledger struct {
	slots   [MaxSlots]slot
	out     index // ready, out, answered and abandoned writes
	waiting list  // an earlier write has some of their blocks; in order
	waits   waiters
	ready   list // may be sent now
	pending list // copies to write again, not yet admitted
	failed  list // copies that the device refused to take again
	kept    runs // every write of which a copy is kept

	acked    []any // owners whose writes were acknowledged
	ackedAt  int
	released [][]byte

	epoch    uint64 // how many losses of a cache were seen
	losses   uint64 // how often acknowledged data without a copy was lost
	moves    uint64 // how often unstable data left the session that answered it
	replays  int    // kept writes on their way to be written again
	inAir    int    // of those, the admitted ones
	replayed uint64 // how many replays were ever begun
	bytes    uint64 // of data that were ever written again
	doubts   uint64 // writes of which a lost session may have left the outcome open

	round struct {
		id     uint64
		active bool
		heirs  uint64 // slots that took over what others were to be synced for, as bits
	}

	limit, used uint64
	freeWrites  *Write
	freeBuffers *Buffer
}

// NewLedger returns a ledger that keeps copies of at most limit bytes.
func NewLedger(limit uint64) *Ledger { return &Ledger{limit: limit} }

// New returns an idle write to be filled in and given to Begin.
func (l *Ledger) New() *Write {
	w := l.freeWrites
	if w == nil {
		return &Write{at: -1}
	}
	l.freeWrites = w.next
	w.next = nil
	return w
}

func (l *Ledger) free(w *Write) {
	if w.in != nil {
		panic("barrier: a write is freed while it is in a queue")
	}
	l.drop(w)
	*w = Write{at: -1, next: l.freeWrites}
	l.freeWrites = w
}

// Begin enters a write. It becomes ready at once, or when the earlier writes to
// its blocks are over.
func (l *Ledger) Begin(w *Write) {
	if w.state != idle || w.End <= w.Off {
		panic("barrier: begin of a write that is under way or empty")
	}
	l.enter(w)
}

func (l *Ledger) enter(w *Write) {
	// Writes to a block go out in the order in which they came.
	if l.out.overlaps(w.Off, w.End) || l.waits.first(w.Off, w.End) != nil {
		w.state = waiting
		l.waiting.push(w)
		l.waits.add(w)
		return
	}
	l.makeReady(w)
}

// unwait takes a write out of those that wait.
func (l *Ledger) unwait(w *Write) {
	l.waiting.remove(w)
	l.waits.remove(w)
}

func (l *Ledger) makeReady(w *Write) {
	l.out.insert(w)
	w.state = ready
	l.ready.push(w)
}

// mayGo reports whether nothing is in the way of a write that waits.
func (l *Ledger) mayGo(w *Write) bool {
	return !l.out.overlaps(w.Off, w.End) && l.waits.first(w.Off, w.End) == w
}

// admit makes ready what waited for the blocks [off, end), which have become free. Of the
// writes that want a block only the first can go, whatever may be in its way elsewhere.
func (l *Ledger) admit(off, end uint64) {
	for off < end {
		w := l.waits.first(off, end)
		if w == nil {
			return
		}
		if l.mayGo(w) {
			l.unwait(w)
			l.makeReady(w)
		}
		l.admit(off, min(w.Off, end))
		off = w.End
	}
}

// admitAll makes ready what waited for any blocks.
func (l *Ledger) admitAll() {
	for w := l.waiting.head; w != nil; {
		next := w.next
		if l.mayGo(w) {
			l.unwait(w)
			l.makeReady(w)
		}
		w = next
	}
}

// Ready hands out the next write that may be sent, nil if there is none. It may be
// a new one, one whose outcome is unknown and that is sent again, or a copy that
// is written again (Replay, without an owner).
func (l *Ledger) Ready() *Write {
	for l.inAir < maxReplays && l.pending.n > 0 {
		w := l.pending.pop()
		l.inAir++
		l.enter(w)
	}
	return l.ready.pop()
}

// Sent says that a ready write is handed to the session in slot.
func (l *Ledger) Sent(w *Write, slot int) {
	if w.state != ready || w.in != nil {
		panic("barrier: a write is sent that is not ready")
	}
	w.state, w.at = out, slot
	w.epoch, w.round = l.epoch, l.round.id
	l.slots[slot].out++
}

// landed takes a write off the session it was out on.
func (l *Ledger) landed(w *Write) *slot {
	if w.state != out {
		panic("barrier: an answer to a write that is not out")
	}
	s := &l.slots[w.at]
	s.out--
	if l.round.active && w.round < l.round.id && s.older > 0 {
		s.older--
	}
	return s
}

// Answered says that the device answered GOOD. The write is acknowledged as soon
// as no lost session may execute it any more.
//
// An answer to a write that was sent before a loss of cache was seen says nothing
// about that cache: unless it is stable, the write is sent again.
func (l *Ledger) Answered(w *Write) {
	s := l.landed(w)
	if w.dropped {
		l.again(w)
		return
	}
	if !w.Stable {
		if w.epoch != l.epoch || !s.alive {
			l.again(w)
			return
		}
		s.acked++
		w.number = s.acked
	}
	w.state = answered
	if w.unknown == 0 {
		l.admit(l.acknowledge(w))
	}
}

// Unknown says that the session was lost before an answer came. If sent, a byte of
// the command may have left, and the write is doubtful until the slot is fenced. It
// is ready again at once.
func (l *Ledger) Unknown(w *Write, sent bool) {
	l.landed(w)
	if sent {
		w.unknown |= 1 << w.at
		l.doubts++
	}
	l.again(w)
}

// Again says that the device refused the write for a reason that passes: it is
// ready again.
func (l *Ledger) Again(w *Write) {
	l.landed(w)
	l.again(w)
}

func (l *Ledger) again(w *Write) {
	w.state, w.at = ready, -1
	if w.dropped {
		l.Discard(w)
		return
	}
	l.ready.push(w)
}

// Refused says that the device refused the write for good. The owner is not told;
// the ledger takes the write over. A refused copy makes flushes fail until it can
// be written.
func (l *Ledger) Refused(w *Write) {
	l.landed(w)
	if w.dropped {
		l.again(w)
		return
	}
	if w.Replay {
		l.out.remove(w)
		if w.unknown != 0 {
			l.haunt(w)
		}
		l.replays--
		l.inAir--
		w.state, w.at, w.unknown, w.Replay = kept, -1, 0, false
		l.failed.push(w)
		l.admit(w.Off, w.End)
		return
	}
	l.abandon(w)
}

// haunt keeps the blocks of w closed to others while a lost session may yet execute
// w, although w itself is out no more.
func (l *Ledger) haunt(w *Write) {
	g := l.New()
	g.Off, g.End, g.unknown, g.state = w.Off, w.End, w.unknown, abandoned
	l.out.insert(g)
}

// Abandon says that nobody waits for a write any more that is not out: its owner
// was given an error by policy. What a lost session may yet execute of it still
// keeps other writes from its blocks. It must not be called for a Replay.
func (l *Ledger) Abandon(w *Write) {
	switch {
	case w.Replay || w.state == out || w.state == kept || w.state == idle:
		panic("barrier: a write is abandoned that is out or acknowledged")
	case w.state == waiting:
		off, end := w.Off, w.End
		l.unwait(w)
		l.free(w)
		l.admit(off, end)
		return
	case w.in != nil:
		w.in.remove(w)
	}
	l.abandon(w)
}

func (l *Ledger) abandon(w *Write) {
	w.Owner = nil
	if w.unknown != 0 {
		w.state = abandoned
		l.drop(w)
		return
	}
	off, end := w.Off, w.End
	l.out.remove(w)
	l.free(w)
	l.admit(off, end)
}

// Fenced says that the lost session in slot can execute nothing any more.
func (l *Ledger) Fenced(slot int) {
	for i := 0; i < len(l.out.writes); {
		w := l.out.writes[i]
		w.unknown &^= 1 << slot
		switch {
		case w.unknown != 0:
			i++
		case w.state == answered:
			l.acknowledge(w)
		case w.state == abandoned:
			l.out.remove(w)
			l.free(w)
		default:
			i++
		}
	}
	l.admitAll()
}

// acknowledge ends the way of an answered write: it is stable, or kept, or counted
// as acknowledged without a copy. It tells which blocks are free for those that wait.
func (l *Ledger) acknowledge(w *Write) (off, end uint64) {
	s := &l.slots[w.at]
	off, end = w.Off, w.End
	replaying, copied := false, w.Replay
	l.out.remove(w)
	if copied {
		l.replays--
		l.inAir--
		w.Replay = false
		if l.round.active && !w.Stable {
			s.target = max(s.target, w.number)
		}
	} else if replaying, off, end = l.cut(off, end); replaying && l.round.active && !w.Stable {
		// The flush under way waits for a copy that is cut: w stands for it now.
		s.target = max(s.target, w.number)
	}
	if w.Owner != nil {
		l.acked = append(l.acked, w.Owner)
		w.Owner = nil
	}
	switch {
	case w.Stable || w.number <= s.synced:
		if copied {
			l.kept.remove(w)
		}
		l.free(w)
	case w.Keep:
		if !copied {
			l.kept.insert(w)
		}
		l.keep(w, s)
	default:
		s.bare = max(s.bare, w.number)
		s.loose += w.End - w.Off
		l.free(w)
	}
	return off, end
}

// Acknowledged returns the owner of the next write that was acknowledged, or nil.
func (l *Ledger) Acknowledged() any {
	if l.ackedAt == len(l.acked) {
		l.acked, l.ackedAt = l.acked[:0], 0
		return nil
	}
	o := l.acked[l.ackedAt]
	l.acked[l.ackedAt] = nil
	l.ackedAt++
	return o
}

// Unanswered returns the writes that have an owner and are not out: those that wait, and
// those that a living session answered while a lost one may yet execute them. Writes that
// Ready gave out are not among them.
func (l *Ledger) Unanswered() []*Write {
	var list []*Write
	for w := l.waiting.head; w != nil; w = w.next {
		if w.Owner != nil {
			list = append(list, w)
		}
	}
	for _, w := range l.out.writes {
		if w.Owner != nil && (w.state == answered || w.state == ready && w.in == &l.ready) {
			list = append(list, w)
		}
	}
	return list
}

// Resent counts the writes that ever were doubtful, and so were sent again.
func (l *Ledger) Resent() uint64 { return l.doubts }

// Doubtful counts the writes that a lost session may yet execute; only those of
// one slot if slot is not negative.
func (l *Ledger) Doubtful(slot int) int {
	n := 0
	for _, w := range l.out.writes {
		if w.unknown != 0 && (slot < 0 || w.unknown&(1<<slot) != 0) {
			n++
		}
	}
	return n
}
