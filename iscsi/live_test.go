package iscsi_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

func liveConfig(t *testing.T, portals ...string) iscsi.Config {
	o := login.DefaultOffer()
	o.InitiatorName = "iqn.2026-01.net.example:initiator"
	o.TargetName = tgtName
	return iscsi.Config{
		Offer:        o,
		ISID:         [6]byte{0x80, 1, 2, 3, 4, 5},
		Portals:      portals,
		LUN:          scsi.EncodeLUN(1),
		NopInterval:  5 * time.Second,
		LoginTimeout: 10 * time.Second,
		Rand:         mathrand.New(mathrand.NewPCG(1, 2)),
		CHAPRand:     rand.Reader,
		Log: func(level slog.Level, msg string, args ...any) {
			t.Log(append([]any{level, msg}, args...)...)
		},
	}
}

const block = 512

// wake takes the unit attentions of a new nexus.
func (sh *shell) wake() {
	sh.t.Helper()
	for range 8 {
		c := &scsi.Command{CDB: scsi.TestUnitReady(), Timeout: 5 * time.Second}
		sh.do(1, c)
		if c.Err == nil {
			return
		}
		sh.t.Logf("TEST UNIT READY: %v", c.Err)
	}
	sh.t.Fatal("unit is not ready")
}

// verified writes the whole of a pattern in pieces of each size, reads it back in
// other pieces and compares.
func (sh *shell) verified(sizes ...int) {
	sh.t.Helper()
	for _, size := range sizes {
		total := min(4<<20, 1000*size)
		want := make([]byte, total)
		if _, err := rand.Read(want); err != nil {
			sh.t.Fatal(err)
		}
		got := make([]byte, total)
		var writes, reads []*scsi.Command
		for at := 0; at < total; at += size {
			n := uint32(size / block)
			lba := uint64(at / block)
			writes = append(writes, &scsi.Command{CDB: scsi.Write16(lba, n, false),
				Dir: scsi.Write, Data: want[at : at+size], Timeout: 30 * time.Second})
			reads = append(reads, &scsi.Command{CDB: scsi.Read16(lba, n, false),
				Dir: scsi.Read, Data: got[at : at+size], Timeout: 30 * time.Second})
		}
		for _, list := range [][]*scsi.Command{writes, reads} {
			sh.do(32, list...)
			for i, c := range list {
				if c.Err != nil || c.Transferred != size {
					sh.t.Fatalf("size %d, command %d: %v, %d bytes", size, i, c.Err, c.Transferred)
				}
			}
		}
		if !bytes.Equal(want, got) {
			sh.t.Fatalf("size %d: what was read is not what was written", size)
		}
	}
}

// pinged asks for life and waits for the answers.
func (sh *shell) pinged() {
	sh.t.Helper()
	sh.s.Probe(sh.now())
	sh.until("NOP-In", func() bool {
		for _, c := range sh.s.Conns() {
			if c.Suspect() {
				return sh.s.Err() != nil
			}
		}
		return true
	})
}

// aborted sends commands whose timeout passes at once, so that each is followed
// by an ABORT TASK.
func (sh *shell) aborted() {
	sh.t.Helper()
	var list []*scsi.Command
	for range 20 {
		list = append(list, &scsi.Command{CDB: scsi.Read16(0, 256, false), Dir: scsi.Read,
			Data: make([]byte, 256*block), Timeout: 1})
	}
	sh.do(20, list...)
	for _, c := range list {
		e, ok := c.Err.(*scsi.StatusError)
		if c.Err != nil && (!ok || e.Status != scsi.TaskAborted) {
			sh.t.Errorf("ended with %v", c.Err)
		}
	}
}

func TestLiveData(t *testing.T) {
	g := startTgtd(t, 1)
	g.set("HeaderDigest", "None,CRC32C")
	g.set("DataDigest", "None,CRC32C")
	const none, crc = login.DigestNone, login.DigestCRC32C
	for _, c := range []struct {
		name                       string
		header, data               login.DigestChoice
		initialR2T, immediate      bool
		maxBurst, firstBurst, recv int
	}{
		{"plain", none, none, false, true, 1 << 20, 256 << 10, 256 << 10},
		{"digests", crc, crc, false, true, 1 << 20, 256 << 10, 256 << 10},
		{"header digest", crc, none, false, true, 1 << 20, 8192, 64 << 10},
		{"all solicited", none, none, true, false, 64 << 10, 64 << 10, 8192},
		{"unsolicited only", none, crc, false, false, 128 << 10, 64 << 10, 16 << 10},
		{"immediate only", none, none, true, true, 128 << 10, 4096, 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := liveConfig(t, g.portals[0])
			cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = c.header, c.data
			cfg.Offer.InitialR2T, cfg.Offer.ImmediateData = c.initialR2T, c.immediate
			cfg.Offer.MaxBurstLength, cfg.Offer.FirstBurstLength = c.maxBurst, c.firstBurst
			cfg.Offer.MaxRecvDataSegmentLength = c.recv
			sh := newShell(t, cfg)
			sh.untilUp()
			t.Logf("%+v", sh.s.Params())
			sh.wake()
			sh.verified(block, 4096, 128<<10, 1<<20)
			sh.pinged()
			sh.aborted()
			sh.verified(64 << 10)
			sh.logout()
		})
	}
}

func TestLiveCHAP(t *testing.T) {
	g := startTgtd(t, 1)
	g.adm("--op", "new", "--mode", "account", "--user", "joe", "--password", "twelve-letters-1")
	g.adm("--op", "bind", "--mode", "account", "--tid", "1", "--user", "joe")
	g.adm("--op", "new", "--mode", "account", "--user", "target", "--password", "twelve-letters-2")
	g.adm("--op", "bind", "--mode", "account", "--tid", "1", "--user", "target", "--outgoing")
	cfg := liveConfig(t, g.portals[0])
	cfg.Offer.Auth = login.Auth{User: "joe", Secret: []byte("twelve-letters-1"),
		MutualUser: "target", MutualSecret: []byte("twelve-letters-2")}
	sh := newShell(t, cfg)
	sh.untilUp()
	sh.wake()
	sh.verified(4096)
	sh.logout()

	cfg.Offer.Auth.Secret = []byte("twelve-letters-3")
	sh = newShell(t, cfg)
	sh.until("refusal", func() bool { return sh.s.Err() != nil })
	if err := sh.s.Err(); !iscsi.Permanent(err) {
		t.Fatalf("wrong secret gives %v, not permanent", err)
	}

	cfg = liveConfig(t, g.portals[0])
	cfg.Offer.TargetName = "iqn.2026-01.net.example:nothing"
	sh = newShell(t, cfg)
	sh.until("refusal", func() bool { return sh.s.Err() != nil })
	if err := sh.s.Err(); !iscsi.Permanent(err) {
		t.Fatalf("wrong target name gives %v, not permanent", err)
	}
}

func TestLiveConnections(t *testing.T) {
	g := startTgtd(t, 4)
	g.set("MaxConnections", "4")
	cfg := liveConfig(t, g.portals...)
	sh := newShell(t, cfg)
	sh.untilUp()
	sh.until("four connections", func() bool { return sh.up() == 4 })
	sh.wake()
	sh.verified(block, 4096, 64<<10, 1<<20)
	sh.logout()
}

func TestLiveSendTargets(t *testing.T) {
	g := startTgtd(t, 1)
	for i := 2; i <= 300; i++ {
		g.adm("--op", "new", "--mode", "target", "--tid", fmt.Sprint(i), "-T",
			fmt.Sprintf("%s-%d", tgtName, i))
		if i%25 == 0 {
			g.adm("--op", "bind", "--mode", "target", "--tid", fmt.Sprint(i), "-I", "ALL")
		}
	}
	cfg := liveConfig(t, g.portals[0])
	cfg.Offer.Discovery, cfg.Offer.TargetName = true, ""
	sh := newShell(t, cfg)
	sh.s.SendTargets(0, "")
	var list []iscsi.TargetRecord
	sh.until("targets", func() (done bool) {
		list, done = sh.s.Targets()
		return done || sh.s.Err() != nil
	})
	if len(list) != 13 {
		t.Fatalf("%d targets: %+v (error %v)", len(list), list, sh.s.Err())
	}
	for _, r := range list {
		if len(r.Portals) != 1 || r.Portals[0].Address != g.portals[0] || r.Portals[0].TPGT != 1 {
			t.Errorf("%+v", r)
		}
	}
	sh.logout()
}
