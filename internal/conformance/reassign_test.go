package conformance

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// levelTwo makes a session of n connections at error recovery level 2.
func levelTwo(t *testing.T, n int, options ...option) *rig {
	t.Helper()
	needs(t, 2)
	options = append([]option{answers("ErrorRecoveryLevel=2", "DefaultTime2Wait=1",
		"InitialR2T=Yes", "ImmediateData=No", "MaxOutstandingR2T=2")}, options...)
	r := several(t, n, options...)
	if r.s.Params().ErrorRecoveryLevel != 2 {
		t.Fatal("not at level 2")
	}
	return r
}

// A helper is the target's part in the recovery of a connection: it agrees to
// logouts, to new connections and to reassignments, and notes what it is asked.
type helper struct {
	r         *rig
	logouts   []*PDU
	reassigns []*PDU
	retries   []*PDU
	others    []*PDU
	granted   []*Link               // new connections
	agreed    func(l *Link, p *PDU) // after a TASK REASSIGN was agreed to
	outAt     time.Duration         // of the first Logout
	backAt    time.Duration         // of the first reassignment
	where     map[*PDU]*Link
}

func newHelper(r *rig) *helper { return &helper{r: r, where: map[*PDU]*Link{}} }

// run lets the recovery go on for so long.
func (h *helper) run(d time.Duration) {
	h.r.t.Helper()
	r := h.r
	for end := r.now + d; r.now <= end && r.s.Err() == nil; r.sleep(100 * time.Millisecond) {
		for l := r.accept(); l != nil; l = r.accept() {
			r.grant(l)
			h.granted = append(h.granted, l)
		}
		for _, l := range r.order {
			if r.conns[l].State() == "dead" {
				continue
			}
			for _, p := range r.take(l) {
				h.where[p] = l
				h.answer(l, p)
			}
		}
	}
}

func (h *helper) answer(l *Link, p *PDU) {
	r := h.r
	switch {
	case p.Op() == LogoutReq:
		h.logouts = append(h.logouts, p)
		h.outAt = r.now
		l.Send(l.Out(p.ITT(), 0, 1, 20))
	case p.Op() == TaskReq && p.H[1] == 0x80|TaskReassign:
		if h.backAt == 0 {
			h.backAt = r.now
		}
		h.reassigns = append(h.reassigns, p)
		l.Send(l.Managed(p.ITT(), 0))
		if h.agreed != nil {
			h.agreed(l, p)
		}
	case p.Op() == SCSI:
		h.retries = append(h.retries, p)
	case p.Op() == NopOut && p.ITT() != None:
		l.Send(l.Nop(p.ITT(), None, 0, nil))
	default:
		h.others = append(h.others, p)
	}
}

// carrier gives the connection that carries the only command out, and the command.
func (r *rig) carrier() (*Link, *PDU) {
	r.t.Helper()
	for l, list := range r.all() {
		if len(list) > 0 && list[0].Op() == SCSI {
			return l, list[0]
		}
	}
	r.t.Fatal("no command was sent")
	return nil, nil
}

// removed checks the Logout that removes a connection for recovery.
func (h *helper) removed(cid uint16) {
	h.r.t.Helper()
	if len(h.logouts) != 1 {
		h.r.t.Fatalf("%d Logouts (session: %v)", len(h.logouts), h.r.s.Err())
	}
	p := h.logouts[0]
	if p.H[1] != 0x82 || p.U16(20) != cid {
		h.r.t.Errorf("Logout %x, wanted the removal of CID %d for recovery", p.H, cid)
	}
	for _, l := range h.r.order {
		if h.r.conns[l].CID() == cid && p.ExpStatSN() != l.StatSN {
			h.r.t.Errorf("Logout says ExpStatSN %d, that of the lost connection is %d",
				p.ExpStatSN(), l.StatSN)
		}
	}
}

// Of a Logout on another connection the Judge wants the ExpStatSN of the one to be closed.
func TestJudgeKnowsWhoseExpStatSN(t *testing.T) {
	r, h := reassignWrite(t)
	logout := h.logouts[0]
	at := slices.IndexFunc(r.events, func(e event) bool { return e.initiator == logout })
	lost := logout.ExpStatSN()
	var carrier uint32
	for _, e := range r.events[:at] {
		if e.initiator != nil && e.link == r.events[at].link {
			carrier = e.initiator.ExpStatSN()
		}
	}
	for sn, fine := range map[uint32]bool{lost: true, carrier: false, lost + 1: false,
		lost - 1: false} {
		wire := bytes.Clone(logout.Wire)
		binary.BigEndian.PutUint32(wire[28:], sn)
		list := replay(r.events[:at+1], at, wire).Complaints
		if said := len(list) > 0; said == fine || said && !strings.HasPrefix(list[0], "11.14.4") {
			t.Errorf("ExpStatSN %d, the lost connection's is %d, its carrier's %d: %q", sn, lost,
				carrier, list)
		}
	}
}

// reassignedOnce checks that one task was reassigned, by function 8, with its tag.
func (h *helper) reassignedOnce(q *PDU, expDataSN uint32) {
	h.r.t.Helper()
	if len(h.reassigns) != 1 {
		h.r.t.Fatalf("%d TASK REASSIGN, %d retries (session: %v)", len(h.reassigns),
			len(h.retries), h.r.s.Err())
	}
	p := h.reassigns[0]
	if p.U32(20) != q.ITT() || p.U64(8) != q.U64(8) || p.U32(36) != expDataSN || p.ITT() == q.ITT() {
		h.r.t.Errorf("TASK REASSIGN %x of task 0x%x, ExpDataSN %d wanted", p.H, q.ITT(), expDataSN)
	}
}

// reassignRead loses the connection of a read after some of its data.
func reassignRead(t *testing.T) {
	t.Helper()
	r := levelTwo(t, 2)
	want := pattern(4096)
	c := r.read(len(want))
	l, q := r.carrier()
	list := dataOf(l, q, want)
	l.Send(list[0])
	l.Send(list[1])
	cid := r.conns[l].CID()
	r.lose(l)
	h := newHelper(r)
	h.agreed = func(on *Link, p *PDU) {
		at := p.U32(36)
		for i, d := range list {
			if uint32(i) >= at {
				on.Send(on.Numbered(d))
			}
		}
		on.Send(withCount(on.Status(q.ITT(), 0, nil), len(list)))
	}
	h.run(5 * time.Second)
	h.removed(cid)
	if len(h.reassigns) == 1 && h.reassigns[0].U32(36) > 2 {
		t.Errorf("ExpDataSN %d after two Data-In", h.reassigns[0].U32(36))
	}
	h.reassignedOnce(q, h.reassigns[0].U32(36))
	if h.backAt < h.outAt+time.Second {
		t.Errorf("back %v after the Logout, Time2Wait is 1 s", h.backAt-h.outAt)
	}
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
	r.alive()
}

func TestFFP_7_1_ConnectionReassignment(t *testing.T) { reassignRead(t) }
func TestER_2_3_ReassignRead(t *testing.T)            { reassignRead(t) }

// reassignWrite loses the connection of a write of which some data has arrived.
func reassignWrite(t *testing.T) (r *rig, h *helper) {
	t.Helper()
	r = levelTwo(t, 2)
	c := r.write(4096)
	l, q := r.carrier()
	l.Send(l.Ready(q, 0, 21, 0, 2048))
	list := append([]*PDU{}, r.take(l)...)
	cid := r.conns[l].CID()
	r.lose(l)
	h = newHelper(r)
	h.agreed = func(on *Link, _ *PDU) {
		// The target has the first half and asks for the second.
		on.Send(on.Ready(q, 1, 22, 2048, 2048))
		rest := r.take(on)
		list = append(list, rest...)
		on.Send(withCount(on.Status(q.ITT(), 0, nil), 2))
	}
	h.run(5 * time.Second)
	h.removed(cid)
	h.reassignedOnce(q, 1)
	r.data(c, list...)
	r.done(c)
	r.alive()
	return r, h
}

func TestER_2_1_ReassignWriteAfterLogout(t *testing.T) { reassignWrite(t) }

func TestFFP_19_5_TaskReassign(t *testing.T) {
	_, h := reassignWrite(t)
	if p := h.reassigns[0]; !p.Immediate() || p.H[1] != 0x88 || p.U32(32) != 0 {
		t.Errorf("%x", p.H)
	}
}

func TestER_2_2_NoReassignWithoutLogout(t *testing.T) {
	// A target that does not agree to the Logout still holds the tasks to the
	// connection: none may be reassigned, the session falls to level 0.
	r := levelTwo(t, 2)
	c := r.read(512)
	l, _ := r.carrier()
	r.lose(l)
	other := r.order[1-l.ID]
	out := r.until(other, LogoutReq, 5*time.Second)
	other.Send(other.Out(out.ITT(), 2, 0, 0)) // recovery is not supported
	h := newHelper(r)
	h.run(10 * time.Second)
	if len(h.reassigns) > 0 {
		t.Errorf("reassigned: %x", h.reassigns[0].H)
	}
	for _, err := range r.back(c) {
		if _, lost := err.(*scsi.NexusLostError); !lost {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestER_2_4_ReassignWithImplicitLogout(t *testing.T) {
	// No sibling is left. A new connection takes the old one's place: by its CID,
	// which logs that out, or by a CID of its own and a Logout that names the old
	// one. Without either the task may not be reassigned, which the Judge sees to.
	for _, most := range []string{"1", "2"} {
		r := levelTwo(t, 1, answers("MaxConnections="+most), offer(func(o *login.Offer) {
			o.MaxConnections = 2
		}))
		c := r.write(512)
		l, q := r.carrier()
		cid := r.conns[l].CID()
		r.lose(l)
		h := newHelper(r)
		h.agreed = func(on *Link, _ *PDU) { on.Send(on.Ready(q, 0, 5, 0, 512)) }
		h.run(10 * time.Second)
		if len(h.granted) != 1 {
			t.Fatalf("%d new connections (session: %v)", len(h.granted), r.s.Err())
		}
		w := r.target.Judge.wires[h.granted[0].ID]
		if w.login.last.U16(14) != 7 {
			t.Errorf("TSIH %d", w.login.last.U16(14))
		}
		if implicit := w.cid == cid; implicit == (len(h.logouts) > 0) {
			t.Errorf("CID %d, that lost had %d, and %d Logouts", w.cid, cid, len(h.logouts))
		}
		h.reassignedOnce(q, 0)
		r.data(c, h.others...)
		h.granted[0].Send(withCount(h.granted[0].Status(q.ITT(), 0, nil), 1))
		r.done(c)
	}
}

func TestER_2_5_RetryWhatDidNotArrive(t *testing.T) {
	// Commands that ExpCmdSN has not passed are not reassigned: they are sent
	// again, with their numbers.
	r := levelTwo(t, 2)
	held := uint32(1)
	r.target.Held = &held
	c := r.check()
	l, q := r.carrier()
	r.lose(l)
	h := newHelper(r)
	for range 100 {
		h.run(100 * time.Millisecond)
		if len(h.retries) > 0 {
			break
		}
	}
	if len(h.retries) == 0 || len(h.reassigns) > 0 {
		t.Fatalf("%d retries, %d reassigned (session: %v)", len(h.retries), len(h.reassigns), r.s.Err())
	}
	again := h.retries[0]
	if again.ITT() != q.ITT() || again.CmdSN() != q.CmdSN() || !bytes.Equal(again.H[32:], q.H[32:]) {
		t.Errorf("sent again as %x, was %x", again.H, q.H)
	}
	r.target.Held = nil
	h.where[again].Good(q.ITT())
	r.done(c)
}

func TestER_2_6_ReassignRefused(t *testing.T) {
	// The target has no such task any more: what became of it is unknown, and
	// the session falls to level 0.
	r := levelTwo(t, 2)
	c := r.write(512)
	l, _ := r.carrier()
	r.lose(l)
	other := r.order[1-l.ID]
	out := r.until(other, LogoutReq, 5*time.Second)
	other.Send(other.Out(out.ITT(), 0, 0, 20))
	for range 100 {
		for m := r.accept(); m != nil; m = r.accept() {
			r.grant(m)
		}
		for on, list := range r.all() {
			for _, p := range list {
				if p.Op() == TaskReq {
					on.Send(on.Managed(p.ITT(), 1)) // task does not exist
				}
			}
		}
		if r.s.Err() != nil {
			break
		}
		r.sleep(100 * time.Millisecond)
	}
	for c := r.s.Completed(); c != nil; c = r.s.Completed() {
		if c.Err == nil {
			t.Error("a write whose outcome is unknown ended well")
		}
	}
	_ = c
}

func TestMC_6_3_NewConnectionAfterRecovery(t *testing.T) {
	// When its tasks are safe the connection is made anew, and carries commands.
	r := levelTwo(t, 2)
	l := r.order[1]
	cid := r.conns[l].CID()
	r.lose(l)
	h := newHelper(r)
	h.run(40 * time.Second)
	h.removed(cid)
	if len(h.granted) == 0 {
		t.Fatalf("no new connection (session: %v)", r.s.Err())
	}
	c1, c2 := r.check(), r.check()
	sent := r.all()
	if len(sent) != 2 {
		t.Errorf("%d connections used", len(sent))
	}
	for l, list := range sent {
		goods(l, list)
	}
	r.done(c1, c2)
}
