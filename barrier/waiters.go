package barrier

// waiters are the writes that wait for blocks, found by their blocks and in the order in
// which they came. It is a treap by the beginning of the writes, which may overlap; every
// node knows how far the writes below it reach and which of them came first.
type waiters struct {
	root *Write
	seed uint32
	last uint64 // the order of the one that came last
}

// A place is a write's node in the tree of those that wait.
type place struct {
	left, right *Write
	prio        uint32
	order       uint64
	end         uint64 // most of End in the subtree
	first       uint64 // least of order
}

// add enters a write that comes now.
func (t *waiters) add(w *Write) {
	t.last++
	w.wait.order = t.last
	t.put(w)
}

// put enters a write in the order that it has.
func (t *waiters) put(w *Write) {
	t.seed = xorshift(t.seed)
	w.wait = place{prio: t.seed, order: w.wait.order}
	t.root = putBelow(t.root, w)
}

func (w *Write) before(v *Write) bool {
	return w.Off < v.Off || w.Off == v.Off && w.wait.order < v.wait.order
}

func putBelow(n, w *Write) *Write {
	switch {
	case n == nil:
		w.sum()
		return w
	case w.wait.prio > n.wait.prio:
		w.wait.left, w.wait.right = parted(n, w)
		w.sum()
		return w
	case w.before(n):
		n.wait.left = putBelow(n.wait.left, w)
	default:
		n.wait.right = putBelow(n.wait.right, w)
	}
	n.sum()
	return n
}

// parted parts a subtree into what lies before w and the rest.
func parted(n, w *Write) (low, high *Write) {
	switch {
	case n == nil:
		return nil, nil
	case n.before(w):
		n.wait.right, high = parted(n.wait.right, w)
		low = n
	default:
		low, n.wait.left = parted(n.wait.left, w)
		high = n
	}
	n.sum()
	return low, high
}

// remove takes a write out. Its Off must be what it was when it came.
func (t *waiters) remove(w *Write) { t.root = removeBelow(t.root, w) }

func removeBelow(n, w *Write) *Write {
	switch {
	case n == nil:
		panic("barrier: write does not wait")
	case n == w:
		return joined(w.wait.left, w.wait.right)
	case w.before(n):
		n.wait.left = removeBelow(n.wait.left, w)
	default:
		n.wait.right = removeBelow(n.wait.right, w)
	}
	n.sum()
	return n
}

// joined joins two subtrees of which the first lies before the second.
func joined(a, b *Write) *Write {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.wait.prio >= b.wait.prio:
		a.wait.right = joined(a.wait.right, b)
		a.sum()
		return a
	}
	b.wait.left = joined(a, b.wait.left)
	b.sum()
	return b
}

// sum takes together what a node knows of its subtree.
func (w *Write) sum() {
	p := &w.wait
	p.end, p.first = w.End, p.order
	for _, c := range [...]*Write{p.left, p.right} {
		if c != nil {
			p.end, p.first = max(p.end, c.wait.end), min(p.first, c.wait.first)
		}
	}
}

// first is the write that came first of those with some of the blocks [off, end), nil if
// there is none.
func (t *waiters) first(off, end uint64) *Write { return firstBelow(t.root, off, end, nil) }

func firstBelow(n *Write, off, end uint64, best *Write) *Write {
	for n != nil && n.wait.end > off && (best == nil || n.wait.first < best.wait.order) {
		best = firstBelow(n.wait.left, off, end, best)
		if n.Off >= end {
			break
		}
		if n.End > off && (best == nil || n.wait.order < best.wait.order) {
			best = n
		}
		n = n.wait.right
	}
	return best
}

// xorshift is the next of a pseudo-random sequence: deterministic, so that one run is like
// another.
func xorshift(x uint32) uint32 {
	if x == 0 {
		x = 2463534242
	}
	x ^= x << 13
	x ^= x >> 17
	x ^= x << 5
	return x
}
