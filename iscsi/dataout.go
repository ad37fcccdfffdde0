package iscsi

import (
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A transfer is one sequence of Data-Out: the unsolicited one, or the answer to
// one R2T.
type transfer struct {
	ttt         uint32
	dataSN      uint32
	offset, end int // of the command's data: what is still to be sent
}

// writing is the state of a command's data that goes out.
type writing struct {
	granted int    // bytes that may be sent: immediate, unsolicited, asked for by R2T
	sent    int    // bytes given to the Sender
	r2tSN   uint32 // next expected
	seen    extents

	transfers [maxR2T + 1]transfer // a ring; the unsolicited one comes first
	head, n   int
}

func (w *writing) pending() bool { return w.n > 0 }

func (w *writing) grant(tr transfer) {
	w.transfers[(w.head+w.n)%len(w.transfers)] = tr
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
		return breach(h, "no command has this tag")
	}
	if t.cmd.Dir != scsi.Write {
		return breach(h, "the command does not write")
	}
	p := &c.s.params
	from, to := uint64(r.Offset), uint64(r.Offset)+uint64(r.DesiredLen)
	switch {
	case r.R2TSN != t.out.r2tSN:
		return breach(h, "R2TSN %d, %d was due", r.R2TSN, t.out.r2tSN)
	case to > uint64(len(t.cmd.Data)):
		return breach(h, "%d bytes at %d of a command of %d",
			r.DesiredLen, r.Offset, len(t.cmd.Data))
	case uint64(r.DesiredLen) > uint64(p.MaxBurstLength):
		return breach(h, "%d bytes, MaxBurstLength is %d", r.DesiredLen, p.MaxBurstLength)
	case t.out.outstanding() >= min(p.MaxOutstandingR2T, maxR2T):
		return breach(h, "more than %d outstanding", p.MaxOutstandingR2T)
	}
	if p.DataSequenceInOrder {
		if from != uint64(t.out.granted) {
			return breach(h, "data at %d asked for, %d was due", from, t.out.granted)
		}
	} else if !t.out.wanted(int(from), int(to)) {
		return breach(h, "data at %d to %d asked for twice", from, to)
	}
	t.out.r2tSN++
	t.out.granted += int(r.DesiredLen)
	if !t.out.pending() {
		c.transfers.push(t.itt)
	}
	t.out.grant(transfer{ttt: r.TTT, offset: int(from), end: int(to)})
	return nil
}

// wanted notes bytes asked for in any order; it is false if any of them was sent
// or asked for before.
func (w *writing) wanted(from, to int) bool {
	if w.r2tSN == 0 && !w.seen.add(0, w.granted) {
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
		if t == nil || t.state != taskIssued {
			c.bursts.pop()
			continue
		}
		c.sendData(t)
		if !t.out.bursting() {
			c.bursts.pop()
			if t.out.pending() {
				c.transfers.push(t.itt)
			}
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
		c.sendData(t)
		if t.out.pending() {
			c.transfers.push(t.itt)
		}
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
	w.sent += n
	tr.dataSN++
	tr.offset += n
	if tr.offset == tr.end {
		w.head = (w.head + 1) % len(w.transfers)
		w.n--
	}
}
