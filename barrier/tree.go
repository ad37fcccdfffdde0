package barrier

// tree holds the kept writes in the order of their blocks; none overlap. It is
// a treap: a search tree whose nodes also form a heap by a pseudo-random priority,
// which keeps it balanced whatever the order of insertions.
type tree struct {
	root *Write
	seed uint32
	n    int
}

func (t *tree) insert(w *Write) {
	t.seed = xorshift(t.seed)
	w.prio, w.left, w.right = t.seed, nil, nil
	link := &t.root
	for *link != nil && (*link).prio >= w.prio {
		if w.Off < (*link).Off {
			link = &(*link).left
		} else {
			link = &(*link).right
		}
	}
	w.left, w.right = split(*link, w.Off)
	*link = w
	t.n++
}

// split parts a subtree into what lies below off and the rest.
func split(n *Write, off uint64) (low, high *Write) {
	lo, hi := &low, &high
	for n != nil {
		if n.Off < off {
			*lo, lo = n, &n.right
			n = n.right
		} else {
			*hi, hi = n, &n.left
			n = n.left
		}
	}
	*lo, *hi = nil, nil
	return low, high
}

func (t *tree) remove(w *Write) {
	link := &t.root
	for *link != w {
		if *link == nil {
			panic("barrier: write is not kept")
		}
		if w.Off < (*link).Off {
			link = &(*link).left
		} else {
			link = &(*link).right
		}
	}
	*link = merge(w.left, w.right)
	w.left, w.right = nil, nil
	t.n--
}

// merge joins two subtrees of which the first lies wholly below the second.
func merge(a, b *Write) *Write {
	var top *Write
	link := &top
	for a != nil && b != nil {
		if a.prio >= b.prio {
			*link, link = a, &a.right
			a = a.right
		} else {
			*link, link = b, &b.left
			b = b.left
		}
	}
	if a == nil {
		a = b
	}
	*link = a
	return top
}

// first returns the lowest write that overlaps [off, end), or nil.
func (t *tree) first(off, end uint64) *Write {
	var best *Write
	for n := t.root; n != nil; {
		if n.End > off {
			best = n
			n = n.left
		} else {
			n = n.right
		}
	}
	if best != nil && best.Off < end {
		return best
	}
	return nil
}

// bytes counts what a subtree covers.
func (w *Write) bytes() uint64 {
	if w == nil {
		return 0
	}
	return w.left.bytes() + w.End - w.Off + w.right.bytes()
}
