package iscsi

import (
	"errors"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// lose takes what was sent without the target ever seeing it.
func (p *peer) lose() []message {
	p.pull(1 << 30)
	got := p.got
	p.got = nil
	return got
}

// A command that was lost is found by the answer to a ping, and sent again as it was:
// same tag, same CmdSN, same immediate data.
func TestCommandLost(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 512)
	lost := p.lose()
	other := r.submit(scsi.Read, 512)
	p.lose()
	r.exp = firstCmdSN // the target waits for the first
	again := p.idle(5 * second)
	for _, m := range []*message{&lost[0], &again[0]} {
		copy(m.h[28:], []byte{0, 0, 0, 0}) // ExpStatSN: pings were answered since
	}
	if len(again) != 2 || again[0].h != lost[0].h || string(again[0].data) != string(lost[0].data) {
		t.Fatalf("sent again:\n%s", script(again))
	}
	if again[1].h.CmdSN() != firstCmdSN+1 {
		t.Errorf("the second one is %d", again[1].h.CmdSN())
	}
	p.good(1)
	p.dataIn(2, 0, 0, pattern(512), true)
	r.ended(cmd, other)
	r.alive()
	if n := r.s.Counters().Retries; n != 2 {
		t.Errorf("%d retries counted", n)
	}
}

// A command that is just slow is not sent again.
func TestSlowCommand(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 512)
	p.take()
	if other := p.idle(25 * second); len(other) != 0 {
		t.Errorf("sent:\n%s", script(other))
	}
	p.dataIn(1, 0, 0, pattern(512), true)
	r.ended(cmd)
	r.alive()
}

// A command that is lost every time ends the session.
func TestCommandNeverTaken(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 512)
	retries := 0
	for range 100 {
		if r.s.Err() != nil {
			break
		}
		r.sleep(second / 4)
		for _, m := range p.lose() {
			if m.h.Opcode() == pdu.OpNopOut {
				p.nopIn(m.h.ITT(), pdu.ReservedTag)
			} else {
				retries++
			}
		}
	}
	if retries != 1+maxRetries {
		t.Errorf("sent %d times", retries)
	}
	r.dead("does not take a command")
	r.ended(cmd)
}

// A lost unsolicited burst goes again with its command, from the beginning.
func TestCommandLostWithBurst(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		limits(false, true, 512, 4096, 1536, 1)(c, tc)
		level(1)(c, tc)
	})
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 2048)
	p.lose()
	r.exp = firstCmdSN
	again := p.idle(4 * second)
	const want = `SCSI Command tag=1 cmdsn=1 expected=2048 data=512
SCSI Data-Out tag=1 ttt=ffffffff datasn=0 offset=512 data=512
SCSI Data-Out F tag=1 ttt=ffffffff datasn=1 offset=1024 data=512
`
	if got := script(again); got != want {
		t.Fatalf("sent again:\n%s", got)
	}
	p.r2t(1, 0, 1536, 512, 0xa0)
	p.expect(`SCSI Data-Out F tag=1 ttt=a0 datasn=0 offset=1536 data=512`)
	p.good(1)
	r.ended(cmd)
	if cmd.Err != nil {
		t.Error(cmd.Err)
	}
}

// A command rejected for its data's digest was not taken: it goes again at once. A
// Data-Out rejected so is asked for by another R2T.
func TestRejectedForDigest(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		limits(true, true, 512, 4096, 512, 1)(c, tc)
		level(1)(c, tc)
	})
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 2048)
	lost := p.lose()
	r.exp = firstCmdSN
	p.reject(pdu.RejectDataDigest, &lost[0].h)
	again := p.one()
	if again.h.CmdSN() != lost[0].h.CmdSN() || again.h.ITT() != lost[0].h.ITT() {
		t.Errorf("sent again: %s", line(&again.h))
	}
	p.r2t(1, 0, 512, 1536, 0xa0)
	sent := p.take()
	if len(sent) != 3 {
		t.Fatalf("sent:\n%s", script(sent))
	}
	p.reject(pdu.RejectDataDigest, &sent[1].h)
	p.expect(``)
	p.r2t(1, 1, 1024, 512, 0xa1)
	p.expect(`SCSI Data-Out F tag=1 ttt=a1 datasn=0 offset=1024 data=512`)
	p.good(1)
	r.ended(cmd)
	if cmd.Err != nil || cmd.Transferred != 2048 {
		t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
	}
	r.alive()
}

// R2Ts: a gap is asked for, and the data goes in the order of the R2Ts.
func TestR2TLost(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		limits(true, false, 4096, 4096, 512, 4)(c, tc)
		level(1)(c, tc)
	})
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 2048)
	p.take()
	p.r2t(1, 0, 0, 512, 0xa0)
	p.r2t(1, 2, 1024, 512, 0xa2)
	p.r2t(1, 3, 1536, 512, 0xa3)
	stat := itoa(p.statSN)
	p.expect(`
		SNACK Request F tag=1 type=0 begin=1 run=1 acks=` + stat + `
		SCSI Data-Out F tag=1 ttt=a0 datasn=0 offset=0 data=512`)
	p.r2t(1, 1, 512, 512, 0xa1)
	p.r2t(1, 1, 512, 512, 0xa1) // twice
	p.expect(`
		SCSI Data-Out F tag=1 ttt=a1 datasn=0 offset=512 data=512
		SCSI Data-Out F tag=1 ttt=a2 datasn=0 offset=1024 data=512
		SCSI Data-Out F tag=1 ttt=a3 datasn=0 offset=1536 data=512`)
	p.good(1)
	r.ended(cmd)
	if cmd.Err != nil || r.s.Counters().R2TSNACKs != 1 {
		t.Errorf("%v, %+v", cmd.Err, r.s.Counters())
	}
	r.alive()
}

// The last R2T was lost: nothing tells, so it is asked for after a while. That a
// target rejects the question does no harm.
func TestLastR2TLost(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		limits(true, false, 4096, 4096, 512, 1)(c, tc)
		level(1)(c, tc)
	})
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 512)
	p.take()
	asked := p.idle(3 * second)
	if len(asked) != 1 || asked[0].h.Opcode() != pdu.OpSNACK {
		t.Fatalf("sent:\n%s", script(asked))
	}
	p.reject(pdu.RejectProtocolError, &asked[0].h)
	p.idle(4 * second)
	p.take()
	p.r2t(1, 0, 0, 512, 0xa0)
	p.expect(`SCSI Data-Out F tag=1 ttt=a0 datasn=0 offset=0 data=512`)
	p.good(1)
	r.ended(cmd)
	r.alive()
}

// One lost ping does not end a connection above level 0.
func TestPingLost(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		pinging(c, tc)
		level(1)(c, tc)
	})
	p := r.peers[0]
	r.sleep(5 * second)
	p.lose()
	r.sleep(2 * second)
	m := p.one()
	if m.h.Opcode() != pdu.OpNopOut {
		t.Fatalf("sent %s", line(&m.h))
	}
	p.nopIn(m.h.ITT(), pdu.ReservedTag)
	r.sleep(3 * second)
	r.alive()
	if n := r.s.tasks.inUse(); n != 0 {
		t.Errorf("%d tags in use", n)
	}
	r.sleep(2 * second)
	p.lose()
	r.sleep(4 * second)
	r.dead("no answer to NOP-Out")
	if errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
		t.Error("counts as logged out")
	}
}
