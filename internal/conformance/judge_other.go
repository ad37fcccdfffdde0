package conformance

import "bytes"

// nopOut checks a NOP-Out, RFC 7143 section 11.18.
func (j *Judge) nopOut(w *wire, p *PDU) {
	if !p.Final() {
		j.complain(w, p, "11.18: the first bit of byte 1 is not set")
	}
	if p.TTT() == None {
		if p.U64(atLUN) != 0 {
			j.complain(w, p, "11.18: a LUN without a target transfer tag")
		}
	} else {
		ping := w.pings[p.TTT()]
		switch {
		case ping == nil:
			j.complain(w, p, "11.18.2: no NOP-In has the target transfer tag 0x%x", p.TTT())
		case ping.U64(atLUN) != p.U64(atLUN):
			j.complain(w, p, "11.18: LUN %x, the NOP-In had %x", p.U64(atLUN), ping.U64(atLUN))
		case p.ITT() != None:
			j.complain(w, p, "11.18.2: an answer that asks for an answer")
		}
		delete(w.pings, p.TTT())
	}
	if p.ITT() != None {
		j.begin(w, p)
		return
	}
	if !p.Immediate() {
		j.complain(w, p, "11.18.1: not immediate, and without a task tag")
	}
	j.numbers.immediate(j, w, p)
}

// Pings counts the NOP-Ins that wait for an answer.
func (j *Judge) Pings() (n int) {
	for _, w := range j.wires {
		n += len(w.pings)
	}
	return n
}

// textRequest checks a Text Request, RFC 7143 section 11.10.
func (j *Judge) textRequest(w *wire, p *PDU) {
	if p.Final() && continues(p) {
		j.complain(w, p, "11.10.2: F and C together")
	}
	if p.TTT() == None {
		if p.U64(atLUN) != 0 {
			j.complain(w, p, "11.10.4: a LUN without a target transfer tag")
		}
		j.begin(w, p)
	} else {
		was := w.text
		switch {
		case was == nil || was.TTT() != p.TTT():
			j.complain(w, p, "11.10.4: no Text Response has the target transfer tag 0x%x", p.TTT())
		case was.U64(atLUN) != p.U64(atLUN):
			j.complain(w, p, "11.10.4: LUN %x, the response had %x", p.U64(atLUN), was.U64(atLUN))
		case was.ITT() != p.ITT():
			j.complain(w, p, "11.10.3: another task tag within one exchange")
		case continues(was) && len(p.Data) > 0:
			j.complain(w, p, "11.11.2: an answer to a text that goes on")
		}
		w.text = nil
		if p.Immediate() {
			j.numbers.immediate(j, w, p)
		} else {
			j.numbers.take(j, w, p)
		}
	}
	if !continues(p) {
		list, bad := pairs(p.Data)
		for _, b := range bad {
			j.complain(w, p, "%s", b)
		}
		for _, k := range list {
			if _, known := keyRules[k.Key]; !known && !anAnswer(k.Value) {
				j.complain(w, p, "13: there is no key %s", k.Key)
			}
			if keyRules[k.Key].kind != text && keyRules[k.Key].alone {
				j.complain(w, p, "13: %s in full feature phase", k.Key)
			}
		}
	}
}

// logoutRequest checks a Logout Request, RFC 7143 section 11.14.
func (j *Judge) logoutRequest(w *wire, p *PDU) {
	reason, cid := p.H[1]&0x7f, p.U16(20)
	if !p.Final() || reason > 2 {
		j.complain(w, p, "11.14.1: reason %d, first bit %v", reason, p.Final())
	}
	j.begin(w, p)
	switch reason {
	case 0:
		if cid != 0 {
			j.complain(w, p, "11.14.3: a CID with the close of the session")
		}
		j.ended = true
		for _, other := range j.wires {
			other.closed = true
		}
	case 1:
		j.closes(w, p, cid, true)
	case 2:
		if j.Key("ErrorRecoveryLevel") < 2 {
			j.complain(w, p, "11.14: removal for recovery below level 2")
		}
		j.closes(w, p, cid, false)
	}
}

// closing is the connection that a Logout is about: the one that carries it, but for one
// that names another CID. nil if there is none.
func (j *Judge) closing(w *wire, p *PDU) *wire {
	if p.H[1]&0x7f == 0 || p.U16(20) == w.cid {
		return w
	}
	var found *wire
	for _, other := range j.wires {
		if other.up && other.cid == p.U16(20) && !other.out {
			found = other
		}
	}
	return found
}

// closes notes the end of the connection with a CID.
func (j *Judge) closes(w *wire, p *PDU, cid uint16, mayBeOwn bool) {
	found := false
	for _, other := range j.wires {
		if other.up && other.cid == cid && !(other.closed && other == w) {
			found = true
			if other == w && !mayBeOwn {
				j.complain(w, p, "7.2.2: a connection cannot remove itself for recovery")
			}
			other.closed = true
		}
	}
	if !found {
		j.complain(w, p, "11.14.3: no connection has the CID %d", cid)
	}
}

// loggedOut notes that the target has agreed to a Logout of one connection.
func (j *Judge) loggedOut(itt uint32) {
	t := j.tasks[itt]
	if t == nil || t.op != LogoutReq || t.p.H[1]&0x7f == 0 {
		return
	}
	for _, w := range j.wires {
		w.out = w.out || w.closed && w.cid == t.p.U16(20)
	}
}

// Types of SNACK, RFC 7143 section 11.16.1.
const (
	SNACKData   = 0
	SNACKStatus = 1
	DataACK     = 2
	RDataSNACK  = 3
)

// snack checks a SNACK, RFC 7143 section 11.16.
func (j *Judge) snack(w *wire, p *PDU) {
	kind := p.H[1] & 0x0f
	begRun, run := p.U32(atBegRun), p.U32(atLength)
	if !p.Final() || kind > RDataSNACK {
		j.complain(w, p, "11.16.1: type %d, first bit %v", kind, p.Final())
	}
	if j.Key("ErrorRecoveryLevel") == 0 {
		j.complain(w, p, "11.16: at error recovery level 0")
	}
	t := j.tasks[p.ITT()]
	switch kind {
	case SNACKData, RDataSNACK:
		switch {
		case t == nil || t.op != SCSI:
			j.complain(w, p, "11.16.2: no command has the task tag 0x%x", p.ITT())
		case t.wire != w:
			j.complain(w, p, "4.2.1: the command went on connection %d", t.wire.id)
		case kind == SNACKData && p.TTT() != None:
			j.complain(w, p, "11.16.3: target transfer tag 0x%x", p.TTT())
		case p.U64(atLUN) != 0:
			j.complain(w, p, "11.16: a LUN, which belongs to DataACK")
		case t.ended && less(t.statSN, w.acked):
			j.complain(w, p, "11.16: data asked for whose status was acknowledged")
		}
	case SNACKStatus:
		switch {
		case p.ITT() != None || p.TTT() != None:
			j.complain(w, p, "11.16.2: tags in a Status SNACK")
		case p.U64(atLUN) != 0:
			j.complain(w, p, "11.16: a LUN, which belongs to DataACK")
		case less(begRun, w.statSN) && (begRun != 0 || run != 0): // both 0 is all there are
			j.complain(w, p, "11.16.4: status %d was heard", begRun)
		}
	case DataACK:
		j.dataACK(w, p, begRun, run)
	}
}

// dataACK checks the answer to the A bit, RFC 7143 sections 11.7.2 and 11.16.
func (j *Judge) dataACK(w *wire, p *PDU, begRun, run uint32) {
	if p.ITT() != None || run != 0 {
		j.complain(w, p, "11.16: task tag 0x%x, run of %d in a DataACK", p.ITT(), run)
	}
	for _, t := range j.tasks {
		asked := t.acksDue[p.TTT()]
		if asked == nil || t.wire != w {
			continue
		}
		if begRun != asked.DataSN()+1 {
			j.complain(w, p, "11.16.4: DataACK up to %d, asked for %d", begRun, asked.DataSN()+1)
		}
		if asked.U64(atLUN) != p.U64(atLUN) {
			j.complain(w, p, "11.16: LUN %x, the Data-In had %x", p.U64(atLUN), asked.U64(atLUN))
		}
		delete(t.acksDue, p.TTT())
		return
	}
	j.complain(w, p, "11.16.3: no Data-In with the A bit had the target transfer tag 0x%x", p.TTT())
}

// r2t takes in what the target asks for.
func (j *Judge) r2t(w *wire, p *PDU) {
	t := j.tasks[p.ITT()]
	if t == nil || t.op != SCSI || t.wire != w {
		return
	}
	at := int(p.U32(atOffset))
	t.r2ts = append(t.r2ts, &r2tView{ttt: p.TTT(), at: at, end: at + int(p.U32(atLength))})
	t.dataSN = max(t.dataSN, p.U32(atDataSN)+1)
}

func (j *Judge) answered(p *PDU) {
	t := j.tasks[p.ITT()]
	if t == nil {
		return
	}
	t.ended, t.statSN = true, p.U32(atStatSN)
	if t.op == TaskReq && t.function == TaskReassign && p.H[2] == 0 {
		j.reassigned(t)
	}
	if t.op == TaskReq && t.function == AbortTask && p.H[2] == 0 {
		if of := j.tasks[t.p.U32(20)]; of != nil {
			of.ended = true
		}
	}
}

func (j *Judge) dataIn(w *wire, p *PDU) {
	t := j.tasks[p.ITT()]
	if t == nil {
		return
	}
	if p.H[1]&0x40 != 0 {
		t.acksDue[p.TTT()] = p
	}
	if p.DataSN() == t.dataSN {
		t.dataSN++
	}
	if p.H[1]&1 != 0 {
		t.ended, t.statSN = true, p.U32(atStatSN)
	}
}

// rejected takes in a Reject: what it names has ended.
func (j *Judge) rejected(p *PDU) {
	if len(p.Data) < 48 {
		return
	}
	bad := &PDU{}
	copy(bad.H[:], p.Data)
	if t := j.tasks[bad.ITT()]; t != nil && bytes.Equal(bad.H[:], t.p.H[:]) {
		t.ended = true
	}
}
