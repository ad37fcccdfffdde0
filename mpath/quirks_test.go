package mpath

import (
	"slices"
	"testing"
	"time"
)

// TestLevelThatTargetsBear: Linux's target does not survive the loss of a connection at error
// recovery level 2. A session that found out only then what it leads to is logged out before
// it carries anything, and the next ones offer level 1.
func TestLevelThatTargetsBear(t *testing.T) {
	for _, c := range []struct {
		name   string
		vendor string
		lost   *LostNexus // of a former process, in the first slot
		grants int
		levels []int // of the sessions, in the order in which they were opened
	}{
		{"Linux", "LIO-ORG", nil, 2, []int{2, 2, 1, 1}},
		{"Linux, known from before", "LIO-ORG", &LostNexus{TPGT: 1, Vendor: "LIO-ORG"}, 2,
			[]int{1, 2, 1}},
		{"Linux, and it grants less", "LIO-ORG", nil, 1, []int{1, 1}},
		{"another target", "braid", nil, 2, []int{2, 2}},
		{"now another target", "braid", &LostNexus{TPGT: 1, Vendor: "LIO-ORG"}, 2, []int{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(2)
			cfg.Slots[0].Lost = c.lost
			r := newRig(t, cfg)
			r.lun.inquiry.Vendor, r.level = c.vendor, c.grants
			r.after(time.Minute)
			r.want(r.write(0, 512, 1), OK)
			var levels []int
			for i, p := range r.paths {
				n := p.nexus.ErrorRecoveryLevel
				levels = append(levels, n)
				if n > bears(c.vendor) && (!p.out || len(p.received) > 0) {
					t.Errorf("session %d: logged out %v, was sent %v", i, p.out, p.received)
				}
			}
			if !slices.Equal(levels, c.levels) {
				t.Fatalf("sessions of levels %v, not %v", levels, c.levels)
			}
			// The next one knows.
			want := c.levels[len(c.levels)-1]
			r.path(1).kill(errCut)
			r.after(time.Minute)
			if r.state(1) != "active" || r.path(1).nexus.ErrorRecoveryLevel != want {
				t.Errorf("then a session of level %d, %s", r.path(1).nexus.ErrorRecoveryLevel,
					r.state(1))
			}
		})
	}
}
