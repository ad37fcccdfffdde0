package iscsi

import (
	"bytes"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// limits sets what both sides agree on.
func limits(initialR2T, immediate bool, xmit, maxBurst, firstBurst, r2ts int,
) func(*Config, *login.TargetConfig) {
	return func(c *Config, t *login.TargetConfig) {
		c.Offer.InitialR2T, t.InitialR2T = initialR2T, initialR2T
		c.Offer.ImmediateData, t.ImmediateData = immediate, immediate
		t.MaxRecvDataSegmentLength = xmit
		c.Offer.MaxBurstLength, t.MaxBurstLength = maxBurst, maxBurst
		c.Offer.FirstBurstLength, t.FirstBurstLength = firstBurst, firstBurst
		c.Offer.MaxOutstandingR2T, t.MaxOutstandingR2T = r2ts, r2ts
	}
}

// What goes with a write of 8192 bytes without being asked for, when a PDU takes
// 1024 bytes and the first burst is 2560.
func TestUnsolicited(t *testing.T) {
	for _, c := range []struct {
		name                  string
		initialR2T, immediate bool
		want                  string
		granted               int
	}{
		{"InitialR2T=Yes ImmediateData=Yes", true, true, `
			SCSI Command F tag=1 cmdsn=1 expected=8192 data=1024`, 1024},
		{"InitialR2T=No ImmediateData=Yes", false, true, `
			SCSI Command tag=1 cmdsn=1 expected=8192 data=1024
			SCSI Data-Out tag=1 ttt=ffffffff datasn=0 offset=1024 data=1024
			SCSI Data-Out F tag=1 ttt=ffffffff datasn=1 offset=2048 data=512`, 2560},
		{"InitialR2T=No ImmediateData=No", false, false, `
			SCSI Command tag=1 cmdsn=1 expected=8192
			SCSI Data-Out tag=1 ttt=ffffffff datasn=0 offset=0 data=1024
			SCSI Data-Out tag=1 ttt=ffffffff datasn=1 offset=1024 data=1024
			SCSI Data-Out F tag=1 ttt=ffffffff datasn=2 offset=2048 data=512`, 2560},
		{"InitialR2T=Yes ImmediateData=No", true, false, `
			SCSI Command F tag=1 cmdsn=1 expected=8192`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, limits(c.initialR2T, c.immediate, 1024, 4096, 2560, 2))
			p := r.peers[0]
			cmd := r.submit(scsi.Write, 8192)
			p.pull(1 << 30)
			all := collect(p.got)
			p.expect(c.want)
			for sn, at := uint32(0), c.granted; at < 8192; sn++ {
				n := min(4096, 8192-at)
				p.r2t(1, sn, at, n, 0x100+sn)
				p.pull(1 << 30)
				all = append(all, collect(p.got)...)
				p.got = nil
				at += n
			}
			if !bytes.Equal(all, cmd.Data) {
				t.Errorf("the %d bytes that came are not those written", len(all))
			}
			p.good(1)
			r.alive()
			r.ended(cmd)
			if cmd.Err != nil || cmd.Transferred != 8192 {
				t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
			}
		})
	}
}

func collect(list []message) (all []byte) {
	for _, m := range list {
		all = append(all, m.data...)
	}
	return all
}

// A write that fits into the first burst leaves nothing to ask for.
func TestSmallWrite(t *testing.T) {
	r := newUp(t, 1, nil)
	cmd := r.submit(scsi.Write, 4096)
	r.peers[0].expect(`SCSI Command F tag=1 cmdsn=1 expected=4096 data=4096`)
	r.peers[0].good(1)
	r.ended(cmd)
}

// Several R2Ts of several tasks: each task's in their order, the tasks by turns.
func TestTransfersTakeTurns(t *testing.T) {
	r := newUp(t, 1, limits(true, false, 1024, 2048, 1024, 2))
	p := r.peers[0]
	r.submit(scsi.Write, 4096)
	r.submit(scsi.Write, 4096)
	p.take()
	p.r2t(1, 0, 0, 2048, 0xa0)
	p.r2t(1, 1, 2048, 2048, 0xa1)
	p.r2t(2, 0, 0, 1536, 0xb0)
	p.r2t(2, 1, 1536, 1024, 0xb1)
	p.expect(`
		SCSI Data-Out tag=1 ttt=a0 datasn=0 offset=0 data=1024
		SCSI Data-Out tag=2 ttt=b0 datasn=0 offset=0 data=1024
		SCSI Data-Out F tag=1 ttt=a0 datasn=1 offset=1024 data=1024
		SCSI Data-Out F tag=2 ttt=b0 datasn=1 offset=1024 data=512
		SCSI Data-Out tag=1 ttt=a1 datasn=0 offset=2048 data=1024
		SCSI Data-Out F tag=2 ttt=b1 datasn=0 offset=1536 data=1024
		SCSI Data-Out F tag=1 ttt=a1 datasn=1 offset=3072 data=1024`)
	r.alive()
}

// Unsolicited data keeps the order of the commands, solicited data goes between.
func TestBurstsInOrder(t *testing.T) {
	r := newUp(t, 1, limits(false, false, 1024, 4096, 2048, 1))
	p := r.peers[0]
	r.submit(scsi.Write, 4096)
	p.take()
	p.r2t(1, 0, 2048, 2048, 0xa0)
	r.submit(scsi.Write, 2048)
	r.submit(scsi.Write, 2048)
	p.expect(`
		SCSI Command tag=2 cmdsn=2 expected=2048
		SCSI Command tag=3 cmdsn=3 expected=2048
		SCSI Data-Out tag=2 ttt=ffffffff datasn=0 offset=0 data=1024
		SCSI Data-Out tag=1 ttt=a0 datasn=0 offset=2048 data=1024
		SCSI Data-Out F tag=2 ttt=ffffffff datasn=1 offset=1024 data=1024
		SCSI Data-Out F tag=1 ttt=a0 datasn=1 offset=3072 data=1024
		SCSI Data-Out tag=3 ttt=ffffffff datasn=0 offset=0 data=1024
		SCSI Data-Out F tag=3 ttt=ffffffff datasn=1 offset=1024 data=1024`)
}

// Only so much payload is queued ahead of the transport, immediate data included,
// and commands without payload overtake those that wait for room.
func TestSendAhead(t *testing.T) {
	r := newUp(t, 1, limits(false, true, 64<<10, 1<<20, 64<<10, 1))
	p := r.peers[0]
	for range 10 {
		r.submit(scsi.Write, 64<<10)
	}
	read := r.submit(scsi.Read, 512)
	if n := p.c.out.Payload(); n != sendAhead {
		t.Errorf("%d bytes are queued, wanted %d", n, sendAhead)
	}
	order := p.take()
	if at := order[4].h; at.Opcode() != pdu.OpSCSICommand || at.DataLen() != 0 {
		t.Errorf("the read did not overtake:\n%s", script(order))
	}
	if len(order) != 11 {
		t.Errorf("%d commands came", len(order))
	}
	for i, m := range order {
		if m.h.CmdSN() != firstCmdSN+uint32(i) {
			t.Errorf("command %d has CmdSN %d", i, m.h.CmdSN())
		}
	}
	p.dataIn(order[4].h.ITT(), 0, 0, make([]byte, 512), true)
	r.ended(read)

	r.submit(scsi.Write, 1<<20)
	p.take()
	p.r2t(12, 0, 64<<10, 1<<20-64<<10, 0xa0)
	if p.c.SendBuffers(nil); p.c.out.Payload() != sendAhead {
		t.Errorf("%d bytes are queued, wanted %d", p.c.out.Payload(), sendAhead)
	}
	r.alive()
}

// An answer that comes while data is still queued does not hand the buffer back.
func TestEarlyAnswer(t *testing.T) {
	r := newUp(t, 1, limits(false, true, 1024, 4096, 4096, 1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 4096)
	p.pull(48 + 1024 + 48 + 100)
	exp, top := p.window()
	p.send(pdu.SCSIResponse{ITT: 1, Status: uint8(scsi.CheckCondition), StatSN: p.sn(),
		ExpCmdSN: exp, MaxCmdSN: top}, nil)
	r.ended()
	p.pull(1 << 30)
	r.ended(cmd)
	if _, ok := cmd.Err.(*scsi.StatusError); !ok {
		t.Errorf("ended with %v", cmd.Err)
	}
	r.alive()

	cmd = r.submit(scsi.Write, 4096)
	p.pull(48 + 1024 + 48 + 100)
	p.send(pdu.SCSIResponse{ITT: 2, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top}, nil)
	r.ended(cmd)
	r.dead("GOOD for 4096 bytes")
}

func TestBadR2T(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(p *peer)
		want string
	}{
		{"beyond the end", func(p *peer) { p.r2t(1, 0, 8192, 1, 1) }, "of a command of 8192"},
		{"not next", func(p *peer) { p.r2t(1, 0, 512, 512, 1) }, "0 was due"},
		{"longer than a burst", func(p *peer) { p.r2t(1, 0, 0, 2049, 1) }, "MaxBurstLength"},
		{"too many", func(p *peer) {
			p.r2t(1, 0, 0, 512, 1)
			p.r2t(1, 1, 512, 512, 1)
			p.r2t(1, 2, 1024, 512, 1)
		}, "more than 2 outstanding"},
		{"R2TSN", func(p *peer) { p.r2t(1, 1, 0, 512, 1) }, "R2TSN 1, 0 was due"},
		{"again", func(p *peer) { p.r2t(1, 0, 0, 512, 1); p.r2t(1, 1, 0, 512, 1) }, "512 was due"},
		{"unknown tag", func(p *peer) { p.r2t(9, 0, 0, 512, 1) }, "no command has this tag"},
		{"a read's", func(p *peer) { p.r2t(2, 0, 0, 512, 1) }, "does not write"},
		{"reserved TTT", func(p *peer) { p.r2t(1, 0, 0, 512, pdu.ReservedTag) }, "reserved"},
		{"GOOD too early", func(p *peer) { p.good(1) }, "of which 0 were sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, limits(true, false, 1024, 2048, 1024, 2))
			w := r.submit(scsi.Write, 8192)
			rd := r.submit(scsi.Read, 8192)
			r.peers[0].take()
			c.send(r.peers[0])
			r.dead(c.want)
			r.ended(w, rd)
		})
	}
}

// With DataSequenceInOrder=No bursts come in any order, but no byte twice.
func TestSequencesOutOfOrder(t *testing.T) {
	edit := func(c *Config, tc *login.TargetConfig) {
		limits(true, true, 1024, 2048, 1024, 2)(c, tc)
		c.Offer.DataSequenceInOrder, tc.DataSequenceInOrder = false, false
	}
	r := newUp(t, 1, edit)
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 4096)
	p.take()
	p.r2t(1, 0, 3072, 1024, 0xa0)
	p.r2t(1, 1, 1024, 2048, 0xa1)
	p.expect(`
		SCSI Data-Out F tag=1 ttt=a0 datasn=0 offset=3072 data=1024
		SCSI Data-Out tag=1 ttt=a1 datasn=0 offset=1024 data=1024
		SCSI Data-Out F tag=1 ttt=a1 datasn=1 offset=2048 data=1024`)
	p.good(1)
	r.ended(cmd)
	r.alive()

	r.submit(scsi.Write, 4096)
	p.take()
	p.r2t(2, 0, 1000, 100, 0xa0)
	r.dead("asked for twice")
}

// The LUN of a Data-Out is reserved, and so zero, where no R2T gave it a target
// transfer tag (RFC 7143 section 11.7.4).
func TestDataOutLUN(t *testing.T) {
	r := newUp(t, 1, limits(false, true, 1024, 4096, 2048, 1))
	p := r.peers[0]
	r.submit(scsi.Write, 4096)
	p.take()
	p.r2t(1, 0, 2048, 2048, 9)
	r.submit(scsi.Write, 4096)
	lunOf := map[bool][8]byte{}
	for _, m := range p.take() {
		if d, err := pdu.ParseDataOut(&m.h); err == nil && m.h.Opcode() == pdu.OpDataOut {
			lunOf[d.TTT == pdu.ReservedTag] = d.LUN
		}
	}
	if want := scsi.EncodeLUN(5); lunOf[true] != [8]byte{} || lunOf[false] != want {
		t.Errorf("LUN %x unsolicited, %x solicited", lunOf[true], lunOf[false])
	}
}
