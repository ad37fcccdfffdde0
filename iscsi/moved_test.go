package iscsi_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/target"
)

// Connections are lost at random under load, some of them unnoticed by the target, all at
// once too; every command of the session ends once and well, and what is read is what was
// written. Lost PDUs come on top in every second run.
func TestConnectionsLost(t *testing.T) {
	var sum iscsi.Counters
	cuts := 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		w := newWorld(t, seed, 1+rnd.IntN(4), func(c *iscsi.Config, tc *target.Config) {
			at(2, c, tc)
			c.Offer.InitialR2T, c.Offer.ImmediateData = rnd.IntN(2) == 0, rnd.IntN(2) == 0
			c.Offer.MaxRecvDataSegmentLength = 512 + rnd.IntN(60000)
			c.Offer.MaxBurstLength = 4096 << rnd.IntN(7)
			c.Offer.FirstBurstLength = min(512+rnd.IntN(20000), c.Offer.MaxBurstLength)
			c.Offer.MaxOutstandingR2T = 1 + rnd.IntN(8)
			tc.MaxRecvDataSegmentLength = 2048 + rnd.IntN(60000)
			tc.DefaultTime2Wait = rnd.IntN(3)
			tc.MaxConnections = 1 + rnd.IntN(5)
			c.NopInterval = 5 * time.Second
		})
		w.untilUp()
		w.wake()
		left := 8
		w.chaos = func() {
			if left == 0 || rnd.IntN(60) > 0 {
				return
			}
			x := w.wires[rnd.IntN(len(w.wires))]
			if x.finished || x.aGone || x.a.State() != "up" {
				return
			}
			left--
			cuts++
			x.cut(w, rnd.IntN(3) == 0)
		}
		if seed%2 == 1 {
			for _, kind := range lossy {
				w.target.Disturb(target.Disturbance{What: kind, Portal: -1, Percent: 1})
			}
		}
		for range 3 {
			w.verified(1 << 20)
		}
		w.chaos = nil
		w.target.Undisturb()
		w.verified(1 << 20)
		w.logout()
		sum.Reassigned += w.cfg.Counters.Reassigned
		sum.Retries += w.cfg.Counters.Retries
		sum.Connections += w.cfg.Counters.Connections
	}
	t.Logf("%d cuts: %+v", cuts, sum)
	if sum.Reassigned == 0 || sum.Retries == 0 || int(sum.Connections) < cuts/2 {
		t.Errorf("not all was tried: %d cuts, %+v", cuts, sum)
	}
}
