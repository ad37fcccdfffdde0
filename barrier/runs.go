package barrier

import "slices"

// runSize is how many writes a run holds at most.
const runSize = 64

// runs holds the kept writes in the order of their blocks; none overlap. There may be hundreds
// of thousands, far more than the processor's caches hold, so a search must look at few places:
// it halves one array of keys, of which each stands for a run of writes, and then the run's.
type runs struct {
	list []*run // none is empty
	// above belongs to list: a run holds writes that end behind its key, and not behind the
	// key of the next run. The first key is 0.
	above []uint64
	n     int
	spare *run
}

type run struct {
	n        int
	off, end [runSize]uint64
	w        [runSize]*Write
	next     *run // of the spare ones
}

// find returns the place of the only run that can hold a write that ends at off+1. What ends
// behind off is there or in a later run. There must be a run.
func (t *runs) find(off uint64) int {
	i, _ := slices.BinarySearch(t.above, off+1)
	return i - 1
}

// from returns the place of the first write that ends behind off.
func (r *run) from(off uint64) int {
	i, _ := slices.BinarySearch(r.end[:r.n], off+1)
	return i
}

// first returns the lowest write that overlaps [off, end), or nil.
func (t *runs) first(off, end uint64) *Write {
	if len(t.list) == 0 {
		return nil
	}
	i := t.find(off)
	r := t.list[i]
	j := r.from(off)
	if j == r.n {
		if i++; i == len(t.list) {
			return nil
		}
		r, j = t.list[i], 0
	}
	if r.off[j] < end {
		return r.w[j]
	}
	return nil
}

func (t *runs) insert(w *Write) {
	if len(t.list) == 0 {
		t.open(0, 0)
	}
	i := t.find(w.End - 1)
	if t.list[i].n == runSize {
		t.split(i)
		i = t.find(w.End - 1)
	}
	r := t.list[i]
	j := r.from(w.Off)
	if j < r.n && r.off[j] < w.End {
		panic("barrier: two copies of a block are kept")
	}
	copy(r.off[j+1:r.n+1], r.off[j:r.n])
	copy(r.end[j+1:r.n+1], r.end[j:r.n])
	copy(r.w[j+1:r.n+1], r.w[j:r.n])
	r.off[j], r.end[j], r.w[j] = w.Off, w.End, w
	r.n++
	t.n++
}

func (t *runs) remove(w *Write) {
	if len(t.list) == 0 {
		panic("barrier: write is not kept")
	}
	i := t.find(w.End - 1)
	r := t.list[i]
	j := r.from(w.Off)
	if j == r.n || r.w[j] != w {
		panic("barrier: write is not kept")
	}
	copy(r.off[j:], r.off[j+1:r.n])
	copy(r.end[j:], r.end[j+1:r.n])
	copy(r.w[j:], r.w[j+1:r.n])
	r.n--
	r.w[r.n] = nil
	t.n--
	if r.n < runSize/4 {
		t.thin(i)
	}
}

// resize changes the blocks of a write that is kept.
func (t *runs) resize(w *Write, off, end uint64) {
	t.remove(w)
	w.Off, w.End = off, end
	t.insert(w)
}

// open makes room for an empty run at place i.
func (t *runs) open(i int, above uint64) *run {
	r := t.spare
	if r == nil {
		r = new(run)
	} else {
		t.spare, r.next = r.next, nil
	}
	t.list = slices.Insert(t.list, i, r)
	t.above = slices.Insert(t.above, i, above)
	return r
}

// split moves the upper half of a full run to a new one.
func (t *runs) split(i int) {
	const half = runSize / 2
	r := t.list[i]
	t.open(i+1, r.end[half-1]).take(r, half)
}

// take moves all from place j of o on to the end of r.
func (r *run) take(o *run, j int) {
	copy(r.off[r.n:], o.off[j:o.n])
	copy(r.end[r.n:], o.end[j:o.n])
	copy(r.w[r.n:], o.w[j:o.n])
	r.n += o.n - j
	clear(o.w[j:o.n])
	o.n = j
}

// thin ends a run with few writes if it is empty or a neighbour has room for twice as many.
func (t *runs) thin(i int) {
	n := t.list[i].n
	switch {
	case n == 0:
		t.close(i)
	case i > 0 && t.list[i-1].n+n <= runSize/2:
		t.list[i-1].take(t.list[i], 0)
		t.close(i)
	case i+1 < len(t.list) && t.list[i+1].n+n <= runSize/2:
		t.list[i].take(t.list[i+1], 0)
		t.close(i + 1)
	}
}

// close takes out the empty run at place i.
func (t *runs) close(i int) {
	r := t.list[i]
	r.next, t.spare = t.spare, r
	t.list = slices.Delete(t.list, i, i+1)
	t.above = slices.Delete(t.above, i, i+1)
	if i == 0 && len(t.above) > 0 {
		t.above[0] = 0
	}
}

// bytes counts what the kept writes cover.
func (t *runs) bytes() uint64 {
	n := uint64(0)
	for _, r := range t.list {
		for j := range r.n {
			n += r.end[j] - r.off[j]
		}
	}
	return n
}
