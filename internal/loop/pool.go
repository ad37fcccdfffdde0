package loop

import (
	"fmt"
	"math/bits"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// MinBuffer and MaxBuffer are the smallest and the largest class of a Pool;
	// the classes are the powers of two between them.
	MinBuffer = 4 << 10
	MaxBuffer = 256 << 10

	classes       = 7 // MinBuffer<<(classes-1) == MaxBuffer
	pagesPerBlock = MaxBuffer / MinBuffer
)

// A Pool gives out payload buffers from one mapping outside the Go heap: the
// collector neither scans nor counts it, and its size is fixed at the start. The
// kernel backs a page when it is first written (MAP_NORESERVE), a huge one where it
// can, so an idle device costs little.
//
// The mapping is a row of blocks of MaxBuffer bytes, each split buddy-wise. A
// block is split only when no free piece of a split one is large enough, and is
// whole again as soon as its last piece is back; thus small buffers gather in
// few blocks. The pool is for one goroutine.
type Pool struct {
	region []byte
	pages  []page
	free   [classes]int32 // heads of the lists of free pieces, -1 for none
	inUse  int64
}

// page describes the piece that begins at a page; of the others the state is
// inside.
type page struct {
	state      uint8
	class      uint8
	next, prev int32 // free list, -1 at its ends
}

const (
	inside uint8 = iota
	pieceFree
	pieceUsed
)

// NewPool maps size bytes, rounded down to whole blocks of MaxBuffer; at least one.
func NewPool(size int64) (*Pool, error) {
	blocks := size / MaxBuffer
	if blocks < 1 || blocks*pagesPerBlock > 1<<30 {
		return nil, fmt.Errorf("buffer pool of %d bytes: from %d to %d are possible",
			size, MaxBuffer, int64(MinBuffer)<<30)
	}
	region, err := unix.Mmap(-1, 0, int(blocks*MaxBuffer), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_NORESERVE|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("buffer pool of %d bytes: %w", size, os.NewSyscallError("mmap", err))
	}
	// Copies between sockets and huge pages are cheaper, and so is their first use. Where
	// the kernel has none, or must not use them, nothing is lost.
	unix.Madvise(region, unix.MADV_HUGEPAGE)
	p := &Pool{region: region, pages: make([]page, blocks*pagesPerBlock)}
	for c := range p.free {
		p.free[c] = -1
	}
	for b := blocks - 1; b >= 0; b-- { // so that the first block is first out
		p.push(int32(b*pagesPerBlock), classes-1)
	}
	return p, nil
}

// Close unmaps the pool. Nothing given out may be touched any more.
func (p *Pool) Close() error {
	region := p.region
	*p = Pool{}
	return os.NewSyscallError("munmap", unix.Munmap(region))
}

// InUse is how many bytes are given out, in whole classes; Free is the rest,
// which need not lie together.
func (p *Pool) InUse() int64 { return p.inUse }

// Free is what is not given out.
func (p *Pool) Free() int64 { return int64(len(p.region)) - p.inUse }

// Size is how many bytes the pool has.
func (p *Pool) Size() int64 { return int64(len(p.region)) }

// Get gives out a buffer of length n and the capacity of its class, or nil if
// the pool has no room for it now. What is in it is undefined. A request for
// more than MaxBuffer can never be met and is a mistake of the caller.
func (p *Pool) Get(n int) []byte {
	if n < 0 || n > MaxBuffer {
		panic(fmt.Sprintf("loop: pool buffer of %d bytes", n))
	}
	want := classOf(n)
	c := want
	for c < classes && p.free[c] < 0 {
		c++
	}
	if c == classes {
		return nil
	}
	at := p.free[c]
	p.unlink(at)
	for c > want {
		c--
		p.push(at+1<<c, uint8(c)) // the upper half stays free
	}
	p.pages[at].state = pieceUsed
	p.pages[at].class = uint8(want)
	size := MinBuffer << want
	p.inUse += int64(size)
	off := int(at) * MinBuffer
	return p.region[off : off+n : off+size]
}

func classOf(n int) int {
	if n <= MinBuffer {
		return 0
	}
	return bits.Len(uint(n-1)) - bits.Len(uint(MinBuffer-1))
}

// Put takes back a buffer that Get gave out; its length does not matter, its
// beginning does. One that is not out is a mistake of the caller.
func (p *Pool) Put(b []byte) {
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) -
		uintptr(unsafe.Pointer(unsafe.SliceData(p.region)))
	if cap(b) == 0 || off >= uintptr(len(p.region)) || off%MinBuffer != 0 {
		panic("loop: a buffer that is not the pool's was put back")
	}
	at := int32(off / MinBuffer)
	if p.pages[at].state != pieceUsed {
		panic("loop: a buffer was put back twice, or from its middle")
	}
	c := p.pages[at].class
	p.inUse -= int64(MinBuffer) << c
	for c < classes-1 {
		buddy := at ^ 1<<c
		if o := &p.pages[buddy]; o.state != pieceFree || o.class != c {
			break
		}
		p.unlink(buddy)
		p.pages[max(at, buddy)].state = inside
		at = min(at, buddy)
		c++
	}
	p.push(at, c)
}

// push puts a piece at the head of its free list: what was used last is what the
// caches know.
func (p *Pool) push(at int32, c uint8) {
	head := p.free[c]
	p.pages[at] = page{state: pieceFree, class: c, next: head, prev: -1}
	if head >= 0 {
		p.pages[head].prev = at
	}
	p.free[c] = at
}

// unlink takes a free piece off its list. Its state is the caller's to set.
func (p *Pool) unlink(at int32) {
	g := &p.pages[at]
	if g.prev >= 0 {
		p.pages[g.prev].next = g.next
	} else {
		p.free[g.class] = g.next
	}
	if g.next >= 0 {
		p.pages[g.next].prev = g.prev
	}
}
