package stack

import (
	"syscall"
	"testing"
)

// TestFormer: a session of several connections is lost, and the target does not hear of it. One
// that is known to be Linux's gets a further connection, which closes the lost ones, before
// the session is reinstated; a session of one connection, and any other target, does not.
func TestFormer(t *testing.T) {
	for _, c := range []struct {
		vendor      string
		connections int
		dialled     int // after the loss
	}{
		{"LIO-ORG", 3, 4}, {"LIO-ORG", 1, 1}, {"braid", 3, 3},
	} {
		r := newRig(t, shape{sessions: 1, connections: c.connections, vendor: c.vendor})
		whole := func() bool {
			list := r.target.Sessions()
			return len(list) == 1 && len(list[0].Portals) == c.connections
		}
		r.until("all connections are up", whole)
		for turn := range 3 {
			before, tsih := len(r.pipes), r.target.Sessions()[0].TSIH
			for _, p := range r.pipes {
				if !p.closed {
					p.closed = true // nothing gets through from now on
					p.near.Closed(r.now, syscall.ETIMEDOUT)
				}
			}
			r.until("there is a new session", func() bool {
				return whole() && r.target.Sessions()[0].TSIH != tsih
			})
			if n := len(r.pipes) - before; n != c.dialled {
				t.Errorf("%+v, turn %d: %d connections were made", c, turn, n)
			}
			if most := r.stack.Session(0).Params().MaxConnections; c.connections > 1 &&
				most != c.connections+1 {
				t.Errorf("%+v: the target lets %d connections in", c, most)
			}
		}
	}
}
