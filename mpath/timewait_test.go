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
