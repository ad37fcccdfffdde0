package conformance

// numbering is CmdSN, RFC 7143 section 4.2.2.1, of one session: what was sent, and
// what the target allows.
type numbering struct {
	started bool
	low     uint32          // all before it were sent
	sent    map[uint32]bool // sent, from low on
	exp     uint32          // ExpCmdSN as heard
	max     uint32          // MaxCmdSN as heard
	heard   bool
	top     map[*wire]uint32 // the last one on each connection
}

func (n *numbering) start(cmdSN uint32) {
	*n = numbering{started: true, low: cmdSN, sent: map[uint32]bool{}, top: map[*wire]uint32{}}
}

// hear takes ExpCmdSN and MaxCmdSN of a target's PDU; stale and void ones change
// nothing.
func (n *numbering) hear(p *PDU) {
	if p.Op() == LoginResp && p.H[36] != 0 {
		return
	}
	exp, top := p.U32(atExpCmdSN), p.U32(atMaxCmdSN)
	switch {
	case less(top, exp-1):
	case !n.heard:
		n.heard, n.exp, n.max = true, exp, top
	default:
		if less(n.exp, exp) {
			n.exp = exp
		}
		if less(n.max, top) {
			n.max = top
		}
	}
}

// take checks the CmdSN of a command that is not immediate.
func (n *numbering) take(j *Judge, w *wire, p *PDU) {
	sn := p.CmdSN()
	switch {
	case less(sn, n.low) || n.sent[sn]:
		j.complain(w, p, "4.2.2.1: CmdSN %d was used before", sn)
		return
	case n.heard && less(n.max, sn):
		j.complain(w, p, "4.2.2.1: CmdSN %d, MaxCmdSN is %d", sn, n.max)
	case less(n.low+n.reach(j), sn):
		j.complain(w, p, "4.2.2.1: CmdSN %d leaves out %d", sn, n.low)
	}
	if top, ok := n.top[w]; ok && less(sn, top) {
		j.complain(w, p, "4.2.2.1: CmdSN %d after %d on one connection", sn, top)
	}
	n.top[w] = sn
	n.sent[sn] = true
	for n.sent[n.low] {
		delete(n.sent, n.low)
		n.low++
	}
}

// reach is by how much a number may be ahead of those that were seen: on one
// connection not at all, on several by what the others may send, up to MaxCmdSN.
func (n *numbering) reach(j *Judge) uint32 {
	open := 0
	for _, w := range j.wires {
		if (w.up || j.Apart) && !w.closed {
			open++
		}
	}
	if open <= 1 || !n.heard || less(n.max, n.low) {
		return 0
	}
	return n.max - n.low
}

// immediate checks the CmdSN of what is marked for immediate delivery: the next
// one, which is not used up.
func (n *numbering) immediate(j *Judge, w *wire, p *PDU) {
	sn, reach := p.CmdSN(), n.reach(j)
	if reach > 0 {
		reach++ // the one after MaxCmdSN is next when all were sent
	}
	if less(sn, n.low) && !j.several() || less(n.low+reach, sn) {
		j.complain(w, p, "4.2.2.1: CmdSN %d of an immediate PDU, %d is the next", sn, n.low)
	}
	if top, ok := n.top[w]; ok && !less(top, sn) {
		j.complain(w, p, "4.2.2.1: CmdSN %d of an immediate PDU after %d", sn, top)
	}
}

// several says whether there is or was more than one connection, those that log in
// counted where connections are read apart: their requests may be older than what was
// seen on others.
func (j *Judge) several() bool {
	n := 0
	for _, w := range j.wires {
		if w.up || j.Apart {
			n++
		}
	}
	return n > 1
}

// Holes says whether a CmdSN was left out while a later one was sent.
func (j *Judge) Holes() bool { return len(j.numbers.sent) > 0 }
