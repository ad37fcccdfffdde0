//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// The target asks for logout, and drops connections and sessions with a word about it,
// again and again under verified load: the paths come back, and nobody notices.
func TestAsyncMessages(t *testing.T) {
	for _, test := range []struct {
		name    string
		portals int
		mcs     bool
	}{{"one session", 1, false}, {"two sessions", 2, false}, {"MC/S", 2, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, test.portals, "--write-cache", "nexus")
			urls := e.urls()
			if test.mcs {
				urls = []string{fmt.Sprintf("iscsi://%s/%s/1", strings.Join(e.portals, ","), embeddedIQN)}
			}
			d := up(t, urls)
			load := faultLoad(t, d)
			whole := func(s *status) bool {
				n := 0
				for _, p := range s.Paths {
					for _, c := range p.Connections {
						if c.State == "up" {
							n++
						}
					}
				}
				return s.all("active") && n == test.portals
			}
			for i, fault := range []string{"async logout 3s portal 1", "async logout 1s all",
				"async drop portal 1", "async drop-session portal 1", "async logout 2s portal 1"} {
				before := numbers(d.awaitStatus("all connections up", whole))
				d.moreWrites(50)
				e.fault("%s", fault)
				d.awaitStatus(fmt.Sprintf("what follows %d: %s", i, fault), func(s *status) bool {
					return numbers(s) != before
				})
			}
			d.awaitStatus("all connections up again", whole)
			s := d.moreWrites(50)
			load.finish()
			if s.Flushes.Failed != 0 || s.DoubtfulWrites != 0 {
				t.Errorf("%d flushes failed, %d doubtful writes", s.Flushes.Failed, s.DoubtfulWrites)
			}
			for _, p := range s.Paths {
				if p.Marginal {
					t.Errorf("%s counts as flapping", p.URL)
				}
			}
			d.stop()
		})
	}
}

// numbers are those of every session and connection: new ones have others.
func numbers(s *status) string {
	text := ""
	for _, p := range s.Paths {
		text += fmt.Sprint(p.TSIH, p.Connections)
	}
	return text
}
