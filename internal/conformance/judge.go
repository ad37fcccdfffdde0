package conformance

import (
	"fmt"
)

// A Judge watches one session. Its methods take what went over the wire, in the
// order in which the initiator sent and received it.
type Judge struct {
	// Complaints are breaches of rules that bind the initiator, each with the
	// section of RFC 7143.
	Complaints []string

	// Lenient turns single rules off, by the section they are of, for tests
	// in which the target has broken them first.
	Lenient map[string]bool

	// Apart says that connections are read independently of each other: of PDUs on two
	// of them it is not known which was sent first.
	Apart bool

	wires   []*wire
	isid    []byte
	tsih    uint16
	keys    map[string]string // settled for the session
	ended   bool              // a Logout closed the session
	numbers numbering
	tasks   map[uint32]*taskView
	bursts  map[int][]uint32 // tags whose unsolicited data is due, per connection
}

// A wire is one TCP connection.
type wire struct {
	id       int
	cid      uint16
	up       bool // full feature phase
	closed   bool // lost, or a Logout named it, or all: nothing may be sent any more
	out      bool // logged out: its tasks may be moved
	fromInit []byte
	fromTarg []byte

	headerDigest, dataDigest bool
	maxData                  int // the target's MaxRecvDataSegmentLength

	login loginView

	// statSN is the next StatSN that the initiator has not heard; ahead are
	// those heard out of turn. acked is the highest ExpStatSN it sent.
	known  bool
	statSN uint32
	ahead  map[uint32]bool
	acked  uint32
	acks   bool

	pings map[uint32]*PDU // NOP-Ins to be answered, by target transfer tag
	text  *PDU            // the Text Response that is to be continued
}

// NewJudge begins a session.
func NewJudge() *Judge {
	return &Judge{
		keys:   map[string]string{},
		tasks:  map[uint32]*taskView{},
		bursts: map[int][]uint32{},
	}
}

// Open notes a new TCP connection and gives its number.
func (j *Judge) Open() int {
	id := len(j.wires)
	j.wires = append(j.wires, &wire{id: id, maxData: 8192, ahead: map[uint32]bool{},
		pings: map[uint32]*PDU{}, login: newLoginView()})
	return id
}

func (j *Judge) complain(w *wire, p *PDU, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if p != nil {
		what = fmt.Sprintf("%s (%s on connection %d)", what, opNames[p.Op()], w.id)
	}
	for section, off := range j.Lenient {
		if off && len(what) > len(section) && what[:len(section)] == section {
			return
		}
	}
	j.Complaints = append(j.Complaints, what)
}

// FromInitiator takes bytes that the initiator sent and gives the PDUs that are
// whole.
func (j *Judge) FromInitiator(id int, b []byte) (list []*PDU) {
	w := j.wires[id]
	w.fromInit = append(w.fromInit, b...)
	for {
		var p *PDU
		p, w.fromInit = cut(w.fromInit, w.headerDigest && w.up, w.dataDigest && w.up)
		if p == nil {
			return list
		}
		j.judge(w, p)
		list = append(list, p)
	}
}

// FromTarget takes bytes that the initiator has received.
func (j *Judge) FromTarget(id int, b []byte) {
	w := j.wires[id]
	w.fromTarg = append(w.fromTarg, b...)
	for {
		var p *PDU
		p, w.fromTarg = cut(w.fromTarg, w.headerDigest && w.up, w.dataDigest && w.up)
		if p == nil {
			return
		}
		j.hear(w, p)
	}
}

// End is called when the test is over: what should have been sent by then?
func (j *Judge) End() {
	for _, w := range j.wires {
		if len(w.fromInit) > 0 && !w.closed {
			j.complain(w, nil, "11.2: connection %d ends within a PDU", w.id)
		}
	}
}

// judge checks one PDU of the initiator.
func (j *Judge) judge(w *wire, p *PDU) {
	mask, known := reserved[p.Op()]
	if !known {
		j.complain(w, p, "11.2.1.2: opcode 0x%02x is none of an initiator's", p.Op())
		return
	}
	for i, m := range mask {
		if bad := p.H[i] & m; bad != 0 {
			j.complain(w, p, "%s: reserved bits 0x%02x of byte %d are set", section[p.Op()], bad, i)
		}
	}
	if len(p.AHS) > 0 {
		j.complain(w, p, "11.2.2: additional header segments nobody asked for")
	}
	if p.BadHeaderDigest || p.BadDataDigest {
		j.complain(w, p, "13.1: wrong digest")
	}
	for _, b := range p.Pad {
		if b != 0 {
			j.complain(w, p, "11.1: padding is not zero")
		}
	}
	if len(p.Data) > w.maxData {
		j.complain(w, p, "13.12: %d bytes of data, the target takes %d", len(p.Data), w.maxData)
	}
	j.phase(w, p)
	j.acknowledges(w, p)
	switch p.Op() {
	case LoginReq:
		j.loginRequest(w, p)
	case SCSI:
		j.command(w, p)
	case DataOut:
		j.dataOut(w, p)
	case TaskReq:
		j.taskRequest(w, p)
	case NopOut:
		j.nopOut(w, p)
	case TextReq:
		j.textRequest(w, p)
	case LogoutReq:
		j.logoutRequest(w, p)
	case SNACK:
		j.snack(w, p)
	}
}

// phase checks that a PDU may be sent at all at this time.
func (j *Judge) phase(w *wire, p *PDU) {
	switch {
	case !w.up && p.Op() != LoginReq:
		j.complain(w, p, "6.3: only Login Requests before the full feature phase")
	case w.up && p.Op() == LoginReq:
		j.complain(w, p, "6.3: a Login Request in the full feature phase")
	case w.closed && p.Op() != DataOut && p.Op() != SNACK:
		j.complain(w, p, "11.14: sent after the Logout that ends the connection")
	}
	if j.keys["SessionType"] == "Discovery" && w.up && p.Op() != TextReq && p.Op() != LogoutReq &&
		!(p.Op() == NopOut && p.ITT() == None) {
		j.complain(w, p, "4.3: only Text and Logout in a discovery session")
	}
}

// acknowledges checks ExpStatSN, RFC 7143 section 4.2.2.2: it counts up, and never
// past what was heard.
func (j *Judge) acknowledges(w *wire, p *PDU) {
	if p.Op() == LoginReq && !w.known {
		return // the first one; reinstatement may say more
	}
	rule := "4.2.2.2"
	if p.Op() == LogoutReq {
		// Of the connection to be closed it is the last one, RFC 7143 section 11.14.4.
		carrier := w
		if w = j.closing(w, p); w == nil {
			return // which is complained of elsewhere
		}
		if w != carrier {
			rule = "11.14.4"
		}
	}
	sn := p.ExpStatSN()
	if w.acks && less(sn, w.acked) {
		j.complain(w, p, "%s: ExpStatSN went back from %d to %d", rule, w.acked, sn)
	}
	if w.known && less(w.statSN, sn) {
		j.complain(w, p, "%s: ExpStatSN %d, only those before %d were heard", rule, sn, w.statSN)
	}
	w.acked, w.acks = sn, true
	if !w.up && w.known && sn != w.statSN {
		j.complain(w, p, "11.12.9: ExpStatSN %d in login, %d was due", sn, w.statSN)
	}
}

// hear takes in what a target's PDU tells.
func (j *Judge) hear(w *wire, p *PDU) {
	if p.BadHeaderDigest || p.BadDataDigest {
		return
	}
	if p.Op() != R2T || p.U32(atITT) != None {
		j.numbers.hear(p)
	}
	if carriesStatus(p) {
		w.hearStatus(p.U32(atStatSN))
	}
	switch p.Op() {
	case LoginResp:
		j.loginResponse(w, p)
	case R2T:
		j.r2t(w, p)
	case SCSIResp:
		j.answered(p)
	case DataIn:
		j.dataIn(w, p)
	case TaskResp, TextResp, LogoutResp:
		j.answered(p)
		if p.Op() == LogoutResp && p.H[2] == 0 {
			j.loggedOut(p.ITT())
		}
		if p.Op() == TextResp && p.TTT() != None {
			w.text = p
		}
	case NopIn:
		if p.TTT() != None {
			w.pings[p.TTT()] = p
		}
		if p.ITT() != None {
			j.answered(p)
		}
	case Reject:
		j.rejected(p)
	}
}

// carriesStatus says whether a target's PDU uses up a StatSN.
func carriesStatus(p *PDU) bool {
	switch p.Op() {
	case SCSIResp, TaskResp, TextResp, LogoutResp, Async, Reject:
		return true
	case LoginResp:
		return p.H[36] == 0 // with another status class the field is not valid
	case DataIn:
		return p.H[1]&1 != 0
	case NopIn:
		return p.ITT() != None
	}
	return false
}

func (w *wire) hearStatus(sn uint32) {
	if !w.known {
		w.known, w.statSN = true, sn
	}
	w.ahead[sn] = true
	for w.ahead[w.statSN] {
		delete(w.ahead, w.statSN)
		w.statSN++
	}
}

func (j *Judge) number(key string) (int, bool) {
	v, ok := j.keys[key]
	if !ok {
		v, ok = defaults[key]
	}
	n, _ := valueOf(key, v)
	return n, ok
}

// defaults of keys that were not negotiated, RFC 7143 section 13.
var defaults = map[string]string{
	"InitialR2T": "Yes", "ImmediateData": "Yes", "MaxBurstLength": "262144",
	"FirstBurstLength": "65536", "MaxOutstandingR2T": "1", "DataPDUInOrder": "Yes",
	"DataSequenceInOrder": "Yes", "ErrorRecoveryLevel": "0", "MaxConnections": "1",
	"DefaultTime2Wait": "2", "DefaultTime2Retain": "20",
}

// Key is what was settled for the session, or the default.
func (j *Judge) Key(key string) int {
	n, ok := j.number(key)
	if !ok {
		panic("conformance: no such key: " + key)
	}
	return n
}
