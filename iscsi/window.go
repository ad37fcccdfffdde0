package iscsi

import "braid/iscsi/pdu"

// A window is the command window of a session, RFC 7143 section 4.2.2.1: which
// command sequence numbers the target takes. All arithmetic is serial (RFC 1982),
// so it holds across the wrap.
type window struct {
	next uint32 // CmdSN of the next non-immediate command
	exp  uint32 // highest ExpCmdSN heard: all before it were received
	max  uint32 // highest MaxCmdSN heard: none beyond it may be sent

	unheard int // how often it was found that exp should have moved on
}

// start sets the window from the final Login Response of the leading connection.
func (w *window) start(exp, maxSN uint32) {
	w.exp, w.max = w.next, w.next-1
	w.update(exp, maxSN)
}

// open says whether one more non-immediate command may be sent.
func (w *window) open() bool { return pdu.LessEq(w.next, w.max) }

// take uses up the next CmdSN. The window must be open.
func (w *window) take() uint32 {
	if !w.open() {
		panic("iscsi: command beyond MaxCmdSN")
	}
	sn := w.next
	w.next++
	return sn
}

// update takes in ExpCmdSN and MaxCmdSN of any PDU on any connection. Connections
// overtake one another, so that what is older than what is known changes nothing;
// a pair with MaxCmdSN < ExpCmdSN-1 is void as the RFC says, and so is an ExpCmdSN
// beyond what was sent.
func (w *window) update(exp, maxSN uint32) {
	if pdu.Less(maxSN, exp-1) || pdu.Less(w.next, exp) {
		return
	}
	if pdu.Less(w.exp, exp) {
		w.exp, w.unheard = exp, 0
	}
	if pdu.Less(w.max, maxSN) {
		w.max = maxSN
	}
}
