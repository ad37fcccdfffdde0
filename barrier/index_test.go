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

// TestRuns compares runs with a plain slice over random insertions, removals and changes, while
// the number of writes goes up and down.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x runs
	const blocks = 4096
	at := make([]*Write, blocks) // the write that holds a block
	set := func(off, end uint64, w *Write) {
		for b := off; b < end; b++ {
			at[b] = w
		}
	}
	most := 0
	for i := range 200000 {
		off := r.Uint64N(blocks)
		end := off + 1 + r.Uint64N(min(4, blocks-off))
		var lowest *Write
		for b := off; b < end && lowest == nil; b++ {
			lowest = at[b]
		}
		if got := x.first(off, end); got != lowest {
			t.Fatalf("first(%d, %d) = %v, want %v", off, end, got, lowest)
		}
		shrinks := i/20000%2 == 1
		switch w := lowest; {
		case w == nil && (!shrinks || r.IntN(8) == 0):
			w = &Write{Off: off, End: end}
			x.insert(w)
			set(off, end, w)
		case w != nil && w.End-w.Off > 1 && r.IntN(4) == 0:
			set(w.Off, w.End, nil)
			if r.IntN(2) == 0 {
				x.resize(w, w.Off+1, w.End)
			} else {
				x.resize(w, w.Off, w.End-1)
			}
			set(w.Off, w.End, w)
		case w != nil && (shrinks || r.IntN(8) == 0):
			x.remove(w)
			set(w.Off, w.End, nil)
		}
		most = max(most, len(x.list))
	}
	n := 0
	for b, w := range at {
		if w != nil && w.Off == uint64(b) {
			n++
		}
	}
	if n != x.n || n == 0 || most < 8 {
		t.Fatalf("runs count %d writes, %d are there; never more than %d runs", x.n, n, most)
	}
	mustPanic(t, "a second copy of a block", func() {
		x.insert(&Write{Off: 0, End: blocks})
	})
	mustPanic(t, "removal of a stranger", func() { x.remove(&Write{Off: 1 << 20, End: 1<<20 + 1}) })
}

// TestRunsAreFull: however writes come and go, there are not many more runs than are needed.
func TestRunsAreFull(t *testing.T) {
	const n = 1 << 14
	for name, place := range map[string]func(i uint64) uint64{
		"upwards":   func(i uint64) uint64 { return i },
		"downwards": func(i uint64) uint64 { return n - 1 - i },
		"scattered": func(i uint64) uint64 { return i * 7919 % n },
	} {
		var x runs
		all := make([]*Write, n)
		for i := range all {
			b := place(uint64(i))
			all[i] = &Write{Off: b, End: b + 1}
			x.insert(all[i])
		}
		check := func(left int) {
			if limit := left/(runSize/4) + 2; len(x.list) > limit {
				t.Errorf("%s: %d writes in %d runs, want at most %d", name, left, len(x.list), limit)
			}
		}
		check(n)
		for i, w := range all {
			x.remove(w)
			if left := n - 1 - i; left%1024 == 0 {
				check(left)
			}
		}
		if x.n != 0 || len(x.list) != 0 {
			t.Errorf("%s: %d writes in %d runs are left", name, x.n, len(x.list))
		}
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
