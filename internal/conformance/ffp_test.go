package conformance

import (
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/scsi"
)

// nops makes the session ask for life after so long.
func nops(interval time.Duration) option {
	return func(c *iscsi.Config, _ *rig) { c.NopInterval = interval }
}

// window is how many commands the target takes at a time.
func window(n uint32) option {
	return func(_ *iscsi.Config, r *rig) { r.target.Window = n }
}

// goods answers all these commands.
func goods(l *Link, list []*PDU) {
	for _, q := range list {
		l.Good(q.ITT())
	}
}

func TestFFP_1_1_CommandNumbering(t *testing.T) {
	r := newUp(t)
	l := r.first()
	var first uint32
	for i := range uint32(20) {
		c := r.check()
		q := r.one(l, SCSI)
		if i == 0 {
			first = q.CmdSN()
		}
		if q.CmdSN() != first+i || q.Immediate() {
			t.Errorf("command %d has CmdSN %d, immediate %v", i, q.CmdSN(), q.Immediate())
		}
		l.Good(q.ITT())
		r.done(c)
	}
}

func TestFFP_2_1_ImmediateDelivery(t *testing.T) {
	r := newUp(t)
	l := r.first()
	c := r.check()
	q := r.one(l, SCSI)
	r.s.Probe(r.now)
	nop := r.one(l, NopOut)
	if !nop.Immediate() || nop.CmdSN() != q.CmdSN()+1 {
		t.Errorf("NOP-Out: immediate %v, CmdSN %d after %d", nop.Immediate(), nop.CmdSN(), q.CmdSN())
	}
	c2 := r.check()
	q2 := r.one(l, SCSI)
	if q2.CmdSN() != nop.CmdSN() {
		t.Errorf("the immediate NOP-Out used up CmdSN %d", nop.CmdSN())
	}
	l.Send(l.Nop(nop.ITT(), None, 0, nil))
	goods(l, []*PDU{q, q2})
	r.done(c, c2)
}

// aborted submits a command, lets its time pass, and gives it and its ABORT TASK.
func (r *rig) aborted(l *Link) (cmd *scsi.Command, q, abort *PDU) {
	r.t.Helper()
	cmd = r.read(512)
	q = r.one(l, SCSI)
	r.sleep(cmd.Timeout)
	return cmd, q, r.one(l, TaskReq)
}

func TestFFP_2_2_ImmediateTaskManagement(t *testing.T) {
	r := newUp(t)
	l := r.first()
	cmd, q, abort := r.aborted(l)
	if !abort.Immediate() || abort.CmdSN() != q.CmdSN()+1 {
		t.Errorf("immediate %v, CmdSN %d after %d", abort.Immediate(), abort.CmdSN(), q.CmdSN())
	}
	l.Send(l.Managed(abort.ITT(), 0))
	c := r.check()
	next := r.one(l, SCSI)
	if next.CmdSN() != q.CmdSN()+1 {
		t.Errorf("CmdSN %d after the immediate one", next.CmdSN())
	}
	l.Good(next.ITT())
	r.back(cmd, c)
}

func TestFFP_3_1_ClosedWindow(t *testing.T) {
	r := newUp(t, window(2))
	l := r.first()
	c1, c2, c3 := r.check(), r.check(), r.check()
	list := r.many(l, SCSI, 2)
	r.target.Window = 0
	goods(l, list)
	r.none(l)
	// What is immediate passes.
	r.s.Probe(r.now)
	nop := r.one(l, NopOut)
	l.Send(l.Nop(nop.ITT(), None, 0, nil))
	r.none(l)
	r.target.Window = 1
	l.Send(l.Nop(None, None, 0, nil))
	q := r.one(l, SCSI)
	l.Good(q.ITT())
	r.done(c1, c2, c3)
}

func TestFFP_3_2_LargeWindow(t *testing.T) {
	r := newUp(t, window(1000))
	l := r.first()
	var all []*scsi.Command
	for range 500 {
		all = append(all, r.check())
	}
	goods(l, r.many(l, SCSI, 500))
	r.done(all...)
}

func TestFFP_3_3_SingleCommand(t *testing.T) {
	r := newUp(t, window(1))
	l := r.first()
	var all []*scsi.Command
	for range 5 {
		all = append(all, r.check())
	}
	for range 5 {
		q := r.one(l, SCSI)
		// A MaxCmdSN that is older than what is known opens nothing.
		p := l.Nop(None, None, 0, nil)
		l.Send(p.Set(32, 4, uint64(q.CmdSN()-1)).Set(28, 4, uint64(q.CmdSN())))
		r.none(l)
		l.Good(q.ITT())
	}
	r.done(all...)
}

func TestFFP_5_1_ExpStatSNGap(t *testing.T) {
	// At level 0 a status that did not come ends the session: no PDU claims to
	// have heard it, and no command is told to be done.
	r := newUp(t, answers("ErrorRecoveryLevel=0"))
	l := r.first()
	c1, c2 := r.check(), r.check()
	list := r.many(l, SCSI, 2)
	r.tainted()
	l.StatSN += 5
	l.Good(list[1].ITT())
	r.dead("StatSN")
	for _, err := range r.back(c1, c2) {
		if err == nil {
			t.Error("a command ended well")
		}
	}
}

func TestFFP_14_1_AsyncLogout(t *testing.T) {
	r := newUp(t)
	l := r.first()
	c := r.check()
	q := r.one(l, SCSI)
	l.Send(l.Event(1, 0, 0, 10))
	queued := r.check() // is not sent any more
	l.Good(q.ITT())
	r.sleep(time.Second)
	out := r.one(l, LogoutReq)
	if reason := out.H[1] & 0x7f; reason != 0 && reason != 1 {
		t.Errorf("logout with reason %d", reason)
	}
	l.Send(l.Out(out.ITT(), 0, 0, 0))
	if r.s.Up() || r.s.Err() == nil {
		t.Errorf("up %v, %v", r.s.Up(), r.s.Err())
	}
	r.back(c, queued)
}

func TestFFP_14_2_AsyncLogoutSeveral(t *testing.T) {
	r := newUp(t, portals(2))
	a, b := r.order[0], r.order[1]
	c1, c2 := r.check(), r.check()
	qa, qb := r.one(a, SCSI), r.one(b, SCSI)
	b.Send(b.Event(1, 0, 0, 5))
	a.Good(qa.ITT())
	b.Good(qb.ITT())
	r.sleep(time.Second)
	var outs []*PDU
	for _, l := range []*Link{a, b} {
		outs = append(outs, r.take(l)...)
	}
	if len(outs) != 1 || outs[0].Op() != LogoutReq {
		t.Fatalf("sent %s", names(outs))
	}
	r.done(c1, c2)
}

func TestFFP_15_1_PingResponse(t *testing.T) {
	r := newUp(t)
	l := r.first()
	r.target.Window = 0
	l.Send(l.Nop(None, 0x11223344, lunBytes, nil))
	p := r.one(l, NopOut)
	if p.TTT() != 0x11223344 || p.ITT() != None || !p.Immediate() || p.U64(8) != lunBytes ||
		len(p.Data) != 0 {
		t.Errorf("answered with %x", p.H)
	}
	// Several, in order.
	for i := range uint32(3) {
		l.Send(l.Nop(None, 100+i, 0, nil))
	}
	for i, p := range r.many(l, NopOut, 3) {
		if p.TTT() != 100+uint32(i) {
			t.Errorf("answer %d is to 0x%x", i, p.TTT())
		}
	}
	if r.target.Judge.Pings() != 0 {
		t.Error("a ping was not answered")
	}
}

func TestFFP_15_2_PingRequest(t *testing.T) {
	r := newUp(t, nops(5*time.Second))
	l := r.first()
	r.sleep(5 * time.Second)
	p := r.one(l, NopOut)
	if p.ITT() == None || p.TTT() != None || !p.Immediate() || p.U64(8) != 0 {
		t.Errorf("asks with %x", p.H)
	}
	l.Send(l.Nop(p.ITT(), None, 0, p.Data))
	r.sleep(4 * time.Second)
	r.none(l)
	r.alive()
	// Not answered: the connection is dead.
	r.sleep(time.Second)
	r.one(l, NopOut)
	r.sleep(5 * time.Second)
	r.dead("NOP-Out")
}

func TestFFP_15_3_ConfirmExpStatSN(t *testing.T) {
	// What acknowledges statuses when nothing else is to be sent: the next
	// NOP-Out, which a ping of either side brings.
	r := newUp(t)
	l := r.first()
	c := r.check()
	l.Good(r.one(l, SCSI).ITT())
	r.done(c)
	l.Send(l.Nop(None, 9, 0, nil))
	if p := r.one(l, NopOut); p.ExpStatSN() != l.StatSN || p.ITT() != None || !p.Immediate() {
		t.Errorf("ExpStatSN %d, %d is next; %x", p.ExpStatSN(), l.StatSN, p.H)
	}
}

func TestFFP_17_1_Logout(t *testing.T) {
	r := newUp(t)
	l := r.first()
	c := r.check()
	q := r.one(l, SCSI)
	r.s.Logout(r.now)
	r.none(l) // the command is out
	l.Good(q.ITT())
	r.done(c)
	out := r.one(l, LogoutReq)
	if out.H[1] != 0x80 || out.U16(20) != 0 || out.CmdSN() != q.CmdSN()+1 {
		t.Errorf("logout %x", out.H)
	}
	l.Send(l.Out(out.ITT(), 0, 2, 20))
	if r.s.Err() != scsi.ErrLoggedOut {
		t.Error(r.s.Err())
	}
	if w := r.conns[l].Want(); w != iscsi.WantClose {
		t.Errorf("the connection wants %d", w)
	}
}

func TestFFP_19_1_TaskManagementCmdSN(t *testing.T) {
	r := newUp(t, window(4))
	l := r.first()
	cmd, q, abort := r.aborted(l)
	if abort.CmdSN() != q.CmdSN()+1 {
		t.Errorf("CmdSN %d", abort.CmdSN())
	}
	l.Send(l.Managed(abort.ITT(), 0))
	r.back(cmd)
	r.alive()
}

func TestFFP_19_2_TaskManagementLUN(t *testing.T) {
	r := newUp(t)
	_, q, abort := r.aborted(r.first())
	if abort.U64(8) != q.U64(8) || q.U64(8) != lunBytes {
		t.Errorf("LUN %x, the command's is %x", abort.U64(8), q.U64(8))
	}
}

func TestFFP_19_3_RefCmdSN(t *testing.T) {
	r := newUp(t)
	l := r.first()
	_, q, abort := r.aborted(l)
	if abort.U32(32) != q.CmdSN() || abort.U32(20) != q.ITT() || abort.H[1] != 0x81 {
		t.Errorf("%x of CmdSN %d, tag %d", abort.H, q.CmdSN(), q.ITT())
	}
	// No answer to it: nothing can be trusted any more.
	r.sleep(10 * time.Second)
	r.dead("no answer to")
}

// ABORT TASK SET and its relatives end other commands than the one that is late;
// braid does without them (cases 19.4.1 to 19.4.3). Runs when all others have.
func TestFFP_19_4_NoTaskSetIsAborted(t *testing.T) {
	t.Parallel()
	seen := map[byte]int{}
	for _, list := range captured.sent {
		for _, p := range list {
			if p.Op() == TaskReq {
				seen[p.H[1]&0x7f]++
			}
		}
	}
	for function, n := range seen {
		if function != AbortTask && function != TaskReassign {
			t.Errorf("function %d was sent %d times", function, n)
		}
	}
}

func TestFFP_20_1_AsyncLogoutRequest(t *testing.T) {
	// The time to log out in is kept, also with a command that does not end.
	r := newUp(t)
	l := r.first()
	c := r.check()
	r.one(l, SCSI)
	l.Send(l.Event(1, 0, 0, 3))
	r.sleep(2 * time.Second)
	r.none(l)
	r.sleep(time.Second)
	out := r.one(l, LogoutReq)
	l.Send(l.Out(out.ITT(), 0, 0, 0))
	if r.s.Err() == nil {
		t.Error("alive after the logout")
	}
	r.back(c)
}

func TestFFP_20_2_AsyncDropConnection(t *testing.T) {
	r := newUp(t, answers("ErrorRecoveryLevel=0"))
	l := r.first()
	c := r.check()
	q := r.one(l, SCSI)
	l.Send(l.Event(2, r.conns[l].CID(), 4, 30))
	r.dead("dropped a connection")
	_ = q
	r.back(c)
	if n := r.s.Nexus(); n.Time2Wait != 4*time.Second || n.Time2Retain != 30*time.Second {
		t.Errorf("times %v, %v", n.Time2Wait, n.Time2Retain)
	}
}

func TestFFP_20_3_AsyncDropSession(t *testing.T) {
	r := newUp(t, portals(2))
	c := r.check()
	r.take(r.order[0])
	r.take(r.order[1])
	r.order[1].Send(r.order[1].Event(3, 0, 1, 2))
	r.dead("dropped all connections")
	r.back(c)
	if n := r.s.Nexus(); n.Time2Wait != time.Second || n.Time2Retain != 2*time.Second {
		t.Errorf("times %v, %v", n.Time2Wait, n.Time2Retain)
	}
}

func TestFFP_20_4_AsyncNegotiate(t *testing.T) {
	r := newUp(t)
	l := r.first()
	l.Send(l.Event(4, 0, 0, 10))
	// A Text Request, which may be empty, on the same connection, or a Logout.
	q := r.one(l, TextReq)
	l.Send(l.TextAnswer(q.ITT(), FBit, None, nil))
	r.alive()
	c := r.check()
	goods(l, r.take(l))
	r.done(c)
}
