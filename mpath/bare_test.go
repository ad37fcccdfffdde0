package mpath

import (
	"errors"
	"testing"

	"braid/barrier"
)

// TestUnstableWithoutCopies: with retain = 0, and with shared, the status tells what is not
// stable; a loss of it is told to each client once.
func TestUnstableWithoutCopies(t *testing.T) {
	for name, change := range map[string]func(*Config, *fakeLUN){
		"retain = 0": func(c *Config, _ *fakeLUN) { c.Retain = 0 },
		"shared":     func(c *Config, _ *fakeLUN) { c.Shared = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 2, change)
			unstable := func(want uint64) {
				t.Helper()
				if st := r.d.Status(r.now); st.Unstable != want || st.Retained != 0 {
					t.Errorf("unstable %d, retained %d, want %d", st.Unstable, st.Retained, want)
				}
			}
			r.want(r.write(0, 4096, 1), OK)
			r.want(r.write(8192, 512, 1), OK)
			unstable(4608)
			r.want(r.flush(), OK)
			unstable(0)
			q := r.write(0, 4096, 2)
			on, _ := r.outOn(q)
			r.want(q, OK)
			on.kill(errCut)
			unstable(4096)
			f := r.flush()
			r.wantHeld(f) // a dead session is never skipped
			r.after(10 * ms)
			r.after(r.wait + r.d.cfg.RetryMax)
			r.want(f, OK)
			unstable(0)
			r.want(r.write(0, 4096, 3), OK)
			r.lun.loseCache()
			r.path(0).kill(errCut)
			r.path(1).kill(errCut)
			r.after(r.wait + 2*r.d.cfg.RetryMax)
			f = r.flush()
			r.want(f, EIO)
			if !errors.Is(f.Reason, barrier.ErrNotStable) {
				t.Error(f.Reason)
			}
			r.want(r.flush(), OK)
			unstable(0)
		})
	}
}

// TestResentIsCounted: each write whose outcome a lost session left open.
func TestResentIsCounted(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	on.kill(errCut)
	r.after(r.wait + r.d.cfg.FenceSettle)
	r.want(q, OK)
	on = r.path(0)
	on.unsent = true
	on.kill(errCut)
	if st := r.d.Status(r.now); st.Counters.Resent != 1 || st.Doubtful != 0 {
		t.Errorf("%d resent, %d doubtful", st.Counters.Resent, st.Doubtful)
	}
}
