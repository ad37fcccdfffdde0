package barrier

// MaxSlots is how many sessions a ledger can tell apart.
const MaxSlots = 64

// Kind says what a write puts in its blocks.
type Kind uint8

// Kinds of writes. Zero and Trim carry no data; their copies are ranges.
const (
	Data Kind = iota
	Zero
	Trim
)

type state uint8

//	idle -> waiting -> ready -> out -> answered -> idle (not kept) or kept
//	                     ^       |        |
//	                     +-------+--------+  outcome unknown, answer not trusted
//	kept -> pending -> (waiting) -> ready ...   written again
//
// abandoned: nobody waits for it any more, but a lost session may yet execute it.
const (
	idle state = iota
	waiting
	ready
	out
	answered
	kept
	pending
	abandoned
)

// A Write is one command that changes blocks: WRITE, WRITE SAME or UNMAP. The
// ledger makes them (New), and takes them back when they are over.
type Write struct {
	Off, End uint64 // the bytes [Off, End) of the device
	Kind     Kind
	NoUnmap  bool   // Zero: the blocks must stay allocated
	Data     []byte // Kind Data: End-Off bytes

	// Stable says that a GOOD answer means stable storage (FUA).
	Stable bool
	// Keep says that a copy is to be kept until a flush covers it.
	Keep bool
	// Replay says that it was acknowledged before and is written again.
	Replay bool
	// Owner is who waits for the acknowledgement; nil for a replay, and after
	// the ledger has taken the write over.
	Owner any

	buf   *Buffer
	state state

	at      int    // slot that it is out on, or that answered it
	epoch   uint64 // cache epoch in which it was sent
	number  uint64 // its answer's number on that slot
	round   uint64 // flush round in which it was sent
	unknown uint64 // slots that may yet execute it, as bits
	dropped bool   // a copy under way that must not be sent any more

	in         *list // the queue that prev and next belong to
	prev, next *Write

	wait place // of those that wait
}

// Slot is the session that the write is out on, or that answered it last.
func (w *Write) Slot() int { return w.at }

// Doubtful reports whether a lost session may yet execute the write.
func (w *Write) Doubtful() bool { return w.unknown != 0 }

// Dropped reports whether a write that Ready gave out must not be sent any more: it is a
// copy that was forgotten meanwhile. It is to be given back by Discard.
func (w *Write) Dropped() bool { return w.dropped }

func (w *Write) overlaps(off, end uint64) bool { return w.Off < end && off < w.End }

// A Buffer is one piece of memory that several writes have parts of. It goes back
// to where it came from when none of them needs it any more.
type Buffer struct {
	mem  []byte
	refs int
	next *Buffer
}

// list is a queue of writes; a write is in at most one.
type list struct {
	head, tail *Write
	n          int
}

func (q *list) push(w *Write) { q.insertAfter(q.tail, w) }

// insertAfter puts w behind p, or first if p is nil.
func (q *list) insertAfter(p, w *Write) {
	if w.in != nil {
		panic("barrier: write is in a queue already")
	}
	w.in, w.prev = q, p
	if p != nil {
		w.next = p.next
		p.next = w
	} else {
		w.next = q.head
		q.head = w
	}
	if w.next != nil {
		w.next.prev = w
	} else {
		q.tail = w
	}
	q.n++
}

func (q *list) remove(w *Write) {
	if w.in != q {
		panic("barrier: write is not in that queue")
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.in, w.prev, w.next = nil, nil, nil
	q.n--
}

func (q *list) pop() *Write {
	w := q.head
	if w != nil {
		q.remove(w)
	}
	return w
}
