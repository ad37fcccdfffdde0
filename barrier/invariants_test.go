package barrier

import "fmt"

// checkInvariants looks for contradictions in a ledger's state.
func checkInvariants(l *Ledger) error {
	clear(seenBuffers)
	clear(seenWrites)
	c := invariants{l: l, buffers: seenBuffers, seen: seenWrites}
	c.queue("ready", &l.ready, ready)
	c.queue("waiting", &l.waiting, waiting)
	c.queue("pending", &l.pending, pending)
	c.queue("failed", &l.failed, kept)
	for i := range l.slots {
		c.slot(i)
	}
	c.index()
	c.runs()
	c.counts()
	return c.err
}

// Maps that are used again: the check is made after every call.
var (
	seenBuffers = map[*Buffer]int{}
	seenWrites  = map[*Write]bool{}
)

type invariants struct {
	l       *Ledger
	seen    map[*Write]bool
	buffers map[*Buffer]int
	used    uint64
	replays int
	inAir   int
	err     error
}

func (c *invariants) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// note counts a live write once.
func (c *invariants) note(w *Write) {
	if c.seen[w] {
		return
	}
	c.seen[w] = true
	if w.End <= w.Off {
		c.fail("write [%d, %d) is empty", w.Off, w.End)
	}
	if w.Kind == Data && w.state != abandoned && uint64(len(w.Data)) != w.End-w.Off {
		c.fail("write [%d, %d) has %d bytes", w.Off, w.End, len(w.Data))
	}
	switch {
	case w.buf != nil:
		c.buffers[w.buf]++
	case w.Keep && w.Kind != Data:
		c.used += rangeCharge
	}
	if w.Replay {
		c.replays++
		if w.state != pending {
			c.inAir++
		}
		if w.Owner != nil {
			c.fail("a copy has an owner")
		}
	}
}

func (c *invariants) queue(name string, q *list, want state) {
	n := 0
	var prev *Write
	for w := q.head; w != nil; w = w.next {
		if w.in != q || w.prev != prev || w.state != want {
			c.fail("%s: write [%d, %d) in state %d is linked wrongly", name, w.Off, w.End, w.state)
			return
		}
		c.note(w)
		prev = w
		n++
	}
	if n != q.n || q.tail != prev {
		c.fail("%s counts %d, has %d", name, q.n, n)
	}
}

func (c *invariants) slot(i int) {
	s := &c.l.slots[i]
	c.queue("kept", &s.kept, kept)
	last := uint64(0)
	for w := s.kept.head; w != nil; w = w.next {
		if w.number < last || w.number <= s.synced || w.number > s.acked || w.at != i {
			c.fail("slot %d: copy numbered %d after %d, synced %d, acked %d, at %d",
				i, w.number, last, s.synced, s.acked, w.at)
		}
		last = w.number
	}
	switch {
	case s.synced > s.acked:
		c.fail("slot %d: synced %d of %d", i, s.synced, s.acked)
	case s.bare > s.acked:
		c.fail("slot %d: bare %d of %d", i, s.bare, s.acked)
	case s.out < 0 || s.older < 0 || c.l.round.active && s.older > s.out:
		c.fail("slot %d: %d out, %d older", i, s.out, s.older)
	case !s.alive && s.kept.n > 0:
		c.fail("slot %d: dead, and copies rest under it", i)
	case !s.alive && s.syncing:
		c.fail("slot %d: dead, and a SYNC is out", i)
	}
}

func (c *invariants) index() {
	end := uint64(0)
	var count [MaxSlots]int
	for _, w := range c.l.out.writes {
		if w.Off < end {
			c.fail("two writes to block %d are out", w.Off)
		}
		end = w.End
		switch w.state {
		case out:
			count[w.at]++
		case ready:
		case answered, abandoned:
			if w.unknown == 0 {
				c.fail("write [%d, %d) in state %d without a doubt", w.Off, w.End, w.state)
			}
		default:
			c.fail("write [%d, %d) in state %d is out", w.Off, w.End, w.state)
		}
		c.note(w)
	}
	for i, n := range count {
		if n != c.l.slots[i].out {
			c.fail("slot %d counts %d out, has %d", i, c.l.slots[i].out, n)
		}
	}
	for w := c.l.waiting.head; w != nil; w = w.next {
		if !c.l.out.overlaps(w.Off, w.End) && !c.behindWaiter(w) {
			c.fail("write [%d, %d) waits for nothing", w.Off, w.End)
		}
	}
	if n := c.waiters(c.l.waits.root); n != c.l.waiting.n {
		c.fail("%d writes wait, %d in the tree", c.l.waiting.n, n)
	}
}

// behindWaiter reports whether a write that waits longer than w has some of its blocks.
func (c *invariants) behindWaiter(w *Write) bool {
	for v := c.l.waiting.head; v != nil && v != w; v = v.next {
		if v.overlaps(w.Off, w.End) {
			return true
		}
	}
	return false
}

// waiters checks the tree of those that wait, and counts them.
func (c *invariants) waiters(w *Write) int {
	if w == nil {
		return 0
	}
	if w.in != &c.l.waiting {
		c.fail("write [%d, %d) is among those that wait", w.Off, w.End)
	}
	was := w.wait
	for i, child := range []*Write{was.left, was.right} {
		if child != nil && (child.wait.prio > was.prio || child.before(w) != (i == 0)) {
			c.fail("the tree of those that wait is out of order")
		}
	}
	if w.sum(); w.wait != was {
		c.fail("write [%d, %d) does not know what waits below it", w.Off, w.End)
	}
	return 1 + c.waiters(was.left) + c.waiters(was.right)
}

func (c *invariants) runs() {
	n, end := 0, uint64(0)
	k := &c.l.kept
	for i, r := range k.list {
		if r.n == 0 || i == 0 && k.above[0] != 0 {
			c.fail("run %d has %d writes behind %d", i, r.n, k.above[i])
		}
		for j, w := range r.w[:r.n] {
			n++
			if w.Off < end {
				c.fail("two copies of block %d", w.Off)
			}
			end = w.End
			if r.off[j] != w.Off || r.end[j] != w.End || w.End <= k.above[i] ||
				i+1 < len(k.above) && w.End > k.above[i+1] {
				c.fail("copy [%d, %d) stands in the wrong place", w.Off, w.End)
			}
			if !c.seen[w] || w.state != kept && !w.Replay {
				c.fail("copy [%d, %d) in state %d is nowhere else", w.Off, w.End, w.state)
			}
		}
	}
	if n != k.n || len(k.list) != len(k.above) {
		c.fail("%d copies counted, %d are there", k.n, n)
	}
}

func (c *invariants) counts() {
	for b, n := range c.buffers {
		if b.refs != n {
			c.fail("buffer counts %d references, has %d", b.refs, n)
		}
		c.used += uint64(cap(b.mem))
	}
	if c.used > c.l.used {
		c.fail("%d bytes are used, %d counted", c.used, c.l.used)
	}
	if c.replays != c.l.replays || c.inAir != c.l.inAir {
		c.fail("replays %d, in the air %d; counted %d, %d",
			c.replays, c.inAir, c.l.replays, c.l.inAir)
	}
}
