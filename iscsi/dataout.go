package iscsi

import (
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A transfer is one sequence of Data-Out: the unsolicited one, or the answer to
// one R2T.
type transfer struct {
	ttt         uint32
	r2tSN       int // of the R2T; -1: unsolicited
	dataSN      uint32
	offset, end int // of the command's data: what is still to be sent
}

// writing is the state of a command's data that goes out.
type writing struct {
	granted int     // bytes that may be sent: immediate, unsolicited, asked for by R2T
	sent    int     // bytes given to the Sender; above level 0 the end of the last of them
	sn      numbers // R2TSN
	again   bool    // the task was reassigned: R2Ts may come that came before
	queued  bool    // in Conn.transfers
	seen    extents

	transfers [maxR2T + 1]transfer // a ring in the order of R2TSN, the unsolicited one first
	head, n   int
}

// ready says whether data may be sent: the first transfer is not one before which an
// R2T is missing, since sequences go in order.
func (w *writing) ready() bool {
	return w.n > 0 && w.transfers[w.head].r2tSN < w.sn.next
}

// grant adds a transfer in its place.
func (w *writing) grant(tr transfer) {
	at := func(i int) *transfer { return &w.transfers[(w.head+i)%len(w.transfers)] }
	i := w.n
	for ; i > 0 && at(i-1).r2tSN > tr.r2tSN; i-- {
		*at(i) = *at(i - 1)
	}
	*at(i) = tr
	w.n++
}

// bursting says whether unsolicited data is still to be sent.
func (w *writing) bursting() bool {
	return w.n > 0 && w.transfers[w.head].ttt == pdu.ReservedTag
}

// outstanding counts the R2Ts whose data was not all given to the Sender.
func (w *writing) outstanding() int {
	if w.bursting() {
		return w.n - 1
	}
	return w.n
}

// r2t takes a Ready To Transfer, RFC 7143 section 11.8.
func (c *Conn) r2t(h *pdu.Header) error {
	r, err := pdu.ParseR2T(h)
	if err != nil {
		return err
	}
	t := c.s.tasks.findFor(r.ITT, kindCommand, c)
	if t == nil || t.state != taskIssued {
		if c.repair.snacked {
			return nil // sent again for a task that has ended otherwise
		}
		return breach(h, "no command has this tag")
	}
	if t.cmd.Dir != scsi.Write {
		return breach(h, "the command does not write")
	}
	t.touched = true
	p, w := &c.s.params, &t.out
	from, to := uint64(r.Offset), uint64(r.Offset)+uint64(r.DesiredLen)
	switch {
	case to > uint64(len(t.cmd.Data)):
		return breach(h, "%d bytes at %d of a command of %d",
			r.DesiredLen, r.Offset, len(t.cmd.Data))
	case uint64(r.DesiredLen) > uint64(p.MaxBurstLength):
		return breach(h, "%d bytes, MaxBurstLength is %d", r.DesiredLen, p.MaxBurstLength)
	}
	due, err := c.countR2T(h, t, &r)
	if !due || err != nil {
		return err
	}
	switch {
	case w.outstanding() >= c.s.outstandingR2Ts():
		return breach(h, "more than %d outstanding", p.MaxOutstandingR2T)
	case c.s.level > 0:
		// It may ask again for what was lost, and one before it may be missing.
		w.granted = max(w.granted, int(to))
	case p.DataSequenceInOrder && from != uint64(w.granted):
		return breach(h, "data at %d asked for, %d was due", from, w.granted)
	case !p.DataSequenceInOrder && !w.wanted(int(from), int(to)):
		return breach(h, "data at %d to %d asked for twice", from, to)
	default:
		w.granted += int(r.DesiredLen)
	}
	w.grant(transfer{ttt: r.TTT, r2tSN: w.sn.number(r.R2TSN), offset: int(from), end: int(to)})
	c.queueTransfers(t)
	if w.sn.asked < w.sn.known && w.sn.missing() {
		return c.askData(t, w.sn.asked)
	}
	return nil
}

// outstandingR2Ts is how many R2Ts of a task may be out. Above level 0 those that
// ask again come on top.
func (s *Session) outstandingR2Ts() int {
	if s.level > 0 {
		return maxR2T
	}
	return min(s.params.MaxOutstandingR2T, maxR2T)
}

// countR2T takes in an R2TSN; it is false for an R2T that came before.
func (c *Conn) countR2T(h *pdu.Header, t *task, r *pdu.R2T) (due bool, err error) {
	n := &t.out.sn
	i := n.number(r.R2TSN)
	if i != n.next && (c.s.level == 0 || i-n.next > maxR2T) {
		return false, breach(h, "R2TSN %d, %d was due", r.R2TSN, uint32(n.next))
	}
	if !n.fresh(i) {
		return t.out.again, nil
	}
	if i < n.known {
		t.tries = 0
	}
	n.arrive(i)
	return true, nil
}

// queueTransfers gives a task its turn to send what R2Ts asked for.
func (c *Conn) queueTransfers(t *task) {
	if t.out.ready() && !t.out.bursting() && !t.out.queued {
		t.out.queued = true
		c.transfers.push(t.itt)
	}
}

// wanted notes bytes asked for in any order; it is false if any of them was sent
// or asked for before.
func (w *writing) wanted(from, to int) bool {
	if w.sn.next == 1 && !w.seen.add(0, w.granted) {
		return false
	}
	return w.seen.add(from, to)
}

// sendBurst queues the next PDU of unsolicited data. That goes in the order of
// the commands, RFC 7143 section 4.2.4.2: one task's is sent to its end before the
// next one's begins.
func (c *Conn) sendBurst() bool {
	for c.bursts.len() > 0 {
		t := c.s.tasks.findFor(c.bursts.peek(), kindCommand, c)
		if t == nil || t.state != taskIssued || !t.out.bursting() {
			c.bursts.pop()
			continue
		}
		c.sendData(t)
		if !t.out.bursting() {
			c.bursts.pop()
			c.queueTransfers(t)
		}
		return true
	}
	return false
}

// sendTurn queues one PDU of data that an R2T asked for. Tasks take turns.
func (c *Conn) sendTurn() bool {
	for c.transfers.len() > 0 {
		t := c.s.tasks.findFor(c.transfers.pop(), kindCommand, c)
		if t == nil || t.state != taskIssued {
			continue
		}
		t.out.queued = false
		if !t.out.ready() || t.out.bursting() {
			continue
		}
		c.sendData(t)
		c.queueTransfers(t)
		return true
	}
	return false
}

// sendData queues the next Data-Out PDU of a task.
func (c *Conn) sendData(t *task) {
	w := &t.out
	tr := &w.transfers[w.head]
	n := min(tr.end-tr.offset, c.params.MaxXmitDataSegmentLength)
	h := &c.scratch
	d := pdu.DataOut{
		Final:     tr.offset+n == tr.end,
		ITT:       t.itt,
		TTT:       tr.ttt,
		ExpStatSN: c.expStatSN,
		DataSN:    tr.dataSN,
		Offset:    uint32(tr.offset),
		DataLen:   n,
	}
	if tr.ttt != pdu.ReservedTag {
		d.LUN = c.s.cfg.LUN // reserved without a tag, RFC 7143 section 11.7.4
	}
	d.Marshal(h)
	t.lastData = c.out.Push(h, t.cmd.Data[tr.offset:tr.offset+n], pdu.Bulk)
	tr.dataSN++
	tr.offset += n
	if c.s.level > 0 {
		w.sent = max(w.sent, tr.offset)
	} else {
		w.sent += n
	}
	if tr.offset == tr.end {
		w.head = (w.head + 1) % len(w.transfers)
		w.n--
	}
}
