package iscsi

import (
	"bytes"
	"errors"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// level2 has both sides agree on level 2, Time2Wait 2 s and Time2Retain 20 s.
func level2(c *Config, tc *login.TargetConfig) {
	level(2)(c, tc)
	limits(true, false, 512, 4096, 512, 4)(c, tc)
	tc.DefaultTime2Wait, tc.DefaultTime2Retain = 2, 20
}

// cut lets a connection be lost; what it had sent, up to now, was taken before.
func (p *peer) cut() {
	p.c.Closed(p.r.now, errors.New("connection reset by peer"))
}

func (p *peer) logoutOK(itt uint32, wait, retain uint16) {
	a := pdu.LogoutResponse{Response: pdu.LogoutSuccess, ITT: itt, StatSN: p.sn(),
		Time2Wait: wait, Time2Retain: retain}
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	p.send(a, nil)
}

// A lost connection of two: Time2Wait, Logout of its CID on the other, then TASK REASSIGN of
// what had arrived, and what had not again with its CmdSN. The tasks go on where they were.
// Then the connection is made anew.
func TestConnectionRecovery(t *testing.T) {
	r := newUp(t, 2, level2)
	a, b := r.peers[0], r.peers[1]
	read := r.submit(scsi.Read, 2048)   // on a, the first data has come
	other := r.submit(scsi.Read, 1<<16) // on b
	write := r.submit(scsi.Write, 1024) // on a
	lost := r.submit(scsi.Read, 512)    // on a, and the target never sees it
	tags := [...]uint32{r.tag(read), r.tag(write), r.tag(lost)}
	if n := len(a.lose()); n != 3 {
		t.Fatalf("%d PDUs on a", n)
	}
	if n := len(b.take()); n != 1 {
		t.Fatalf("%d PDUs on b", n)
	}
	a.reading(r.tag(read), 0, false)
	a.reading(r.tag(read), 2, false) // a gap: it counts for nothing
	a.take()
	r.exp = r.sn(lost)
	b.nopIn(pdu.ReservedTag, pdu.ReservedTag)
	a.cut()
	r.alive()
	if a.c.State() != "dead" || !r.s.Up() {
		t.Fatalf("connection is %s, session up: %v", a.c.State(), r.s.Up())
	}
	b.expect(``)
	r.sleep(2*second - 1)
	b.expect(``)
	r.sleep(1)
	// 46 immediate Logout, 82 final and reason 2, CID 0.
	b.got = b.others()
	m := b.got[0]
	b.wire(`46820000 00000000 0000000000000000 xxxxxxxx 00000000 00000005 xxxxxxxx
		00000000 00000000 00000000 00000000`)
	b.logoutOK(m.h.ITT(), 1, 20)
	b.expect(``)
	r.sleep(second)
	// The command that had not arrived goes first. 42 immediate, 88 final and function 8,
	// LUN 5, referenced task, ExpDataSN 1 for the read.
	got := b.take()
	if len(got) != 2 || got[0].h.Opcode() != pdu.OpSCSICommand ||
		got[0].h.ITT() != r.tag(lost) || got[0].h.CmdSN() != r.sn(lost) {
		t.Fatalf("sent:\n%s", script(got))
	}
	b.got = got[1:]
	own := got[1].h.ITT()
	b.wire(`42880000 00000000 0005000000000000 xxxxxxxx 0000000` + itoa(tags[0]) + `
		00000005 xxxxxxxx 00000000 00000001 00000000 00000000`)
	b.taskAnswer(own, pdu.TaskFunctionComplete)
	b.reading(r.tag(read), 1, false)
	b.reading(r.tag(read), 2, false)
	b.reading(r.tag(read), 3, true)
	r.ended(read)
	if read.Err != nil || !bytes.Equal(read.Data, pattern(2048)) {
		t.Errorf("read: %v", read.Err)
	}
	m = b.one()
	if q, _ := pdu.ParseTaskRequest(&m.h); q.Function != 8 || q.RefTag != r.tag(write) ||
		q.ExpDataSN != 0 {
		t.Errorf("sent %+v", q)
	}
	b.taskAnswer(m.h.ITT(), pdu.TaskFunctionComplete)
	b.r2t(r.tag(write), 0, 0, 1024, 0xb0)
	if got := b.take(); len(got) != 2 || got[1].h.ITT() != r.tag(write) {
		t.Errorf("sent:\n%s", script(got))
	}
	b.good(tags[1])
	b.dataIn(tags[2], 0, 0, pattern(512), true)
	r.ended(write, lost)
	if write.Err != nil || lost.Err != nil {
		t.Errorf("%v, %v", write.Err, lost.Err)
	}
	want := Counters{Retries: 1, Reassigned: 2, Connections: 1, DataSNACKs: 1}
	if got := r.s.Counters(); got != want {
		t.Errorf("counted %+v", got)
	}
	r.s.Tick(r.now)
	fresh := r.accept()
	if len(fresh) != 1 || fresh[0].c.cid == a.c.cid || fresh[0].c.address != a.c.address {
		t.Fatalf("%d new connections", len(fresh))
	}
	fresh[0].logIn()
	if fresh[0].c.State() != "up" {
		t.Error("it is not up")
	}
	b.dataIn(r.tag(other), 0, 0, make([]byte, 1<<16), true)
	r.ended(other)
	r.alive()
}

// taskOf looks into the session for what stands for a command.
func (r *rig) taskOf(cmd *scsi.Command) *task {
	r.t.Helper()
	for i := range r.s.tasks.slots {
		if t := r.s.tasks.slot(i); t.kind == kindCommand && t.cmd == cmd {
			return t
		}
	}
	r.t.Fatal("no such command")
	return nil
}

func (r *rig) tag(cmd *scsi.Command) uint32 { return r.taskOf(cmd).itt }
func (r *rig) sn(cmd *scsi.Command) uint32  { return r.taskOf(cmd).cmdSN }

// The Logout says what of the lost connection's answers has come, and nothing behind a gap:
// it is no acknowledgement on the connection that carries it (RFC 7143 section 11.14.4).
func TestLogoutAcknowledgesLostConnection(t *testing.T) {
	r := newUp(t, 2, level2)
	a, b := r.peers[0], r.peers[1]
	var list []*scsi.Command // on a, b, a, b, a
	for range 5 {
		list = append(list, r.submit(scsi.None, 0))
	}
	a.take()
	b.take()
	first, missing, behind := r.tag(list[0]), r.tag(list[2]), r.tag(list[4])
	a.good(first)
	lost := a.sn() // the answer to missing
	a.good(behind)
	for _, cmd := range []*scsi.Command{list[1], list[3]} {
		b.good(r.tag(cmd))
	}
	r.ended(list[0], list[1], list[3])
	a.cut()
	r.ended(list[4])       // to be asked again: what was to be told before it is not known
	for tries := range 2 { // the first is not answered
		var q pdu.LogoutRequest
		for q.Reason == 0 {
			r.sleep(second / 10)
			for _, m := range b.others() {
				q, _ = pdu.ParseLogoutRequest(&m.h)
			}
			if r.s.Err() != nil {
				t.Fatal(r.s.Err())
			}
		}
		if q.CID != a.c.cid || q.ExpStatSN != lost {
			t.Errorf("CID %d, ExpStatSN %d; %d of CID %d was lost", q.CID, q.ExpStatSN, lost, a.c.cid)
		}
		if tries == 1 {
			b.logoutOK(q.ITT, 0, 20)
		}
	}
	q := b.reassign()
	if q.RefTag != missing || q.ExpStatSN != b.statSN {
		t.Errorf("sent %+v, %d is next", q, b.statSN)
	}
	b.taskAnswer(q.ITT, pdu.TaskFunctionComplete)
	b.good(missing)
	r.ended(list[2])
	r.alive()
}
