//go:build external

package iscsi_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// TestExternal (build tag: external) tries a target that is named from outside, and writes
// to it:
//
//	ISCSI_TEST_PORTALS=HOST:PORT,...   ISCSI_TEST_TARGET=IQN   ISCSI_TEST_LUN=N
//
// It should permit as many connections in a session as portals are named, and
// unsolicited data, without CHAP.
func TestExternal(t *testing.T) {
	if os.Getenv("ISCSI_TEST_PORTALS") == "" {
		t.Fatal("ISCSI_TEST_PORTALS names no target to try")
	}
	portals := strings.Split(os.Getenv("ISCSI_TEST_PORTALS"), ",")
	lun, err := strconv.ParseUint(os.Getenv("ISCSI_TEST_LUN"), 10, 14)
	if err != nil {
		t.Fatalf("ISCSI_TEST_LUN: %v", err)
	}
	config := func(t *testing.T, portals []string) iscsi.Config {
		cfg := liveConfig(t, portals...)
		cfg.Offer.TargetName = os.Getenv("ISCSI_TEST_TARGET")
		cfg.LUN = scsi.EncodeLUN(uint16(lun))
		return cfg
	}
	run := func(name string, edit func(*iscsi.Config)) {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, portals)
			edit(&cfg)
			sh := newShell(t, cfg)
			sh.untilUp()
			sh.until("all connections", func() bool { return sh.up() == len(cfg.Portals) })
			t.Logf("%+v", sh.s.Params())
			sh.wake()
			sh.verified(block, 4096, 128<<10, 1<<20)
			sh.pinged()
			sh.aborted()
			sh.verified(64 << 10)
			sh.logout()
		})
	}
	run("all portals", func(*iscsi.Config) {})
	run("all portals with digests", func(c *iscsi.Config) {
		c.Offer.HeaderDigest, c.Offer.DataDigest = login.DigestCRC32C, login.DigestCRC32C
	})
	for _, initialR2T := range []bool{false, true} {
		for _, immediate := range []bool{false, true} {
			name := "InitialR2T=" + strconv.FormatBool(initialR2T) +
				" ImmediateData=" + strconv.FormatBool(immediate)
			run(name, func(c *iscsi.Config) {
				c.Portals = c.Portals[:1]
				c.Offer.InitialR2T, c.Offer.ImmediateData = initialR2T, immediate
				c.Offer.MaxBurstLength, c.Offer.FirstBurstLength = 64<<10, 24<<10
				c.Offer.MaxRecvDataSegmentLength = 16 << 10
			})
		}
	}
	t.Run("SendTargets", func(t *testing.T) {
		cfg := config(t, portals[:1])
		cfg.Offer.Discovery, cfg.Offer.TargetName = true, ""
		sh := newShell(t, cfg)
		sh.s.SendTargets(0, "")
		sh.until("targets", func() bool {
			_, done := sh.s.Targets()
			return done || sh.s.Err() != nil
		})
		list, _ := sh.s.Targets()
		if len(list) == 0 {
			t.Fatalf("no target: %v", sh.s.Err())
		}
		t.Logf("%+v", list)
		sh.logout()
	})
}
