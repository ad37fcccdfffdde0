package iscsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// level has both sides agree on an error recovery level.
func level(n int) func(*Config, *login.TargetConfig) {
	return func(c *Config, tc *login.TargetConfig) {
		c.Offer.ErrorRecoveryLevel, tc.ErrorRecoveryLevel = n, n
	}
}

func (p *peer) reading(itt, dataSN uint32, last bool) {
	p.dataIn(itt, dataSN, int(dataSN)*512, pattern(2048)[dataSN*512:][:512], last)
}

// wire compares the header of the single PDU that was sent with bytes written down
// by hand; xx is any byte.
func (p *peer) wire(want string) {
	p.r.t.Helper()
	m := p.one()
	got := hex.EncodeToString(m.h[:])
	want = strings.Join(strings.Fields(want), "")
	for i := range want {
		if want[i] != 'x' && want[i] != got[i] {
			p.r.t.Fatalf("sent:\n%s\nwanted:\n%s", got, want)
		}
	}
}

// A gap in DataSN: exactly what is missing is asked for, the status is not
// acknowledged before it is there, and the command ends with all its bytes.
func TestDataInLost(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 2048)
	p.expect(`SCSI Command F tag=1 cmdsn=1 expected=2048`)
	stat := p.statSN
	p.reading(1, 0, false)
	p.reading(1, 2, false)
	// 10 SNACK, 80 final and type 0, tag 1, TTT ffffffff, ExpStatSN, BegRun 1, RunLength 1.
	p.wire(`10800000 00000000 0000000000000000 00000001 ffffffff 00000000 000000` +
		hex.EncodeToString([]byte{byte(stat)}) + `00000000 00000000 00000001 00000001`)
	p.reading(1, 3, true)
	p.expect(``)
	r.ended()
	p.reading(1, 1, false)
	r.ended(cmd)
	if cmd.Err != nil || cmd.Transferred != 2048 || !bytes.Equal(cmd.Data, pattern(2048)) {
		t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
	}
	r.s.Probe(r.now)
	m := p.one()
	if sn := m.h.ExpStatSN(); sn != stat+1 {
		t.Errorf("acknowledges %d after all", sn-stat)
	}
	if n := r.s.Counters().DataSNACKs; n != 1 {
		t.Errorf("%d SNACKs counted", n)
	}
	p.nopIn(m.h.ITT(), pdu.ReservedTag)
	p.idle(10 * second)
	r.alive()
}

// What is asked for is asked for again, a few times, then the connection is given up.
func TestSNACKBounds(t *testing.T) {
	for _, status := range []bool{false, true} {
		r := newUp(t, 1, level(1))
		p := r.peers[0]
		cmd := r.submit(scsi.Read, 2048)
		p.take()
		if status {
			p.sn()
			p.nopIn(pdu.ReservedTag, 5)
			p.expect(`NOP-Out I F tag=ffffffff ttt=5 cmdsn=2`)
			p.reject(pdu.RejectTaskInProgress, &pdu.Header{1})
		} else {
			p.reading(1, 1, false)
		}
		asked := len(p.take())
		for range 20 {
			r.sleep(second / 4)
			for _, m := range p.take() {
				if m.h.Opcode() == pdu.OpSNACK {
					asked++
				}
			}
		}
		if asked != maxSNACKs {
			t.Errorf("asked %d times", asked)
		}
		r.dead("SNACK within 4s")
		r.ended(cmd)
	}
}

// A lost status is asked for by its number. Answers that came after it are told after it: it may
// be a unit attention.
func TestStatusLost(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	a, b, c := r.submit(scsi.Write, 512), r.submit(scsi.Write, 512), r.submit(scsi.Write, 512)
	p.take()
	lost := p.sn() // the status of a
	p.good(2)
	p.wire(`10810000 00000000 0000000000000000 ffffffff ffffffff 00000000 000000` +
		hex.EncodeToString([]byte{byte(lost)}) + `00000000 00000000 000000` +
		hex.EncodeToString([]byte{byte(lost)}) + `00000001`)
	p.good(3)
	p.expect(``)
	r.ended()
	exp, top := p.window()
	again := pdu.SCSIResponse{ITT: 1, StatSN: lost, ExpCmdSN: exp, MaxCmdSN: top}
	p.send(again, nil)
	r.ended(a, b, c)
	p.send(again, nil) // it comes twice
	r.ended()
	r.alive()
	r.s.Probe(r.now)
	m := p.one()
	if m.h.ExpStatSN() != p.statSN {
		t.Errorf("acknowledges up to %d, %d were sent", m.h.ExpStatSN(), p.statSN)
	}
	if n := r.s.Counters().StatusSNACKs; n != 1 {
		t.Errorf("%d SNACKs counted", n)
	}
}

// If it does not come, what came after it is asked again, but for writes.
func TestStatusLostForGood(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	a, read, write, sync := r.submit(scsi.Write, 512), r.submit(scsi.Read, 512),
		r.submit(scsi.Write, 512), r.submit(scsi.None, 0)
	p.take()
	p.sn()
	p.reading(2, 0, true)
	p.good(3)
	p.good(4)
	r.ended()
	p.c.Closed(r.now, errors.New("reset"))
	r.ended(a, read, write, sync)
	if lost, _ := scsi.Lost(a.Err); !lost || write.Err != nil {
		t.Errorf("without an answer %v, write %v", a.Err, write.Err)
	}
	for _, c := range []*scsi.Command{read, sync} {
		var e *scsi.StatusError
		if !errors.As(c.Err, &e) || e.Status != scsi.TaskAborted {
			t.Errorf("ended with %v", c.Err)
		}
	}
}

// The status comes apart and tells how many Data-In there were; or, as Linux
// targets have it, does not.
func TestStatusBeforeData(t *testing.T) {
	for _, tells := range []bool{true, false} {
		r := newUp(t, 1, level(1))
		p := r.peers[0]
		cmd := r.submit(scsi.Read, 2048)
		p.take()
		stat := p.statSN
		p.reading(1, 0, false)
		exp, top := p.window()
		a := pdu.SCSIResponse{ITT: 1, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top}
		want := `SNACK Request F tag=1 type=0 begin=1 run=0`
		if tells {
			a.ExpDataSN, want = 4, `SNACK Request F tag=1 type=0 begin=1 run=3`
		}
		p.send(a, nil)
		r.ended()
		if got := strings.TrimSpace(script(p.take())); !strings.HasPrefix(got, want) ||
			!strings.HasSuffix(got, " acks="+itoa(stat)) {
			t.Errorf("%v: sent %q", tells, got)
		}
		for i := uint32(1); i < 4; i++ {
			r.ended()
			p.reading(1, i, false)
		}
		r.ended(cmd)
		if cmd.Err != nil || !bytes.Equal(cmd.Data, pattern(2048)) {
			t.Errorf("%v", cmd.Err)
		}
		r.alive()
	}
}

func itoa(n uint32) string { return strings.TrimSpace(string(appendUint(nil, n))) }

func appendUint(b []byte, n uint32) []byte {
	if n >= 10 {
		b = appendUint(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// idle lets time pass with pings answered; it returns what else was sent.
func (p *peer) idle(d time.Duration) (other []message) {
	for end := p.r.now + d; p.r.now < end; {
		p.r.sleep(min(second/4, end-p.r.now))
		other = append(other, p.others()...)
	}
	return other
}

// others answers pings and returns what else was sent.
func (p *peer) others() (other []message) {
	for _, m := range p.take() {
		if m.h.Opcode() == pdu.OpNopOut {
			p.nopIn(m.h.ITT(), pdu.ReservedTag)
		} else {
			other = append(other, m)
		}
	}
	return other
}

// spoil sends a PDU whose data digest is wrong.
func (p *peer) spoil(m marshaler, data []byte) {
	var h pdu.Header
	m.Marshal(&h)
	p.out.Push(&h, data, pdu.Bulk)
	var wire []byte
	for _, b := range p.out.Buffers(nil) {
		wire = append(wire, b...)
	}
	p.out.Sent(len(wire))
	wire[len(wire)-5] ^= 0x10 // the last byte of the data, before its digest
	p.feed(wire)
}

func digests(n int) func(*Config, *login.TargetConfig) {
	return func(c *Config, tc *login.TargetConfig) {
		level(n)(c, tc)
		c.Offer.DataDigest, tc.DataDigest = login.DigestCRC32C, login.DigestCRC32C
	}
}

// Data with a wrong digest is asked for again, the status that came with it too.
func TestDataDigestError(t *testing.T) {
	for _, last := range []bool{false, true} {
		r := newUp(t, 1, digests(1))
		p := r.peers[0]
		cmd := r.submit(scsi.Read, 1024)
		p.take()
		exp, top := p.window()
		bad := pdu.DataIn{ITT: 1, TTT: pdu.ReservedTag, ExpCmdSN: exp, MaxCmdSN: top, DataLen: 512}
		if last {
			p.reading(1, 0, false)
			bad.DataSN, bad.Offset, bad.Final, bad.HasStatus, bad.StatSN = 1, 512, true, true, p.sn()
		}
		good := pattern(2048)[bad.Offset:][:512]
		p.spoil(bad, good)
		got := strings.TrimSpace(script(p.take()))
		if want := "SNACK Request F tag=1 type=0 begin=" + itoa(bad.DataSN) + " run=1"; !strings.HasPrefix(
			got, want) || strings.Contains(got, "\n") {
			t.Errorf("sent %q", got)
		}
		r.ended()
		p.send(bad, good)
		if !last {
			p.reading(1, 1, true)
		}
		r.ended(cmd)
		if cmd.Err != nil || !bytes.Equal(cmd.Data, pattern(1024)) {
			t.Errorf("%v", cmd.Err)
		}
		if n := r.s.Counters().DigestErrors; n != 1 {
			t.Errorf("%d digest errors counted", n)
		}
		r.sleep(10 * second)
		r.alive()
	}
}

// Linux targets send a Data-In with status again under a status number of its own;
// the first one is then not waited for.
func TestStatusRenumbered(t *testing.T) {
	r := newUp(t, 1, digests(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 512)
	p.take()
	exp, top := p.window()
	bad := pdu.DataIn{ITT: 1, TTT: pdu.ReservedTag, Final: true, HasStatus: true, StatSN: p.sn(),
		ExpCmdSN: exp, MaxCmdSN: top, DataLen: 512}
	p.spoil(bad, pattern(512))
	p.take()
	bad.StatSN = p.sn()
	p.send(bad, pattern(512))
	r.ended(cmd)
	r.sleep(10 * second)
	r.alive()
	r.s.Probe(r.now)
	if m := p.one(); m.h.ExpStatSN() != p.statSN {
		t.Errorf("acknowledges up to %d, %d were sent", m.h.ExpStatSN(), p.statSN)
	}
}

// A damaged copy of what is there already does no harm.
func TestDamagedCopy(t *testing.T) {
	r := newUp(t, 1, digests(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 1024)
	p.take()
	p.reading(1, 0, false)
	exp, top := p.window()
	p.spoil(pdu.DataIn{ITT: 1, TTT: pdu.ReservedTag, ExpCmdSN: exp, MaxCmdSN: top, DataLen: 512},
		pattern(512))
	p.expect(``)
	p.reading(1, 1, true)
	r.ended(cmd)
	if !bytes.Equal(cmd.Data, pattern(1024)) {
		t.Error("the damaged copy was taken")
	}
	r.alive()
}

// A response with a wrong digest is asked for by its status number.
func TestResponseDigestError(t *testing.T) {
	r := newUp(t, 1, digests(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 512)
	p.take()
	exp, top := p.window()
	sense := pdu.AppendSense(nil, scsi.Sense{Key: scsi.MediumError, ASC: 0x11}.Append(nil, false))
	bad := pdu.SCSIResponse{ITT: 1, Status: 2, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top,
		DataLen: len(sense)}
	p.spoil(bad, sense)
	m := p.one()
	if s, _ := pdu.ParseSNACK(&m.h); s.Type != pdu.SNACKStatus || s.BegRun != bad.StatSN ||
		s.RunLength != 1 {
		t.Errorf("sent %+v", s)
	}
	r.ended()
	p.send(bad, sense)
	r.ended(cmd)
	var e *scsi.StatusError
	if !errors.As(cmd.Err, &e) || e.Sense.Key != scsi.MediumError {
		t.Errorf("%v", cmd.Err)
	}
	r.alive()
}

// The A bit is answered when there is no gap before it.
func TestDataACK(t *testing.T) {
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 2048)
	p.take()
	exp, top := p.window()
	d := pdu.DataIn{ITT: 1, TTT: 0x77, LUN: [8]byte{0, 5}, Acknowledge: true, Final: true,
		ExpCmdSN: exp, MaxCmdSN: top, DataLen: 512}
	p.send(d, pattern(512))
	p.wire(`10820000 00000000 0005000000000000 ffffffff 00000077 00000000 xxxxxxxx
		00000000 00000000 00000001 00000000`)
	d.DataSN, d.Offset, d.TTT = 2, 1024, 0x78
	p.send(d, pattern(2048)[1024:1536])
	if got := script(p.take()); strings.Count(got, "\n") != 1 || !strings.Contains(got, "type=0") {
		t.Errorf("sent:\n%s", got)
	}
	p.reading(1, 1, false)
	p.wire(`10820000 00000000 0005000000000000 ffffffff 00000078 00000000 xxxxxxxx
		00000000 00000000 00000003 00000000`)
	p.reading(1, 3, true)
	r.ended(cmd)
	if cmd.Err != nil || r.s.Counters().DataACKs != 2 {
		t.Errorf("%v, %+v", cmd.Err, r.s.Counters())
	}
}

// At level 0 the A bit must not be set, and is not answered.
func TestNoDataACKAtLevel0(t *testing.T) {
	r := newUp(t, 1, nil)
	p := r.peers[0]
	r.submit(scsi.Read, 1024)
	p.take()
	exp, top := p.window()
	p.send(pdu.DataIn{ITT: 1, TTT: 0x77, Acknowledge: true, Final: true, ExpCmdSN: exp,
		MaxCmdSN: top, DataLen: 512}, pattern(512))
	p.expect(``)
	r.alive()
}

// A SNACK that is rejected: the read ends with a protocol service CRC error when its
// status is there; a lost status cannot be had, and the session ends.
func TestSNACKRejected(t *testing.T) {
	for _, early := range []bool{false, true} {
		r := newUp(t, 1, level(1))
		p := r.peers[0]
		cmd := r.submit(scsi.Read, 1024)
		p.take()
		p.reading(1, 1, early)
		m := p.one()
		p.reject(pdu.RejectSNACK, &m.h)
		if !early {
			p.idle(10 * second)
			r.ended()
			p.good(1)
		}
		r.ended(cmd)
		var e *scsi.StatusError
		if !errors.As(cmd.Err, &e) || e.Sense.ASC != 0x47 || e.Sense.ASCQ != 5 {
			t.Errorf("%v", cmd.Err)
		}
		r.alive()
	}
	r := newUp(t, 1, level(1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 512)
	p.take()
	p.sn()
	p.async(pdu.Async{Event: pdu.AsyncVendor}, nil)
	m := p.one()
	p.reject(pdu.RejectSNACK, &m.h)
	r.dead("target rejected SNACK Request: SNACK reject")
	r.ended(cmd)
}

// Above level 0 nonsense still ends the session: numbers far ahead, bytes that come
// twice under different numbers, GOOD for more bytes than will ever come.
func TestLevel1Breaches(t *testing.T) {
	for _, c := range []struct {
		name, want string
		do         func(r *rig, p *peer)
	}{
		{"DataSN far ahead", "DataSN 5000, 0 was due", func(_ *rig, p *peer) {
			p.dataIn(1, 5000, 0, pattern(512), false)
		}},
		{"StatSN far ahead", "was due", func(_ *rig, p *peer) {
			p.statSN += 5000
			p.good(1)
		}},
		{"overlap", "came twice", func(_ *rig, p *peer) {
			p.dataIn(1, 1, 512, pattern(512), false)
			p.dataIn(1, 2, 768, pattern(512), false)
		}},
		{"overlap in order", "data at 0, 512 was due", func(_ *rig, p *peer) {
			p.dataIn(1, 0, 0, pattern(512), false)
			p.dataIn(1, 1, 0, pattern(512), false)
		}},
		{"short", "no answer to Data SNACK", func(r *rig, p *peer) {
			p.dataIn(1, 0, 0, pattern(512), true)
			r.sleep(10 * second)
		}},
		{"fewer by residual than came", "residual count says 24", func(_ *rig, p *peer) {
			p.dataIn(1, 0, 0, pattern(512), false)
			exp, top := p.window()
			p.send(pdu.SCSIResponse{ITT: 1, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top,
				Underflow: true, Residual: 2024}, nil)
		}},
		{"no such tag", "no command has this tag", func(_ *rig, p *peer) { p.good(99) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, level(1))
			p := r.peers[0]
			cmd := r.submit(scsi.Read, 2048)
			p.take()
			c.do(r, p)
			r.dead(c.want)
			r.ended(cmd)
		})
	}
}
