package target

import (
	"fmt"
	"math/bits"
)

// DefaultPageSize is the size in bytes of a page of RAM.
const DefaultPageSize = 64 << 10

const (
	minPageSize = 4 << 10
	maxPageSize = 1 << 20
	slabBytes   = 256 << 10 // pages are allocated in slabs of this many bytes
	dirEntries  = 4096      // pages per second-level table
)

// RAM is a sparse Store in memory. A page is allocated when it is first written.
//
// A page that is lent to a reader is never changed: a write to it goes to a copy
// that takes its place, so that data can be sent straight from the page without
// ever being torn.
type RAM struct {
	size     uint64
	pageSize uint64
	shift    uint
	dir      [][]*page
	free     []*page
	zeroes   []byte
	pages    int
}

type page struct {
	data []byte
	lent int  // how many readers hold it
	gone bool // another page took its place; free it when the last reader is done
}

// NewRAM returns an empty store of size bytes; all of it reads as zeroes.
// pageSize is a power of two from 4 KiB to 1 MiB, or 0 for DefaultPageSize.
func NewRAM(size uint64, pageSize int) (*RAM, error) {
	if pageSize == 0 {
		pageSize = DefaultPageSize
	}
	if pageSize < minPageSize || pageSize > maxPageSize || pageSize&(pageSize-1) != 0 {
		return nil, fmt.Errorf("target: page size %d is no power of two from %d to %d",
			pageSize, minPageSize, maxPageSize)
	}
	if size == 0 || size > 1<<50 {
		return nil, fmt.Errorf("target: size %d is out of range", size)
	}
	r := &RAM{
		size:     size,
		pageSize: uint64(pageSize),
		shift:    uint(bits.TrailingZeros(uint(pageSize))),
		zeroes:   make([]byte, pageSize),
	}
	count := (size + r.pageSize - 1) >> r.shift
	r.dir = make([][]*page, (count+dirEntries-1)/dirEntries)
	return r, nil
}

// Size is the capacity in bytes.
func (r *RAM) Size() uint64 { return r.size }

// Allocated is how many bytes of memory the written pages take.
func (r *RAM) Allocated() uint64 { return uint64(r.pages) * r.pageSize }

// Submit executes op at once.
func (r *RAM) Submit(op *Op) bool {
	op.Err = nil
	switch op.Kind {
	case OpRead:
		r.read(op.Data, op.Offset)
	case OpWrite:
		r.write(op.Data, op.Offset)
	case OpZero:
		r.zero(op.Offset, op.Length)
	}
	return true
}

func (r *RAM) at(index uint64) *page {
	table := r.dir[index/dirEntries]
	if table == nil {
		return nil
	}
	return table[index%dirEntries]
}

func (r *RAM) set(index uint64, p *page) {
	table := r.dir[index/dirEntries]
	if table == nil {
		table = make([]*page, dirEntries)
		r.dir[index/dirEntries] = table
	}
	table[index%dirEntries] = p
}

// span is the part of [off, off+n) that lies in off's page.
func (r *RAM) span(off, n uint64) (index, in, length uint64) {
	index, in = off>>r.shift, off&(r.pageSize-1)
	return index, in, min(n, r.pageSize-in)
}

func (r *RAM) read(dst []byte, off uint64) {
	for len(dst) > 0 {
		index, in, n := r.span(off, uint64(len(dst)))
		if p := r.at(index); p != nil {
			copy(dst[:n], p.data[in:])
		} else {
			clear(dst[:n])
		}
		dst, off = dst[n:], off+n
	}
}

func (r *RAM) write(src []byte, off uint64) {
	for len(src) > 0 {
		index, in, n := r.span(off, uint64(len(src)))
		copy(r.writable(index, n == r.pageSize).data[in:], src[:n])
		src, off = src[n:], off+n
	}
}

func (r *RAM) zero(off, length uint64) {
	for length > 0 {
		index, in, n := r.span(off, length)
		if p := r.at(index); p != nil {
			if n == r.pageSize {
				r.set(index, nil)
				r.retire(p)
			} else {
				clear(r.writable(index, false).data[in : in+n])
			}
		}
		off, length = off+n, length-n
	}
}

// writable returns the page at index, made or copied as need be. With whole the
// caller overwrites all of it.
func (r *RAM) writable(index uint64, whole bool) *page {
	old := r.at(index)
	if old != nil && old.lent == 0 {
		return old
	}
	p := r.take()
	switch {
	case whole:
	case old != nil:
		copy(p.data, old.data)
	default:
		clear(p.data)
	}
	r.set(index, p)
	if old != nil {
		r.retire(old)
	}
	return p
}

func (r *RAM) take() *page {
	if len(r.free) == 0 {
		r.grow()
	}
	p := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.pages++
	return p
}

func (r *RAM) grow() {
	n := max(slabBytes>>r.shift, 1)
	slab := make([]byte, n<<r.shift)
	pages := make([]page, n)
	for i := range pages {
		pages[i].data = slab[i<<r.shift : (i+1)<<r.shift : (i+1)<<r.shift]
		r.free = append(r.free, &pages[i])
	}
}

// retire takes a page that is no longer in the table back, now or when its last
// reader is done.
func (r *RAM) retire(p *page) {
	if p.lent > 0 {
		p.gone = true
		return
	}
	p.gone = false
	r.pages--
	r.free = append(r.free, p)
}

func (r *RAM) lend(off uint64, n int) ([]byte, *page) {
	index, in, length := r.span(off, uint64(n))
	p := r.at(index)
	if p == nil {
		return r.zeroes[:length], nil
	}
	p.lent++
	return p.data[in : in+length], p
}

func (r *RAM) giveBack(p *page) {
	if p.lent--; p.lent < 0 {
		panic("target: page given back twice")
	}
	if p.lent == 0 && p.gone {
		r.retire(p)
	}
}

func (r *RAM) extent(off uint64) (mapped bool, n uint64) {
	const most = 1 << 16 // pages looked at
	index := off >> r.shift
	mapped = r.at(index) != nil
	end := (r.size + r.pageSize - 1) >> r.shift
	next := index + 1
	for next < end && next < index+most && (r.at(next) != nil) == mapped {
		next++
	}
	return mapped, min(next<<r.shift, r.size) - off
}
