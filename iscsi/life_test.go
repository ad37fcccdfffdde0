package iscsi

import (
	"io"
	"syscall"
	"testing"
	"time"
)

// TestLastLife: a peer that closes or resets has shown life by that; one whose transport gave
// up, or that did not answer, showed it last when a byte came from it.
func TestLastLife(t *testing.T) {
	const idle = 3 * time.Second
	for _, c := range []struct {
		name string
		end  func(r *rig)
		late bool // it is as late as the end
	}{
		{"closed", func(r *rig) { r.peers[0].c.Closed(r.now, io.EOF) }, true},
		{"reset", func(r *rig) { r.peers[0].c.Closed(r.now, syscall.ECONNRESET) }, true},
		{"timed out", func(r *rig) { r.peers[0].c.Closed(r.now, syscall.ETIMEDOUT) }, false},
		{"killed here", func(r *rig) { r.s.Kill(r.now, errKilled) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, nil)
			heard := r.now
			r.sleep(idle)
			c.end(r)
			want := heard
			if c.late {
				want = r.now
			}
			if got, ok := r.s.LastLife(); !ok || got != want {
				t.Errorf("last life %v %v, want %v", got, ok, want)
			}
		})
	}
	if _, ok := newUp(t, 2, nil).s.LastLife(); ok {
		t.Error("the life of one connection counts for a session of several")
	}
}
