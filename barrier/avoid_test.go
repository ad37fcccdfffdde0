package barrier

import (
	"slices"
	"testing"
)

// TestAvoid: the drain path goes round, past sessions that are to be avoided, unless there
// are no others.
func TestAvoid(t *testing.T) {
	l := NewLedger(1 << 20)
	c := NewCoordinator(l, Drain)
	for i := range 3 {
		l.Up(i)
	}
	for _, w := range []struct {
		slow uint64
		want []int
	}{
		{0, []int{0, 1, 2, 0}}, {1 << 1, []int{2, 0, 2}}, {0b101, []int{1, 1}}, {0b111, []int{2, 0, 1}},
		{0, []int{2, 0}},
	} {
		c.Avoid(w.slow)
		var got []int
		for range w.want {
			w := l.New()
			w.Off, w.End, w.Owner = 0, 512, "w"
			l.Begin(w)
			l.Sent(l.Ready(), 0)
			l.Answered(w)
			l.Acknowledged()
			f := &Flush{Scope: All}
			c.Flush(f)
			slot, must := c.Place(c.Tag())
			if !must {
				t.Fatal("the round does not drain")
			}
			got = append(got, slot)
			for y, ok := c.NextSync(); ok; y, ok = c.NextSync() {
				c.Synced(y)
			}
			if c.Completed() != f {
				t.Fatal("the flush is not done")
			}
		}
		if !slices.Equal(got, w.want) {
			t.Errorf("avoiding %b: %v, want %v", w.slow, got, w.want)
		}
	}
}
