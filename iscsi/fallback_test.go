package iscsi

import (
	"errors"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// lostOne is a session of two connections that has just lost the first, on which a
// command was out that had arrived.
func lostOne(t *testing.T, dir scsi.Direction) (r *rig, b *peer, cmd *scsi.Command) {
	t.Helper()
	r = newUp(t, 2, level2)
	cmd = r.submit(dir, 512)
	r.peers[0].take()
	b = r.peers[1]
	b.nopIn(pdu.ReservedTag, pdu.ReservedTag)
	r.peers[0].cut()
	r.alive()
	return r, b, cmd
}

// logout takes the Logout of the lost connection when its time has come.
func (p *peer) logout() (itt uint32) {
	p.r.t.Helper()
	for range 200 {
		p.r.sleep(second / 10)
		for _, m := range p.others() {
			if q, err := pdu.ParseLogoutRequest(&m.h); err == nil {
				if q.Reason != pdu.LogoutRemoveForRecovery {
					p.r.t.Fatalf("sent %+v", q)
				}
				return q.ITT
			}
		}
	}
	p.r.t.Fatal("no Logout")
	return 0
}

// reassign takes the next TASK REASSIGN.
func (p *peer) reassign() pdu.TaskRequest {
	p.r.t.Helper()
	for range 100 {
		for _, m := range p.others() {
			if q, err := pdu.ParseTaskRequest(&m.h); err == nil && q.Function == 8 {
				return q
			}
		}
		p.r.sleep(second / 10)
	}
	p.r.t.Fatal("no TASK REASSIGN")
	return pdu.TaskRequest{}
}

// Recoveries that fail end the session, with the cause that began it, and the command
// counts as one that may have been executed.
func TestRecoveryFails(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig, b *peer)
	}{
		{"logout refused", func(_ *rig, b *peer) { b.logoutAnswer(b.logout(), 2) }},
		{"logout fails thrice", func(_ *rig, b *peer) {
			for range maxLogouts {
				b.logoutAnswer(b.logout(), pdu.LogoutCleanupFailed)
			}
		}},
		{"logout unanswered", func(_ *rig, b *peer) { b.idle(18 * second) }},
		{"reassign not supported", func(_ *rig, b *peer) {
			b.logoutOK(b.logout(), 0, 0)
			b.taskAnswer(b.reassign().ITT, pdu.TaskReassignNotSupported)
		}},
		{"no such task", func(_ *rig, b *peer) {
			b.logoutOK(b.logout(), 0, 0)
			b.taskAnswer(b.reassign().ITT, pdu.TaskDoesNotExist)
		}},
		{"reassign rejected", func(_ *rig, b *peer) {
			b.logoutOK(b.logout(), 0, 0)
			b.taskAnswer(b.reassign().ITT, pdu.TaskFunctionRejected)
		}},
		{"still allegiant for ever", func(_ *rig, b *peer) {
			b.logoutOK(b.logout(), 0, 0)
			for range maxAllegiant + 1 {
				b.taskAnswer(b.reassign().ITT, pdu.TaskStillAllegiant)
			}
		}},
		{"no time left", func(r *rig, b *peer) {
			b.logoutOK(b.logout(), 0, 0)
			b.reassign()
			b.cut()
			r.sleep(23 * second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, b, cmd := lostOne(t, scsi.Write)
			c.do(r, b)
			if r.s.Err() == nil {
				t.Fatal("alive")
			}
			r.dead("connection reset by peer")
			r.ended(cmd)
			if lost, sent := scsi.Lost(cmd.Err); !lost || !sent {
				t.Errorf("ended with %v", cmd.Err)
			}
			if r.s.Counters().Fallbacks != 1 {
				t.Errorf("counted %+v", r.s.Counters())
			}
		})
	}
}

// A TASK REASSIGN that is never answered ends the session; it is sent twice.
func TestReassignUnanswered(t *testing.T) {
	r, b, cmd := lostOne(t, scsi.Write)
	b.logoutOK(b.logout(), 0, 0)
	first := b.reassign()
	if second := b.reassign(); second != first {
		first.ExpStatSN = second.ExpStatSN
		if second != first {
			t.Errorf("the second one is %+v", second)
		}
	}
	b.idle(10 * second)
	r.dead("no answer to a task management request within 10s")
	r.ended(cmd)
}

// "Still allegiant" passes; so does a failed cleanup.
func TestRecoveryPatience(t *testing.T) {
	r, b, cmd := lostOne(t, scsi.Write)
	b.logoutAnswer(b.logout(), pdu.LogoutCleanupFailed)
	b.logoutOK(b.logout(), 0, 0)
	b.taskAnswer(b.reassign().ITT, pdu.TaskStillAllegiant)
	b.taskAnswer(b.reassign().ITT, pdu.TaskFunctionComplete)
	b.r2t(r.tag(cmd), 0, 0, 512, 7)
	b.take()
	b.good(r.tag(cmd))
	r.ended(cmd)
	if cmd.Err != nil || r.s.Counters().Connections != 1 {
		t.Errorf("%v, %+v", cmd.Err, r.s.Counters())
	}
}

// A read that the target gave up is to be sent anew.
func TestReadGivenUp(t *testing.T) {
	r, b, cmd := lostOne(t, scsi.Read)
	b.logoutOK(b.logout(), 0, 0)
	b.taskAnswer(b.reassign().ITT, pdu.TaskDoesNotExist)
	r.ended(cmd)
	var e *scsi.StatusError
	if !errors.As(cmd.Err, &e) || e.Status != scsi.TaskAborted {
		t.Errorf("ended with %v", cmd.Err)
	}
	r.alive()
}

// The status may come before the answer to TASK REASSIGN is dealt with, or the answer be
// lost and come late.
func TestReassignAnswerOvertaken(t *testing.T) {
	r, b, cmd := lostOne(t, scsi.Read)
	b.logoutOK(b.logout(), 0, 0)
	q := b.reassign()
	stat := b.sn() // of the answer, which is lost
	b.dataIn(q.RefTag, 0, 0, pattern(512), true)
	r.ended()
	exp, top := b.window()
	b.send(pdu.TaskResponse{ITT: q.ITT, StatSN: stat, ExpCmdSN: exp, MaxCmdSN: top}, nil)
	r.ended(cmd)
	r.alive()
	if cmd.Err != nil || len(r.s.lost) != 0 {
		t.Errorf("%v, %d recoveries", cmd.Err, len(r.s.lost))
	}
	b.idle(20 * second)
	r.alive()
}

// All connections are lost: with room for one more a new CID logs in, logs the lost ones
// out and takes their tasks; without, the CID of the lost one logs in again.
func TestAllConnectionsLost(t *testing.T) {
	for _, most := range []int{1, 2} {
		r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
			level2(c, tc)
			tc.MaxConnections = most
		})
		a := r.peers[0]
		cmd := r.submit(scsi.Read, 1024)
		a.take()
		a.reading(1, 0, false)
		acked := a.statSN
		a.cut()
		if since, silent := r.s.Silent(); !silent || since != r.now {
			t.Error("the session does not say that it is silent")
		}
		r.sleep(2*second - 1)
		if n := len(r.accept()); n != 0 {
			t.Fatal("too early")
		}
		r.sleep(1)
		fresh := r.accept()
		if len(fresh) != 1 {
			t.Fatalf("%d new connections", len(fresh))
		}
		b := fresh[0]
		m := b.one()
		q, err := pdu.ParseLoginRequest(&m.h)
		if err != nil || q.TSIH != r.tsih {
			t.Fatalf("%v, %+v", err, q)
		}
		if same := q.CID == a.c.cid && q.ExpStatSN == acked; same != (most == 1) {
			t.Errorf("CID %d, ExpStatSN %d", q.CID, q.ExpStatSN)
		}
		if !b.answerLogin(m) {
			b.logIn()
		}
		if b.c.State() != "up" {
			t.Fatalf("it is %s", b.c.State())
		}
		if most == 2 {
			b.logoutOK(b.logout(), 0, 20)
		}
		task := b.reassign()
		if task.RefTag != 1 || task.ExpDataSN != 1 {
			t.Errorf("sent %+v", task)
		}
		// What comes meanwhile waits: the answer may tell of a lost cache.
		after := r.submit(scsi.None, 0)
		b.taskAnswer(task.ITT, pdu.TaskFunctionComplete)
		b.expect(``)
		b.reading(1, 1, true)
		r.ended(cmd)
		b.good(b.oneTag())
		r.ended(after)
		if cmd.Err != nil || r.s.Counters().Connections != 1 {
			t.Errorf("%v, %+v", cmd.Err, r.s.Counters())
		}
		r.s.Tick(r.now)
		if n := len(r.accept()); n != 0 {
			t.Errorf("%d more connections", n)
		}
		r.s.Logout(r.now)
		b.logoutAnswer(b.oneTag(), pdu.LogoutSuccess)
		if !errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
			t.Error(r.s.Err())
		}
	}
}

// Two of two lost: both are logged out on the one that comes first, and both sets of tasks
// go on.
func TestBothLost(t *testing.T) {
	r := newUp(t, 2, level2)
	x, y := r.submit(scsi.Read, 512), r.submit(scsi.Read, 512)
	for _, p := range r.peers {
		p.take()
	}
	for _, p := range r.peers {
		p.nopIn(pdu.ReservedTag, pdu.ReservedTag)
	}
	tags := map[uint32]*scsi.Command{r.tag(x): x, r.tag(y): y}
	r.peers[0].cut()
	r.sleep(second)
	r.peers[1].cut()
	var c *peer
	for c == nil {
		r.sleep(second / 10)
		if r.now > 30*second {
			t.Fatal("no connection is made")
		}
		for _, p := range r.accept() {
			p.logIn()
			c = p
		}
	}
	c.logoutOK(c.logout(), 0, 20)
	for range tags {
		var q pdu.TaskRequest
		for found := false; !found; r.sleep(second / 10) {
			r.accept() // the rest of the connections is not answered
			for _, m := range c.others() {
				switch m.h.Opcode() {
				case pdu.OpLogoutRequest:
					c.logoutOK(m.h.ITT(), 0, 20)
				case pdu.OpTaskRequest:
					q, _ = pdu.ParseTaskRequest(&m.h)
					found = true
				}
			}
			if r.now > 60*second || r.s.Err() != nil {
				t.Fatalf("no TASK REASSIGN: %v", r.s.Err())
			}
		}
		c.taskAnswer(q.ITT, pdu.TaskFunctionComplete)
		c.dataIn(q.RefTag, 0, 0, pattern(512), true)
		r.ended(tags[q.RefTag])
	}
	r.alive()
	if n := r.s.Counters(); n.Connections != 2 || n.Reassigned != 2 {
		t.Errorf("counted %+v", n)
	}
}

// A target that counts the lost connection refuses a further one; then the lost one's CID
// logs in. One that does not know the session ends it.
func TestReinstateRefused(t *testing.T) {
	for _, code := range []uint16{login.StatusTooManyConnections, login.StatusNoSession} {
		r := newUp(t, 1, level2)
		cmd := r.submit(scsi.Write, 512)
		r.peers[0].take()
		r.peers[0].cut()
		r.sleep(2 * second)
		b := r.accept()[0]
		m := b.one()
		b.send(pdu.LoginResponse{ITT: m.h.ITT(), StatusClass: uint8(code >> 8),
			StatusDetail: uint8(code)}, nil)
		if code == login.StatusNoSession {
			r.dead("connection reset by peer")
			r.ended(cmd)
			continue
		}
		r.s.Tick(r.now)
		fresh := r.accept()
		if len(fresh) != 1 || fresh[0].c.cid != r.peers[0].c.cid {
			t.Fatalf("%d new connections", len(fresh))
		}
		r.alive()
	}
}

// What is recovered from, and what is not.
func TestWhatIsRecovered(t *testing.T) {
	for _, c := range []struct {
		name string
		dead string
		do   func(r *rig, a, b *peer)
	}{
		{name: "header digest", do: func(_ *rig, a, _ *peer) {
			var h pdu.Header
			pdu.NopIn{ITT: pdu.ReservedTag, TTT: pdu.ReservedTag}.Marshal(&h)
			a.feed(append(h[:], 1, 2, 3, 4))
		}},
		{name: "SNACK in vain", do: func(r *rig, a, b *peer) {
			a.sn()
			a.nopIn(pdu.ReservedTag, 9)
			a.async(pdu.Async{Event: pdu.AsyncVendor}, nil)
			for range 24 {
				r.sleep(second / 4)
				a.others()
				b.others()
			}
		}},
		{name: "link down", do: func(r *rig, a, _ *peer) {
			r.s.LinkDown(r.now, []string{"a:1", "x:1"}, errors.New("link p0 is down"))
			if a.c.Want() != WantReset {
				r.t.Error("not reset")
			}
		}},
		{name: "silent while the sibling answers", do: func(r *rig, a, b *peer) {
			r.s.Probe(r.now)
			b.others()
			r.sleep(second / 2)
			b.nopIn(pdu.ReservedTag, 3)
			r.sleep(second / 2)
		}},
		{name: "dropped by the target", do: func(_ *rig, a, b *peer) {
			b.async(pdu.Async{Event: pdu.AsyncDropConnection, Param1: a.c.cid, Param2: 1,
				Param3: 30}, nil)
		}},
		{name: "every link down", dead: "every link", do: func(r *rig, _, _ *peer) {
			r.s.LinkDown(r.now, []string{"a:1", "b:1"}, errors.New("every link"))
		}},
		{name: "breach", dead: "no command has this tag", do: func(_ *rig, a, _ *peer) { a.good(77) }},
		{name: "nothing is kept", dead: "dropped", do: func(_ *rig, a, b *peer) {
			b.async(pdu.Async{Event: pdu.AsyncDropConnection, Param1: a.c.cid}, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 2, func(cf *Config, tc *login.TargetConfig) {
				level2(cf, tc)
				if c.name == "header digest" {
					cf.Offer.HeaderDigest, tc.HeaderDigest = login.DigestCRC32C, login.DigestCRC32C
				}
			})
			a, b := r.peers[0], r.peers[1]
			c.do(r, a, b)
			if c.dead != "" {
				r.dead(c.dead)
				return
			}
			r.alive()
			if a.c.State() != "dead" || b.c.State() != "up" {
				t.Fatalf("%s, %s", a.c.State(), b.c.State())
			}
			if _, silent := r.s.Silent(); silent {
				t.Error("the session says that it is silent")
			}
			b.logoutOK(b.logout(), 0, 20)
			if n := r.s.Counters().Connections; n != 1 {
				t.Errorf("%d connections recovered", n)
			}
		})
	}
}

// Event 3 drops all: they are made anew when the target wants it.
func TestDroppedAll(t *testing.T) {
	r := newUp(t, 2, level2)
	r.peers[0].async(pdu.Async{Event: pdu.AsyncDropSession, Param2: 4, Param3: 30}, nil)
	r.alive()
	r.sleep(4*second - 1)
	if n := len(r.accept()); n != 0 {
		t.Fatal("too early")
	}
	r.sleep(1)
	if n := len(r.accept()); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

// A session that loses its connections again and again without getting on ends.
func TestFruitless(t *testing.T) {
	r := newUp(t, 1, level2)
	cmd := r.submit(scsi.Read, 512)
	r.peers[0].take()
	r.peers[0].cut()
	n := 0
	for r.s.Err() == nil && r.now < time.Hour {
		r.sleep(second / 10)
		for _, p := range r.accept() {
			p.logIn()
			p.cut()
			n++
		}
	}
	if n != maxFruitless {
		t.Errorf("%d logins", n)
	}
	r.dead("connection reset")
	r.ended(cmd)
}

// Logout waits for a recovery, within its bounds.
func TestLogoutDuringRecovery(t *testing.T) {
	r, b, cmd := lostOne(t, scsi.Read)
	r.s.Logout(r.now)
	b.logoutOK(b.logout(), 0, 0)
	b.taskAnswer(b.reassign().ITT, pdu.TaskFunctionComplete)
	b.dataIn(r.tag(cmd), 0, 0, pattern(512), true)
	r.ended(cmd)
	m := b.others()
	if len(m) != 1 || m[0].h.Opcode() != pdu.OpLogoutRequest {
		t.Fatalf("sent:\n%s", script(m))
	}
	b.logoutAnswer(m[0].h.ITT(), pdu.LogoutSuccess)
	if !errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
		t.Error(r.s.Err())
	}
}

// A command whose timeout passes while its connection is lost is aborted where it went.
func TestAbortAfterMove(t *testing.T) {
	r := newUp(t, 2, level2)
	b := r.peers[1]
	cmd := r.submit(scsi.Read, 512)
	r.peers[0].take()
	for range 58 {
		r.sleep(second / 2)
		r.peers[0].others()
		b.others()
	}
	r.peers[0].cut()
	b.logoutOK(b.logout(), 0, 0)
	q := b.reassign()
	b.idle(second)
	b.taskAnswer(q.ITT, pdu.TaskFunctionComplete)
	m := b.others()
	if len(m) != 1 {
		t.Fatalf("sent:\n%s", script(m))
	}
	if q, _ := pdu.ParseTaskRequest(&m[0].h); q.Function != pdu.AbortTask || q.RefTag != r.tag(cmd) {
		t.Errorf("sent %+v", q)
	}
	b.taskAnswer(m[0].h.ITT(), pdu.TaskFunctionComplete)
	r.ended(cmd)
	r.alive()
}
