package stack

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// TestRefused: the connections of one of two sessions are reset under load, and nobody listens
// any more where they led. At no recovery level does a request wait for more than some ticks
// of the rig, of a millisecond each.
func TestRefused(t *testing.T) {
	for _, s := range []shape{
		{sessions: 2, connections: 1, retain: 64 << 20},
		{sessions: 2, connections: 1, retain: 64 << 20, level: 2},
		{sessions: 2, connections: 2, retain: 64 << 20, level: 2},
	} {
		t.Run(fmt.Sprintf("level %d, %d connections", s.level, s.connections), func(t *testing.T) {
			r := newRig(t, s)
			r.closed = map[int]bool{}
			var broken []*pipe
			for _, p := range r.pipes {
				if p.portal >= 0 && p.portal < s.connections {
					r.closed[p.portal] = true
					broken = append(broken, p)
					p.closed = true // nothing gets through from now on
				}
			}
			const n = 8
			for i := range n {
				r.client.ask(protocol.TRANSMISSION_TYPE_REQUEST_WRITE, uint64(i)<<16, 4096)
			}
			r.client.done = 0
			for r.step() {
			}
			if r.client.done == n {
				t.Fatal("no write was out on the session")
			}
			since := r.now
			for _, p := range broken {
				p.near.Closed(r.now, syscall.ECONNRESET)
				p.far.Closed(r.now, syscall.ECONNRESET)
			}
			r.until("all are answered", func() bool { return r.client.done == n })
			if d := r.now - since; d > 50*time.Millisecond {
				t.Errorf("it took %v", d)
			}
		})
	}
}
