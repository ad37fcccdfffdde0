package barrier

// copyFrom makes w a deep copy of o. What is never changed, such as the bytes of data,
// is shared.
func (w *world) copyFrom(o *world) {
	l, c, own, pairs := w.l, w.c, w.flush, w.pairs[:0]
	*w = *o
	w.l, w.c, w.flush, w.pairs = l, c, own, pairs
	*w.flush = *o.flush
	w.cmds = append(w.cmdsBuf[:0], o.cmds...)
	m := cloner{from: o.l, to: w.l, writes: pairs}
	m.ledger()
	for i := range w.cmds {
		w.cmds[i].w = m.clone(w.cmds[i].w)
	}
	w.pairs = m.writes
	*w.c = *o.c
	w.c.l = w.l
	w.c.current, w.c.next, w.c.done = ownFlushes(w, o.c.current), ownFlushes(w, o.c.next), flushes{}
}

// ownFlushes is a queue of w's own flushes that is like q.
func ownFlushes(w *world, q flushes) (r flushes) {
	for f := q.head; f != nil; f = f.next {
		r.push(&w.flush[f.Owner.(int)])
	}
	return r
}

type writePair struct{ old, new *Write }

type bufferPair struct{ old, new *Buffer }

type cloner struct {
	from, to *Ledger
	writes   []writePair
	buffers  [8]bufferPair
	n        int
}

func (m *cloner) ledger() {
	f, t := m.from, m.to
	outs := t.out.writes[:0]
	copies := t.kept
	for len(copies.list) > 0 {
		copies.remove(copies.list[0].w[0])
	}
	*t = *f
	t.out.writes, t.acked, t.released = outs, nil, nil
	t.freeWrites, t.freeBuffers = nil, nil
	for _, w := range f.out.writes {
		t.out.writes = append(t.out.writes, m.clone(w))
	}
	m.list(&f.waiting, &t.waiting)
	t.waits = waiters{seed: f.waits.seed, last: f.waits.last}
	for w := t.waiting.head; w != nil; w = w.next {
		t.waits.put(w)
	}
	m.list(&f.ready, &t.ready)
	m.list(&f.pending, &t.pending)
	m.list(&f.failed, &t.failed)
	for i := range mSlots {
		m.list(&f.slots[i].kept, &t.slots[i].kept)
	}
	t.kept = copies
	for _, r := range f.kept.list {
		for _, w := range r.w[:r.n] {
			t.kept.insert(m.clone(w))
		}
	}
}

func (m *cloner) list(f, t *list) {
	*t = list{}
	for w := f.head; w != nil; w = w.next {
		t.push(m.clone(w))
	}
}

func (m *cloner) clone(w *Write) *Write {
	if w == nil {
		return nil
	}
	for _, p := range m.writes {
		if p.old == w {
			return p.new
		}
	}
	i := len(m.writes)
	var c *Write
	if i < cap(m.writes) {
		m.writes = m.writes[:i+1]
		c = m.writes[i].new
	} else {
		m.writes = append(m.writes, writePair{})
	}
	if c == nil {
		c = new(Write)
	}
	*c = *w
	c.in, c.prev, c.next = nil, nil, nil
	if w.buf != nil {
		c.buf = m.buffer(w.buf)
	}
	m.writes[i] = writePair{w, c}
	return c
}

func (m *cloner) buffer(b *Buffer) *Buffer {
	for _, p := range m.buffers[:m.n] {
		if p.old == b {
			return p.new
		}
	}
	c := &Buffer{mem: b.mem, refs: b.refs}
	m.buffers[m.n] = bufferPair{b, c}
	m.n++
	return c
}
