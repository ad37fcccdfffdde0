package mpath

import (
	"testing"
	"time"
)

func flapConfig(c *Config, _ *fakeLUN) {
	c.FlapThreshold, c.FlapWindow, c.FlapPause = 3, time.Minute, 30*time.Second
	c.RetryMin, c.RetryMax = 10*ms, 10*ms
}

// flap loses a path, lets it come back, and returns its state then.
func (r *rig) flap(slot int) string {
	r.t.Helper()
	r.path(slot).Kill(r.now, errCut)
	r.run()
	r.after(5 * time.Second)
	return r.state(slot)
}

// TestFlaps: the third loss within a minute puts a path in reserve, until it was good for
// half a minute, then for twice as long.
func TestFlaps(t *testing.T) {
	r := ready(t, 2, flapConfig)
	for i, want := range []string{"active", "active", "recovering"} {
		if got := r.flap(1); got != want {
			t.Fatalf("after loss %d: %s", i+1, got)
		}
	}
	before := r.path(1).sent
	r.want(r.write(0, 4096, 1), OK)
	if n := r.path(1).sent; n != before {
		t.Errorf("%d commands on it", n-before)
	}
	if p := r.d.Status(r.now).Paths[1]; !p.Marginal || p.Counters.Marginal != 1 {
		t.Errorf("%+v", p)
	}
	r.after(20 * time.Second)
	if got := r.flap(1); got != "recovering" { // its time begins anew
		t.Fatal(got)
	}
	r.after(20 * time.Second)
	if got := r.state(1); got != "recovering" {
		t.Fatal(got)
	}
	r.after(15 * time.Second)
	r.wantStates("active active")
	for range 3 {
		r.flap(1)
	}
	r.after(40 * time.Second)
	if got := r.state(1); got != "recovering" {
		t.Fatal("the second time is no longer than the first")
	}
	r.after(30 * time.Second)
	r.wantStates("active active")
	if p := r.d.Status(r.now).Paths[1]; p.Counters.Marginal != 2 {
		t.Errorf("%+v", p)
	}
}

// TestFlappingLastPath: in reserve is better than nothing.
func TestFlappingLastPath(t *testing.T) {
	r := ready(t, 2, flapConfig)
	for range 3 {
		r.flap(1)
	}
	r.path(0).Kill(r.now, errCut)
	r.refuse[0] = errCut
	w := r.write(0, 4096, 1)
	r.want(w, OK)
	r.wantStates("faulty active")
	delete(r.refuse, 0)
	r.after(5 * time.Second)
	r.wantStates("active recovering")
	r.d.ReinstatePath(r.now, 1)
	r.run()
	r.wantStates("active active")

	r = ready(t, 1, flapConfig)
	for range 10 {
		if got := r.flap(0); got != "active" {
			t.Fatal(got)
		}
	}
}

// TestSlowLosses: a loss now and then is none of this.
func TestSlowLosses(t *testing.T) {
	r := ready(t, 2, flapConfig)
	for range 20 {
		if got := r.flap(1); got != "active" {
			t.Fatal(got)
		}
		r.after(40 * time.Second)
	}
}

// TestLostTogether: what takes every path is no fault of each: a target that restarts.
func TestLostTogether(t *testing.T) {
	r := ready(t, 2, flapConfig)
	for range 10 {
		r.path(0).Kill(r.now, errCut)
		r.after(100 * ms)
		r.path(1).Kill(r.now, errCut)
		r.after(5 * time.Second)
		r.wantStates("active active")
	}
}
