package target

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestRAMReadsWhatWasWritten(t *testing.T) {
	const size = 300 << 10
	r := newRAM(t, size)
	want := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 1))
	type loan struct {
		b, was []byte
		p      *page
	}
	var lent []loan
	for i := range 20000 {
		off := rnd.Uint64N(size)
		n := rnd.Uint64N(min(size-off, 20000)) + 1
		switch rnd.IntN(5) {
		case 0:
			r.Submit(&Op{Kind: OpZero, Offset: off, Length: n})
			clear(want[off : off+n])
		case 1, 2:
			data := pattern(byte(i), int(n))
			r.Submit(&Op{Kind: OpWrite, Offset: off, Length: n, Data: data})
			copy(want[off:], data)
		case 3:
			got := make([]byte, n)
			r.Submit(&Op{Kind: OpRead, Offset: off, Length: n, Data: got})
			if !bytes.Equal(got, want[off:off+n]) {
				t.Fatalf("step %d: read at %d differs", i, off)
			}
		case 4:
			b, p := r.lend(off, int(n))
			if !bytes.Equal(b, want[off:off+uint64(len(b))]) {
				t.Fatalf("step %d: lent bytes at %d differ", i, off)
			}
			lent = append(lent, loan{b, bytes.Clone(b), p})
		}
		for len(lent) > 20 {
			j := rnd.IntN(len(lent))
			l := lent[j]
			if !bytes.Equal(l.b, l.was) {
				t.Fatalf("step %d: lent bytes changed", i)
			}
			if l.p != nil {
				r.giveBack(l.p)
			}
			lent = append(lent[:j], lent[j+1:]...)
		}
	}
	for _, l := range lent {
		if l.p != nil {
			r.giveBack(l.p)
		}
	}
	r.Submit(&Op{Kind: OpZero, Length: size})
	if n := r.Allocated(); n != 0 {
		t.Errorf("%d bytes are still allocated", n)
	}
}

func TestRAMIsSparse(t *testing.T) {
	r, err := NewRAM(1<<40, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Submit(&Op{Kind: OpWrite, Offset: 1<<40 - 1, Data: []byte{1}})
	if n := r.Allocated(); n != DefaultPageSize {
		t.Errorf("one byte takes %d", n)
	}
	if mapped, n := r.extent(0); mapped || n == 0 {
		t.Errorf("the beginning is mapped: %v, %d", mapped, n)
	}
	if mapped, n := r.extent(1<<40 - 100); !mapped || n != 100 {
		t.Errorf("the end is mapped: %v, %d", mapped, n)
	}
}

func TestRAMRefusesBadSizes(t *testing.T) {
	for _, c := range []struct {
		size uint64
		page int
	}{{0, 0}, {1 << 60, 0}, {4096, 1000}, {4096, 2048}, {4096, 2 << 20}} {
		if _, err := NewRAM(c.size, c.page); err == nil {
			t.Errorf("size %d, page %d: no error", c.size, c.page)
		}
	}
}
