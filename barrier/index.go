package barrier

import "sort"

// index holds the writes that are out, in the order of their blocks. No two of
// them overlap: at most one write to a block is out at a time, whoever asked.
type index struct {
	writes []*Write
}

// from returns the place of the first write that ends behind off.
func (x *index) from(off uint64) int {
	return sort.Search(len(x.writes), func(i int) bool { return x.writes[i].End > off })
}

func (x *index) overlaps(off, end uint64) bool {
	i := x.from(off)
	return i < len(x.writes) && x.writes[i].Off < end
}

func (x *index) insert(w *Write) {
	i := x.from(w.Off)
	if i < len(x.writes) && x.writes[i].Off < w.End {
		panic("barrier: two writes to a block are out")
	}
	x.writes = append(x.writes, nil)
	copy(x.writes[i+1:], x.writes[i:])
	x.writes[i] = w
}

func (x *index) remove(w *Write) {
	i := x.from(w.Off)
	if i >= len(x.writes) || x.writes[i] != w {
		panic("barrier: write is not out")
	}
	last := len(x.writes) - 1
	copy(x.writes[i:], x.writes[i+1:])
	x.writes[last] = nil
	x.writes = x.writes[:last]
}
