package loop

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func newPool(t testing.TB, size int64) *Pool {
	t.Helper()
	p, err := NewPool(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPoolSizes(t *testing.T) {
	p := newPool(t, 2*MaxBuffer+MaxBuffer-1)
	if p.Size() != 2*MaxBuffer || p.Free() != p.Size() {
		t.Errorf("size %d, free %d", p.Size(), p.Free())
	}
	for _, tt := range []struct{ n, class int }{
		{0, 4096}, {1, 4096}, {4096, 4096}, {4097, 8192}, {8192, 8192}, {8193, 16384},
		{65536, 65536}, {65537, 131072}, {131073, 262144}, {262144, 262144},
	} {
		b := p.Get(tt.n)
		if len(b) != tt.n || cap(b) != tt.class || p.InUse() != int64(tt.class) {
			t.Errorf("Get(%d): len %d, cap %d, in use %d", tt.n, len(b), cap(b), p.InUse())
		}
		p.Put(b)
		checkPool(t, p, nil)
	}
	for _, size := range []int64{-1, 0, MaxBuffer - 1, 1 << 62} {
		if _, err := NewPool(size); err == nil {
			t.Errorf("a pool of %d bytes", size)
		}
	}
}

func TestPoolExhausted(t *testing.T) {
	p := newPool(t, 2*MaxBuffer)
	small := p.Get(1)
	big := p.Get(MaxBuffer)
	if small == nil || big == nil {
		t.Fatal("no room in an empty pool")
	}
	if p.Get(MaxBuffer) != nil {
		t.Error("a whole block out of a split one")
	}
	if half := p.Get(MaxBuffer / 2); half == nil {
		t.Error("no half block although one is free")
	}
	p.Put(big)
	p.Put(small[:0])
	if p.Get(MaxBuffer) == nil {
		t.Error("nothing after a Put")
	}
}

// Small buffers fill the split block before another is split.
func TestPoolPrefersSplitBlocks(t *testing.T) {
	p := newPool(t, 8*MaxBuffer)
	var out [][]byte
	for range pagesPerBlock {
		out = append(out, p.Get(MinBuffer))
	}
	for range 7 {
		if p.Get(MaxBuffer) == nil {
			t.Fatal("small buffers lie in more than one block")
		}
	}
	if p.Get(1) != nil {
		t.Error("more than the pool has")
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(out)) {
		p.Put(out[i])
	}
	if p.Get(MaxBuffer) == nil {
		t.Error("the block did not become whole again")
	}
}

func TestPoolMisuse(t *testing.T) {
	p := newPool(t, 2*MaxBuffer)
	b := p.Get(8192)
	other := newPool(t, MaxBuffer).Get(4096)
	freed := p.Get(4096)
	p.Put(freed)
	for name, bad := range map[string]func(){
		"twice":        func() { p.Put(freed) },
		"foreign":      func() { p.Put(make([]byte, 4096)) },
		"another pool": func() { p.Put(other) },
		"nil":          func() { p.Put(nil) },
		"middle":       func() { p.Put(b[1:]) },
		"middle page":  func() { p.Put(b[4096:]) },
		"too large":    func() { p.Get(MaxBuffer + 1) },
		"negative":     func() { p.Get(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			bad()
		})
	}
	p.Put(b[:1])
	checkPool(t, p, nil)
}

// Random use, where every buffer is filled with a number of its own and checked
// before it goes back: two that overlap would spoil each other.
func TestPoolProperty(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 99))
			p := newPool(t, int64(1+rnd.IntN(12))*MaxBuffer)
			var out [][]byte
			for i := range 6000 {
				grow := 40 + 25*((i/1000)%2) // waves
				if rnd.IntN(100) < grow {
					n := 1 + rnd.IntN(1<<(12+rnd.IntN(7)))
					b := p.Get(n)
					if b == nil {
						if fits(p, n) {
							t.Fatalf("step %d: no buffer of %d although one is free", i, n)
						}
						continue
					}
					stamp(b[:cap(b)], uint64(i))
					out = append(out, b)
				} else if len(out) > 0 {
					k := rnd.IntN(len(out))
					checkStamp(t, out[k])
					p.Put(out[k])
					out[k] = out[len(out)-1]
					out = out[:len(out)-1]
				}
				if i%97 == 0 {
					checkPool(t, p, out)
				}
			}
			for _, b := range out {
				checkStamp(t, b)
				p.Put(b)
			}
			checkPool(t, p, nil)
			if p.InUse() != 0 {
				t.Errorf("%d bytes in use at the end", p.InUse())
			}
			for range p.Size() / MaxBuffer {
				if p.Get(MaxBuffer) == nil {
					t.Fatal("blocks stayed split")
				}
			}
		})
	}
}

// stamp marks every page of a buffer, at both ends.
func stamp(b []byte, v uint64) {
	for i := 0; i < len(b); i += MinBuffer {
		binary.NativeEndian.PutUint64(b[i:], v)
		binary.NativeEndian.PutUint64(b[i+MinBuffer-8:], v)
	}
}

func checkStamp(t *testing.T, b []byte) {
	t.Helper()
	b = b[:cap(b)]
	want := binary.NativeEndian.Uint64(b)
	for i := 0; i < len(b); i += MinBuffer {
		if binary.NativeEndian.Uint64(b[i:]) != want ||
			binary.NativeEndian.Uint64(b[i+MinBuffer-8:]) != want {
			t.Fatal("two buffers overlap")
		}
	}
}

// checkPool walks all pieces: they tile the region, buddies are never both free,
// the free lists hold exactly the free ones, and the sums agree.
func checkPool(t *testing.T, p *Pool, out [][]byte) {
	t.Helper()
	used := map[int]int{}
	for _, b := range out {
		off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) -
			uintptr(unsafe.Pointer(unsafe.SliceData(p.region)))
		used[int(off)/MinBuffer] = cap(b)
	}
	listed := map[int32]bool{}
	for c, at := range p.free {
		for prev := int32(-1); at >= 0; prev, at = at, p.pages[at].next {
			if g := p.pages[at]; g.state != pieceFree || int(g.class) != c || g.prev != prev {
				t.Fatalf("page %d is wrong in free list %d: %+v", at, c, g)
			}
			listed[at] = true
		}
	}
	var inUse int64
	for at := 0; at < len(p.pages); {
		g := p.pages[at]
		size := 1 << g.class
		switch g.state {
		case pieceFree:
			if !listed[int32(at)] {
				t.Fatalf("page %d is free and on no list", at)
			}
			delete(listed, int32(at))
			if o := p.pages[(at^size)%len(p.pages)]; g.class < classes-1 &&
				o.state == pieceFree && o.class == g.class {
				t.Fatalf("page %d and its buddy are both free", at)
			}
		case pieceUsed:
			if used[at] != size*MinBuffer {
				t.Fatalf("page %d is used with %d pages, given out were %d bytes",
					at, size, used[at])
			}
			delete(used, at)
			inUse += int64(size * MinBuffer)
		default:
			t.Fatalf("no piece begins at page %d", at)
		}
		for i := at + 1; i < at+size; i++ {
			if p.pages[i].state != inside {
				t.Fatalf("page %d lies inside a piece and says %d", i, p.pages[i].state)
			}
		}
		at += size
	}
	if len(used)+len(listed) != 0 || inUse != p.InUse() || p.Free() != p.Size()-inUse {
		t.Fatalf("sums differ: %d in use, %d counted", p.InUse(), inUse)
	}
}

// fits says whether a free piece for n bytes exists.
func fits(p *Pool, n int) bool {
	for _, g := range p.pages {
		if g.state == pieceFree && MinBuffer<<g.class >= n {
			return true
		}
	}
	return false
}

func BenchmarkPool(b *testing.B) {
	p := newPool(b, 64*MaxBuffer)
	var out [32][]byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % len(out)
		if out[k] != nil {
			p.Put(out[k])
		}
		out[k] = p.Get(4096 << (i % 7))
	}
}
