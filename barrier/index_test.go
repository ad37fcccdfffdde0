package barrier

import (
	"math/rand/v2"
	"testing"
)

func TestIndexOverlaps(t *testing.T) {
	var x index
	a, b := &Write{Off: 8, End: 16}, &Write{Off: 24, End: 32}
	x.insert(b)
	x.insert(a)
	for _, c := range []struct {
		off, end uint64
		want     bool
	}{
		{0, 8, false}, {0, 9, true}, {8, 16, true}, {15, 16, true}, {16, 24, false},
		{16, 25, true}, {0, 100, true}, {31, 40, true}, {32, 40, false},
	} {
		if got := x.overlaps(c.off, c.end); got != c.want {
			t.Errorf("overlaps(%d, %d) = %v", c.off, c.end, got)
		}
	}
	x.remove(a)
	if x.overlaps(8, 16) || !x.overlaps(24, 25) {
		t.Error("the wrong write was removed")
	}
}

func TestIndexRefusesOverlap(t *testing.T) {
	var x index
	x.insert(&Write{Off: 8, End: 16})
	mustPanic(t, "insert of an overlapping write", func() { x.insert(&Write{Off: 15, End: 17}) })
	mustPanic(t, "insert of a containing write", func() { x.insert(&Write{Off: 0, End: 20}) })
	mustPanic(t, "removal of a stranger", func() { x.remove(&Write{Off: 8, End: 16}) })
}

// TestTree compares the tree with a plain slice over random insertions and removals.
func TestTree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var tr tree
	const blocks = 64
	var at [blocks]*Write // the write that holds a block
	for range 20000 {
		off := r.Uint64N(blocks)
		end := off + 1 + r.Uint64N(min(4, blocks-off))
		var lowest *Write
		for b := off; b < end && lowest == nil; b++ {
			lowest = at[b]
		}
		if got := tr.first(off, end); got != lowest {
			t.Fatalf("first(%d, %d) = %v, want %v", off, end, got, lowest)
		}
		if lowest != nil {
			tr.remove(lowest)
			for b := lowest.Off; b < lowest.End; b++ {
				at[b] = nil
			}
			continue
		}
		w := &Write{Off: off, End: end}
		tr.insert(w)
		for b := off; b < end; b++ {
			at[b] = w
		}
	}
	n := 0
	for b, w := range at {
		if w != nil && w.Off == uint64(b) {
			n++
		}
	}
	if n != tr.n || n == 0 {
		t.Fatalf("tree counts %d writes, %d are there", tr.n, n)
	}
	mustPanic(t, "removal of a stranger", func() { tr.remove(&Write{Off: 1 << 20, End: 1<<20 + 1}) })
}

// TestTreeDepth: orders that would make a plain search tree a list do not.
func TestTreeDepth(t *testing.T) {
	var tr tree
	const n = 1 << 12
	for i := range uint64(n) {
		tr.insert(&Write{Off: i, End: i + 1})
	}
	var depth func(w *Write) int
	depth = func(w *Write) int {
		if w == nil {
			return 0
		}
		return 1 + max(depth(w.left), depth(w.right))
	}
	if d := depth(tr.root); d > 48 {
		t.Errorf("%d writes in a tree of depth %d", n, d)
	}
}

func TestList(t *testing.T) {
	var q, other list
	a, b, c := new(Write), new(Write), new(Write)
	q.push(a)
	q.push(c)
	q.insertAfter(a, b)
	mustPanic(t, "a second queue", func() { other.push(b) })
	mustPanic(t, "removal from the wrong queue", func() { other.remove(b) })
	q.remove(b)
	q.insertAfter(nil, b)
	for i, want := range []*Write{b, a, c, nil} {
		if got := q.pop(); got != want {
			t.Fatalf("pop %d gave the wrong write", i)
		}
	}
	if q.n != 0 || q.head != nil || q.tail != nil {
		t.Error("the empty list is not empty")
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}
