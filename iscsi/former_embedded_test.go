package iscsi_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
)

// Sessions of several connections are lost, with or without the target's knowledge, and
// followed by one that closes what is left. Each comes up within the time that a login may
// take, and at the end there is one session and what was written.
func TestEmbeddedFormer(t *testing.T) {
	closed, none := 0, 0
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(t, seed, 2+rnd.IntN(4), func(c *iscsi.Config, tc *target.Config) {
			c.Offer.MaxConnections = 8
		})
		w.untilUp()
		w.wake()
		for range 4 {
			joined := func() bool { return len(w.target.Sessions()[0].Portals) == len(w.cfg.Portals) }
			w.until("all connections up", joined)
			w.do(8, &scsi.Command{CDB: scsi.Write16(0, 1, false), Dir: scsi.Write,
				Data: make([]byte, block), Timeout: time.Minute})
			for _, x := range w.wires {
				if !x.finished {
					x.ab, x.ba, x.aGone, x.halfOpen = nil, nil, true, true
				}
			}
			w.s.Kill(w.now, errors.New("no carrier"))
			for _, c := range w.s.Conns() {
				c.Released()
			}
			if rnd.IntN(3) == 0 { // the target hears of one or two
				for _, x := range w.wires[len(w.wires)-1-rnd.IntN(2):] {
					x.bGone = true
					x.b.Closed(w.now, errors.New("connection reset by peer"))
				}
			}
			cfg := w.cfg
			if cfg.Former = w.s.Former(); cfg.Former == nil ||
				len(cfg.Former.CIDs) != len(w.cfg.Portals) {
				t.Fatalf("seed %d: %+v is left of %d connections", seed, cfg.Former,
					len(w.cfg.Portals))
			}
			before, had := w.now, len(w.target.Sessions())
			w.wires = nil
			w.s = iscsi.New(w.now, cfg)
			w.until("the first login", func() bool { return w.s.Up() || w.s.Nexus().TSIH == 0 })
			if had == 0 {
				none++
			} else if len(w.target.Sessions()) == 0 || len(w.target.Sessions()[0].Portals) <= 1 {
				closed++
			}
			w.untilUp()
			if w.now > before+time.Second {
				t.Fatalf("seed %d: it took %v", seed, w.now-before)
			}
			if n := len(w.target.Sessions()); n != 1 {
				t.Fatalf("seed %d: %d sessions", seed, n)
			}
			w.wake()
		}
		w.verified(256 << 10)
		w.logout()
	}
	if closed == 0 || none == 0 {
		t.Errorf("%d sessions were closed, %d were gone already", closed, none)
	}
	t.Logf("%d sessions were closed, %d were gone already", closed, none)
}
