package mpath

import (
	"testing"
	"time"
)

// TestTime2WaitCountsSilence: the next session comes Time2Wait after the lost one's last sign
// of life; the silence after which it was given up is part of that. A reset gets a moment to
// reach the target all the same.
func TestTime2WaitCountsSilence(t *testing.T) {
	for _, c := range []struct {
		name    string
		silence time.Duration // before it is given up
		several bool          // connections
		want    time.Duration // from then on
	}{
		{"reset by the target", 0, false, 2 * time.Second},
		{"silent", 1250 * ms, false, 750 * ms},
		{"silent for long", 10 * time.Second, false, resetGrace},
		{"one of several silent", 1250 * ms, true, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2)
			p := r.path(0)
			r.after(20 * time.Second)
			p.life, p.several = r.now-c.silence, c.several
			r.path(0).kill(errCut)
			r.run()
			lost, before := r.now, len(r.opened)
			r.after(c.want - 2*ms)
			if len(r.opened) > before {
				t.Fatalf("a session was opened after %v", r.opened[before].at-lost)
			}
			r.d.LinkUp(r.now, 0)
			r.after(4 * ms)
			if len(r.opened) == before {
				t.Fatal("no session was opened")
			}
		})
	}
}

// TestFenceCountsSilence: so it is for the session that fences, through a sibling's portal.
func TestFenceCountsSilence(t *testing.T) {
	r := ready(t, 2)
	r.after(20 * time.Second)
	q := r.write(0, 512, 1)
	on, _ := r.outOn(q)
	on.life = r.now - 1250*ms
	on.kill(errCut)
	r.run()
	lost, before := r.now, len(r.opened)
	r.after(10 * time.Second)
	if len(r.opened) == before {
		t.Fatal("no session was opened")
	}
	if got := r.opened[before]; got.via == got.slot || got.at-lost > 751*ms || got.at-lost < 749*ms {
		t.Errorf("%+v, %v after the loss", got, got.at-lost)
	}
	r.want(q, OK)
}

// TestLeaveLinuxAlone: Linux's target crashes if a session of several connections is reinstated
// while it ends them: it is given the time to be rid of it. That the new session is let in
// then proves nothing, so that blocks with a doubtful write stay closed a little longer.
func TestLeaveLinuxAlone(t *testing.T) {
	for _, c := range []struct {
		name    string
		vendor  string
		several bool
		want    time.Duration // until the next session
		settle  time.Duration // from then on
	}{
		{"Linux, one connection", "LIO-ORG", false, 2 * time.Second, 0},
		{"Linux, several", "LIO-ORG", true, 6 * time.Second, time.Second},
		{"another target, several", "braid", true, 2 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1, func(_ *Config, l *fakeLUN) { l.inquiry.Vendor = c.vendor })
			r.path(0).life, r.path(0).several = r.now, c.several
			q := r.write(0, 512, 1)
			r.step()
			r.path(0).kill(errCut)
			r.run()
			lost := r.now
			r.after(c.want - 2*ms)
			r.d.LinkUp(r.now, 0)
			r.run()
			if len(r.opened) > 1 {
				t.Fatalf("a session was opened after %v", r.opened[1].at-lost)
			}
			r.after(4 * ms)
			if len(r.opened) != 2 || r.state(0) != "active" {
				t.Fatalf("%d sessions, the path is %s", len(r.opened), r.state(0))
			}
			if w := r.write(0, 512, 2); c.settle > 0 {
				r.after(c.settle - 10*ms)
				r.wantHeld(q)
				r.wantHeld(w)
				r.after(20 * ms)
			}
			r.run()
			r.want(q, OK)
		})
	}
}

// TestLeaveLinuxAloneAfterRestart: so it is with what a former process left.
func TestLeaveLinuxAloneAfterRestart(t *testing.T) {
	for _, c := range []struct {
		lost LostNexus
		want time.Duration
	}{
		{LostNexus{TPGT: 1, Vendor: "LIO-ORG", Several: true}, 6 * time.Second},
		{LostNexus{TPGT: 1, Vendor: "LIO-ORG"}, 0},
		{LostNexus{TPGT: 1, Several: true}, 0},
	} {
		cfg := config(1)
		cfg.Slots[0].Lost = &c.lost
		r := newRig(t, cfg)
		start := r.now
		r.run()
		r.after(10 * time.Second)
		if len(r.opened) == 0 || r.opened[0].at-start != c.want {
			t.Errorf("%+v: %+v, started at %v", c.lost, r.opened, start)
		}
	}
}
