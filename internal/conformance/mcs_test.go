package conformance

import (
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/scsi"
)

// several makes a session of n connections, at the level given.
func several(t *testing.T, n int, options ...option) *rig {
	t.Helper()
	r := newUp(t, append([]option{portals(n)}, options...)...)
	if len(r.order) != n {
		t.Fatalf("%d connections, wanted %d", len(r.order), n)
	}
	return r
}

// all takes what was sent on every connection.
func (r *rig) all() map[*Link][]*PDU {
	m := map[*Link][]*PDU{}
	for _, l := range r.order {
		if got := r.take(l); len(got) > 0 {
			m[l] = got
		}
	}
	return m
}

func TestMC_1_1_SecondConnectionLogin(t *testing.T) {
	r := several(t, 4)
	cids := map[uint16]bool{}
	for _, w := range r.target.Judge.wires {
		if cids[w.cid] {
			t.Errorf("CID %d twice", w.cid)
		}
		cids[w.cid] = true
		if w.login.last.U16(14) != 7 && w.id > 0 {
			t.Errorf("connection %d joins TSIH %d", w.id, w.login.last.U16(14))
		}
	}
}

func TestMC_1_2_WrongTSIHInAnswer(t *testing.T) {
	r := newRig(t, portals(2))
	r.grant(r.link())
	l := r.link()
	r.target.TSIH = 9
	r.tainted()
	r.agree(l, r.operational(l))
	r.alive()
	if w := r.conns[l].Want(); w != iscsi.WantClose && w != iscsi.WantReset {
		t.Errorf("a connection of another session wants %d", w)
	}
}

func TestMC_1_3_OtherPortalGroup(t *testing.T) {
	r := newRig(t, portals(2))
	r.grant(r.link())
	l := r.link()
	r.target.Group = "4"
	r.grant(l)
	r.alive()
	c := r.check()
	if got := r.take(l); len(got) > 0 {
		t.Errorf("sent over a portal of another group: %s", names(got))
	}
	r.first().Good(r.one(r.first(), SCSI).ITT())
	r.done(c)
}

func TestMC_1_4_RefusedJoin(t *testing.T) {
	// "Too many connections": the session goes on with those it has.
	r := newRig(t, portals(2))
	r.grant(r.link())
	l := r.link()
	l.Send(l.LoginRefused(r.request(l), 2, 6))
	r.alive()
	c := r.check()
	r.first().Good(r.one(r.first(), SCSI).ITT())
	r.done(c)
}

func TestMC_2_1_CmdSNAcrossConnections(t *testing.T) {
	r := several(t, 3)
	var cmds []*scsi.Command
	for range 30 {
		cmds = append(cmds, r.check())
	}
	seen := map[uint32]int{}
	used := 0
	for l, list := range r.all() {
		used++
		for _, q := range list {
			seen[q.CmdSN()]++
			l.Good(q.ITT())
		}
	}
	if used != 3 || len(seen) != 30 || r.target.Judge.Holes() {
		t.Errorf("%d connections used, %d numbers, holes %v", used, len(seen), r.target.Judge.Holes())
	}
	r.done(cmds...)
}

func TestMC_2_2_WindowAcrossConnections(t *testing.T) {
	// MaxCmdSN counts for the session; the highest heard on any connection holds.
	r := several(t, 2, window(4))
	a, b := r.order[0], r.order[1]
	var cmds []*scsi.Command
	for range 6 {
		cmds = append(cmds, r.check())
	}
	sent := r.all()
	if n := len(sent[a]) + len(sent[b]); n != 4 {
		t.Fatalf("%d commands in a window of 4", n)
	}
	b.Send(b.Nop(None, None, 0, nil)) // 4 more
	late := r.all()
	if n := len(late[a]) + len(late[b]); n != 2 {
		t.Errorf("%d commands after the window grew", n)
	}
	// A PDU of the other connection that is older closes nothing.
	old := a.Nop(None, None, 0, nil)
	a.Send(old.Set(28, 4, 1).Set(32, 4, 4))
	for _, m := range []map[*Link][]*PDU{sent, late} {
		for l, list := range m {
			goods(l, list)
		}
	}
	r.done(cmds...)
}

func TestMC_2_3_ImmediateOnEachConnection(t *testing.T) {
	r := several(t, 3)
	r.check()
	r.all()
	r.s.Probe(r.now)
	for _, l := range r.order {
		p := r.one(l, NopOut)
		if !p.Immediate() {
			t.Errorf("connection %d: not immediate", l.ID)
		}
		l.Send(l.Nop(p.ITT(), None, 0, nil))
	}
}

func TestMC_3_1_StatSNPerConnection(t *testing.T) {
	r := several(t, 2)
	a, b := r.order[0], r.order[1]
	a.StatSN, b.StatSN = r.order[0].StatSN, r.order[1].StatSN
	for range 6 {
		c1, c2 := r.check(), r.check()
		for l, list := range r.all() {
			for _, q := range list {
				if q.ExpStatSN() != l.StatSN {
					t.Errorf("connection %d: ExpStatSN %d, %d is next", l.ID, q.ExpStatSN(), l.StatSN)
				}
			}
			goods(l, list)
		}
		r.done(c1, c2)
	}
}

func TestMC_3_2_Allegiance(t *testing.T) {
	// All PDUs of a task stay on the connection of its command.
	r := several(t, 2, bursts("No", "Yes", 512, 1024, 2048, 2))
	var cmds []*scsi.Command
	for range 4 {
		cmds = append(cmds, r.write(4096))
	}
	sent := r.all()
	if len(sent) != 2 {
		t.Fatalf("%d connections used", len(sent))
	}
	for l, list := range sent {
		mine := map[uint32][]*PDU{}
		var order []*PDU
		for _, p := range list {
			mine[p.ITT()] = append(mine[p.ITT()], p)
			if p.Op() == SCSI {
				order = append(order, p)
			}
		}
		for _, q := range order {
			l.Send(l.Ready(q, 0, q.ITT(), 1024, 2048))
			l.Send(l.Ready(q, 1, q.ITT()+1000, 3072, 1024))
		}
		for other, more := range r.all() {
			for _, p := range more {
				if other != l || mine[p.ITT()] == nil {
					t.Errorf("data of task 0x%x on connection %d", p.ITT(), other.ID)
				}
				mine[p.ITT()] = append(mine[p.ITT()], p)
			}
		}
		for _, q := range order {
			if payload(mine[q.ITT()]) != 4096 {
				t.Errorf("%d bytes of task 0x%x", payload(mine[q.ITT()]), q.ITT())
			}
			l.Good(q.ITT())
		}
	}
	r.done(cmds...)
}

func TestMC_3_3_StatusOnAnotherConnection(t *testing.T) {
	// A target that answers on the wrong connection breaks the allegiance.
	r := several(t, 2)
	c := r.check()
	var other *Link
	var q *PDU
	for l, list := range r.all() {
		q = list[0]
		other = r.order[1-l.ID]
	}
	r.tainted()
	other.Good(q.ITT())
	if r.s.Err() == nil {
		t.Error("an answer on another connection was taken")
	}
	for _, err := range r.back(c) {
		if err == nil {
			t.Error("the command ended well")
		}
	}
}

func TestMC_4_1_AbortOnItsConnection(t *testing.T) {
	r := several(t, 2)
	c1, c2 := r.check(), r.check()
	sent := r.all()
	r.sleep(30 * time.Second)
	for l, list := range sent {
		abort := r.one(l, TaskReq)
		if abort.U32(20) != list[0].ITT() || abort.U32(32) != list[0].CmdSN() {
			t.Errorf("connection %d: %x", l.ID, abort.H)
		}
		l.Send(l.Managed(abort.ITT(), 0))
	}
	r.back(c1, c2)
	r.alive()
}

func TestMC_5_1_LogoutSession(t *testing.T) {
	r := several(t, 3)
	c := r.check()
	sent := r.all()
	r.s.Logout(r.now)
	if len(r.all()) != 0 {
		t.Error("logged out with a command out")
	}
	for l, list := range sent {
		goods(l, list)
	}
	r.done(c)
	out := r.all()
	if len(out) != 1 {
		t.Fatalf("Logout on %d connections", len(out))
	}
	for l, list := range out {
		if list[0].Op() != LogoutReq || list[0].H[1] != 0x80 {
			t.Errorf("%x", list[0].H)
		}
		l.Send(l.Out(list[0].ITT(), 0, 0, 0))
	}
	for _, l := range r.order {
		if w := r.conns[l].Want(); w != iscsi.WantClose {
			t.Errorf("connection %d wants %d", l.ID, w)
		}
	}
}

func TestMC_5_2_AsyncDropOfAnother(t *testing.T) {
	// Event 2 names a CID, told on another connection.
	r := several(t, 2, answers("ErrorRecoveryLevel=0"))
	r.order[0].Send(r.order[0].Event(2, r.conns[r.order[1]].CID(), 0, 0))
	r.dead("dropped a connection")
}

func TestMC_6_1_ConnectionLostAtLevelZero(t *testing.T) {
	// The session goes as a whole, and with it every command.
	r := several(t, 3, answers("ErrorRecoveryLevel=0"))
	var cmds []*scsi.Command
	for range 6 {
		cmds = append(cmds, r.check())
	}
	r.all()
	r.lose(r.order[1])
	r.dead("reset")
	for _, err := range r.back(cmds...) {
		if _, lost := err.(*scsi.NexusLostError); !lost {
			t.Errorf("ended with %v", err)
		}
	}
	for _, l := range []*Link{r.order[0], r.order[2]} {
		if w := r.conns[l].Want(); w != iscsi.WantReset {
			t.Errorf("connection %d wants %d", l.ID, w)
		}
	}
}

func TestMC_6_2_ConnectionLostInLogin(t *testing.T) {
	r := newRig(t, portals(2))
	r.grant(r.link())
	l := r.link()
	r.request(l)
	r.lose(l)
	r.alive()
	r.sleep(2 * time.Second)
	again := r.link()
	r.grant(again)
	c1, c2 := r.check(), r.check()
	for l, list := range r.all() {
		goods(l, list)
	}
	r.done(c1, c2)
}
