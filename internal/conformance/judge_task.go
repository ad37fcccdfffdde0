package conformance

import "bytes"

// A taskView is what one initiator task tag stood for, last.
type taskView struct {
	op       byte
	wire     *wire
	p        *PDU   // the request; the last one of it
	function byte   // of task management
	ended    bool   // a response to it was heard
	statSN   uint32 // of that

	edtl      int
	sent      int // the end of what was sent without R2T
	firstLeft int // unsolicited bytes due
	firstSN   uint32
	r2ts      []*r2tView
	dataSN    uint32 // heard: the next one
	acksDue   map[uint32]*PDU
}

// An r2tView is one R2T and what was sent for it.
type r2tView struct {
	ttt    uint32
	at     int // next offset
	end    int
	dataSN uint32
}

// begin notes a request with a task tag of its own.
func (j *Judge) begin(w *wire, p *PDU) *taskView {
	itt := p.ITT()
	if itt == None {
		j.complain(w, p, "11.2.1.8: the reserved task tag")
	}
	if t := j.tasks[itt]; t != nil && !t.ended {
		j.complain(w, p, "11.2.1.8: task tag 0x%x is in use by a %s", itt, opNames[t.op])
	}
	t := &taskView{op: p.Op(), wire: w, p: p, acksDue: map[uint32]*PDU{}}
	j.tasks[itt] = t
	if p.Immediate() {
		j.numbers.immediate(j, w, p)
	} else {
		j.numbers.take(j, w, p)
	}
	return t
}

// retries says whether a command is one sent again, RFC 7143 section 7.2.1: the
// same tag, CmdSN, LUN and CDB, while ExpCmdSN has not passed it and no answer came.
func (j *Judge) retries(w *wire, p *PDU) bool {
	t := j.tasks[p.ITT()]
	if t == nil || t.ended || t.op != SCSI || t.p.CmdSN() != p.CmdSN() || p.Immediate() {
		return false
	}
	switch {
	case j.Key("ErrorRecoveryLevel") == 0:
		j.complain(w, p, "7.2.1: a command is sent again at error recovery level 0")
	case less(p.CmdSN(), j.numbers.exp):
		j.complain(w, p, "7.2.1: CmdSN %d is sent again, ExpCmdSN is %d", p.CmdSN(), j.numbers.exp)
	case !bytes.Equal(t.p.H[atLUN:28], p.H[atLUN:28]) || !bytes.Equal(t.p.H[32:], p.H[32:]) ||
		t.p.H[1] != p.H[1]:
		j.complain(w, p, "7.2.1: the command sent again is another one")
	case t.wire != w && !t.wire.out:
		j.complain(w, p, "7.2.1: sent again while its connection is in use")
	}
	return true
}

// command checks a SCSI Command, RFC 7143 section 11.3.
func (j *Judge) command(w *wire, p *PDU) {
	write, read := p.H[1]&0x20 != 0, p.H[1]&0x40 != 0
	edtl := int(p.U32(atEDTL))
	first, burst := len(p.Data), j.Key("FirstBurstLength")
	switch {
	case p.H[1]&7 > 4:
		j.complain(w, p, "11.3.1: task attribute %d", p.H[1]&7)
	case write && read && len(p.AHS) == 0:
		j.complain(w, p, "11.3.4: both directions, and one length")
	case !write && !p.Final():
		j.complain(w, p, "11.3.1: F=0 without data to write")
	case !write && !read && edtl != 0:
		j.complain(w, p, "11.3.4: %d bytes expected in no direction", edtl)
	case !write && first > 0:
		j.complain(w, p, "11.3: data with a command that does not write")
	case first > 0 && j.Key("ImmediateData") == no:
		j.complain(w, p, "13.11: immediate data although ImmediateData=No")
	case first > burst:
		j.complain(w, p, "13.14: %d bytes of immediate data, FirstBurstLength is %d", first, burst)
	case first > edtl:
		j.complain(w, p, "11.3.4: %d bytes of immediate data of %d", first, edtl)
	case !p.Final() && j.Key("InitialR2T") == yes:
		j.complain(w, p, "13.10: F=0 announces unsolicited data although InitialR2T=Yes")
	case !p.Final() && first >= min(edtl, burst):
		j.complain(w, p, "11.3.1: F=0, and nothing may follow")
	}
	if n := cdbLength(p.H[32]); n > 0 {
		for _, b := range p.H[32+n : 48] {
			if b != 0 {
				j.complain(w, p, "11.3.5: bytes after a CDB of %d", n)
				break
			}
		}
	}
	var t *taskView
	if j.retries(w, p) {
		t = j.tasks[p.ITT()]
		*t = taskView{op: SCSI, wire: w, p: p, acksDue: t.acksDue, dataSN: t.dataSN}
	} else {
		t = j.begin(w, p)
	}
	t.edtl, t.sent = edtl, first
	if !p.Final() {
		t.firstLeft = min(edtl, burst) - first
		j.bursts[w.id] = append(j.bursts[w.id], p.ITT())
	}
}

// cdbLength is the length of a CDB by the group of its opcode, SPC-5 section 4.2.5;
// 0 where it is not fixed.
func cdbLength(op byte) int {
	switch op >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 0
}

// dataOut checks a Data-Out, RFC 7143 section 11.7.
func (j *Judge) dataOut(w *wire, p *PDU) {
	t := j.tasks[p.ITT()]
	switch {
	case t == nil || t.op != SCSI || t.p.H[1]&0x20 == 0:
		j.complain(w, p, "11.7: no write has the task tag 0x%x", p.ITT())
		return
	case t.wire != w:
		j.complain(w, p, "4.2.1: the command went on connection %d", t.wire.id)
	case len(p.Data) == 0 && !t.ended:
		j.complain(w, p, "11.7: no data")
	}
	if p.TTT() == None {
		j.unsolicited(w, p, t)
		return
	}
	if p.U64(atLUN) != t.p.U64(atLUN) {
		j.complain(w, p, "11.7: LUN %x of a command to %x", p.U64(atLUN), t.p.U64(atLUN))
	}
	for i, r := range t.r2ts {
		if r.ttt != p.TTT() {
			continue
		}
		if i > 0 {
			j.complain(w, p, "11.8: data for the R2T 0x%x before that for 0x%x", r.ttt, t.r2ts[0].ttt)
		}
		j.sequence(w, p, r)
		if r.at == r.end || p.Final() {
			t.r2ts = append(t.r2ts[:i], t.r2ts[i+1:]...)
		}
		return
	}
	j.complain(w, p, "11.7.4: no R2T has the target transfer tag 0x%x", p.TTT())
}

// unsolicited checks data that nobody asked for.
func (j *Judge) unsolicited(w *wire, p *PDU, t *taskView) {
	if p.U64(atLUN) != 0 {
		j.complain(w, p, "11.7.3: the LUN is reserved without a target transfer tag")
	}
	if t.firstLeft == 0 {
		j.complain(w, p, "13.10: unsolicited data that the command did not announce")
		return
	}
	due := &j.bursts
	for len((*due)[w.id]) > 0 {
		head := j.tasks[(*due)[w.id][0]]
		if head != t && head != nil && head.ended {
			(*due)[w.id] = (*due)[w.id][1:]
			continue
		}
		if head != t {
			j.complain(w, p, "4.2.4.2: unsolicited data not in the order of the commands")
		}
		break
	}
	r := r2tView{ttt: None, at: t.sent, end: t.sent + t.firstLeft, dataSN: t.firstSN}
	j.sequence(w, p, &r)
	t.sent, t.firstLeft, t.firstSN = r.at, r.end-r.at, r.dataSN
	if p.Final() {
		t.firstLeft = 0
	}
	if t.firstLeft == 0 && len((*due)[w.id]) > 0 {
		(*due)[w.id] = (*due)[w.id][1:]
	}
}

// sequence checks one Data-Out against what is due of its sequence.
func (j *Judge) sequence(w *wire, p *PDU, r *r2tView) {
	at, n := int(p.Offset()), len(p.Data)
	switch {
	case p.DataSN() != r.dataSN:
		j.complain(w, p, "11.7.5: DataSN %d, %d was due", p.DataSN(), r.dataSN)
	case at != r.at:
		j.complain(w, p, "11.7.6: data at %d, %d was due", at, r.at)
	case at+n > r.end:
		j.complain(w, p, "11.7: data up to %d, asked for up to %d", at+n, r.end)
	case p.Final() != (at+n == r.end):
		j.complain(w, p, "11.7.1: F=%v with data up to %d of %d", p.Final(), at+n, r.end)
	}
	r.at, r.dataSN = at+n, r.dataSN+1
}

// Functions of task management, RFC 7143 section 11.5.1.
const (
	AbortTask    = 1
	AbortTaskSet = 2
	LUNReset     = 5
	TargetWarm   = 6
	TargetCold   = 7
	TaskReassign = 8
)

// taskRequest checks a Task Management Function Request, RFC 7143 section 11.5.
func (j *Judge) taskRequest(w *wire, p *PDU) {
	function := p.H[1] & 0x7f
	t := j.begin(w, p)
	t.function = function
	if !p.Final() || function == 0 || function > TaskReassign {
		j.complain(w, p, "11.5.1: function %d, first bit %v", function, p.Final())
	}
	ref := p.U32(20)
	single := function == AbortTask || function == TaskReassign
	of := j.tasks[ref]
	switch {
	case single && (of == nil || of.op == TaskReq):
		j.complain(w, p, "11.5.5: no task has the referenced tag 0x%x", ref)
	case !single && ref != None:
		j.complain(w, p, "11.5.5: referenced tag 0x%x of function %d", ref, function)
	case function == TargetWarm || function == TargetCold:
		if p.U64(atLUN) != 0 {
			j.complain(w, p, "11.5.4: LUN of function %d", function)
		}
	case single && p.U64(atLUN) != of.p.U64(atLUN):
		j.complain(w, p, "11.5.4: LUN %x, that of the task is %x", p.U64(atLUN), of.p.U64(atLUN))
	}
	switch refSN := p.U32(atRefCmdSN); {
	case function == AbortTask && of != nil && !of.p.Immediate() && refSN != of.p.CmdSN():
		j.complain(w, p, "11.5.6: RefCmdSN %d, the task had %d", refSN, of.p.CmdSN())
	case function == AbortTask && of != nil && of.p.Immediate() && refSN != p.CmdSN():
		j.complain(w, p, "11.5.6: RefCmdSN %d of an immediate task", refSN)
	case function != AbortTask && refSN != 0:
		j.complain(w, p, "11.5.6: RefCmdSN of function %d", function)
	}
	if function != TaskReassign && p.U32(atDataSN) != 0 {
		j.complain(w, p, "11.5.7: ExpDataSN of function %d", function)
	}
	if function == AbortTask && of != nil && of.wire != w && !of.wire.closed {
		j.complain(w, p, "11.5.1: ABORT TASK on another connection than the task")
	}
	if function == TaskReassign && of != nil {
		j.reassign(w, p, of)
	}
}

// reassign checks TASK REASSIGN, RFC 7143 sections 7.2.2 and 11.5.7: at level 2,
// after the old connection was logged out, with the data numbers that are next.
func (j *Judge) reassign(w *wire, p *PDU, of *taskView) {
	switch expDataSN := p.U32(atDataSN); {
	case j.Key("ErrorRecoveryLevel") < 2:
		j.complain(w, p, "7.2.2: TASK REASSIGN at a level below 2")
	case !p.Immediate():
		j.complain(w, p, "11.5: TASK REASSIGN is to be immediate, other commands wait for it")
	case of.wire == w:
		j.complain(w, p, "7.2.2: the task is on this connection already")
	case !of.wire.out:
		j.complain(w, p, "7.2.2: connection %d was not logged out", of.wire.id)
	case of.ended:
		j.complain(w, p, "7.2.2: the task was answered")
	case !less(of.p.CmdSN(), j.numbers.exp):
		j.complain(w, p, "7.2.2: ExpCmdSN %d has not passed the task's %d; it is to be sent again",
			j.numbers.exp, of.p.CmdSN())
	case less(of.dataSN, expDataSN):
		j.complain(w, p, "11.5.7: ExpDataSN %d, %d is next", expDataSN, of.dataSN)
	}
}

// reassigned moves a task's allegiance once the target has agreed.
func (j *Judge) reassigned(t *taskView) {
	of := j.tasks[t.p.U32(20)]
	if of == nil {
		return
	}
	of.wire = t.wire
	of.r2ts, of.firstLeft = nil, 0
}
