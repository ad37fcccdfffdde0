package barrier

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWaiters compares the tree with a list.
func TestWaiters(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var tree waiters
	var list []*Write
	for range 20000 {
		switch n := len(list); {
		case n == 0 || n < 200 && rnd.IntN(2) == 0:
			off := rnd.Uint64N(300)
			w := &Write{Off: off, End: off + 1 + rnd.Uint64N(20)}
			tree.add(w)
			list = append(list, w)
		default:
			i := rnd.IntN(n)
			tree.remove(list[i])
			list = slices.Delete(list, i, i+1)
		}
		off := rnd.Uint64N(300)
		end := off + rnd.Uint64N(40)
		var want *Write
		for _, w := range list {
			if w.overlaps(off, end) {
				want = w
				break
			}
		}
		if got := tree.first(off, end); got != want {
			t.Fatalf("first of [%d, %d): %+v, want %+v", off, end, got, want)
		}
	}
}
