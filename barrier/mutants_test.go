package barrier

import (
	"strings"
	"testing"
)

// TestModelFindsMistakes gives the ledger the mistakes that it is there to avoid. The model
// must find each of them, and the ledger without them must pass the same exploration.
func TestModelFindsMistakes(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules rules
		set   setting
		want  string // part of what it finds
	}{
		{"a dirty flag set before the write and cleared after the sync", dirtyFlag{},
			setting{mode: Epoch, writes: shapes["one"], flushes: 2}, "is not stable"},
		{"numbers given when a write is sent", numberedAtSend{},
			setting{mode: Epoch, writes: shapes["two"], flushes: 2}, "is not stable"},
		{"numbers given when a write is sent, with copies", numberedAtSend{},
			setting{mode: Epoch, keep: true, writes: shapes["two"], flushes: 2}, "is not stable"},
		{"the dead session is skipped", deadSkipped{},
			setting{mode: Drain, writes: shapes["one"], flushes: 1, deaths: 1}, "is not stable"},
		{"the dead session is skipped, with copies", deadSkipped{},
			setting{mode: Drain, keep: true, writes: shapes["one"], flushes: 1, deaths: 1},
			"is not stable"},
		{"the copy is forgotten", copyForgotten{},
			setting{mode: Epoch, keep: true, writes: shapes["one"], deaths: 1, losses: 1},
			"is not stable"},
		{"acknowledged before the fence", ackedUnfenced{},
			setting{mode: Epoch, keep: true, writes: shapes["same"][:2], deaths: 1},
			"w1 and w2 are out together"},
		{"an older copy over newer data", copiesUncut{},
			setting{mode: Epoch, keep: true, writes: shapes["same"][:2], deaths: 1},
			"w2 was acknowledged, a read gives w1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set.eager = true
			if x := explore(&c.set, honest{}, 0); x.passed != nil {
				t.Fatal("without the mistake: ", x.passed)
			}
			x := explore(&c.set, c.rules, 0)
			if x.passed == nil {
				t.Fatal("the mistake is not found")
			}
			if !strings.Contains(x.passed.Error(), c.want) {
				t.Errorf("found otherwise than by %q:\n%v", c.want, x.passed)
			}
			t.Logf("found in %d states: %v", len(x.seen), x.passed)
		})
	}
}
