package iscsi_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/target"
)

// at has both sides agree on an error recovery level, with data digests.
func at(level int, c *iscsi.Config, tc *target.Config) {
	c.Offer.ErrorRecoveryLevel, tc.ErrorRecoveryLevel = level, level
	c.Offer.HeaderDigest, c.Offer.DataDigest = login.DigestCRC32C, login.DigestCRC32C
	c.Counters = &iscsi.Counters{}
	tc.DefaultTime2Retain = 20
}

var lossy = []target.PDUs{target.DataInPDUs, target.StatusPDUs, target.R2TPDUs, target.NopInPDUs,
	target.CommandPDUs, target.DataOutPDUs, target.NopOutPDUs, target.SNACKPDUs}

// PDUs of every kind are lost or damaged at random, and nothing is noticed but that it takes
// longer. Each kind is tried alone, and all together.
func TestLossyTarget(t *testing.T) {
	var sum iscsi.Counters
	for seed := range uint64(6 * (len(lossy) + 2)) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t, seed, 1+rnd.IntN(3), func(c *iscsi.Config, tc *target.Config) {
			at(1, c, tc)
			c.Offer.InitialR2T, c.Offer.ImmediateData = rnd.IntN(2) == 0, rnd.IntN(2) == 0
			c.Offer.MaxRecvDataSegmentLength = 512 + rnd.IntN(10000)
			c.Offer.MaxBurstLength = 4096 << rnd.IntN(7)
			c.Offer.FirstBurstLength = min(512+rnd.IntN(20000), c.Offer.MaxBurstLength)
			c.Offer.MaxOutstandingR2T = 1 + rnd.IntN(8)
			tc.MaxRecvDataSegmentLength = 2048 + rnd.IntN(10000)
			c.NopInterval = 5 * time.Second
			tc.Log = c.Log
		})
		w.untilUp()
		w.wake()
		for i, kind := range lossy {
			if only := int(seed) % (len(lossy) + 2); only < len(lossy) && i != only {
				continue
			}
			percent := 1 + rnd.IntN(4)
			if kind == target.R2TPDUs {
				percent = 10
			}
			w.target.Disturb(target.Disturbance{What: kind, Portal: -1, Percent: percent,
				Digest: target.Damage(rnd.IntN(2))})
		}
		w.verified(1 << 20)
		w.target.Undisturb()
		w.verified(1 << 20)
		w.logout()
		n := *w.cfg.Counters
		sum.DataSNACKs += n.DataSNACKs
		sum.R2TSNACKs += n.R2TSNACKs
		sum.StatusSNACKs += n.StatusSNACKs
		sum.DataACKs += n.DataACKs
		sum.Retries += n.Retries
		sum.DigestErrors += n.DigestErrors
	}
	t.Logf("%+v", sum)
	if sum.DataSNACKs == 0 || sum.R2TSNACKs == 0 || sum.StatusSNACKs == 0 || sum.DataACKs == 0 ||
		sum.Retries == 0 || sum.DigestErrors == 0 {
		t.Errorf("not all was tried: %+v", sum)
	}
}
