package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// snackRejected is the sense data of a command whose data cannot be sent again
// (RFC 7143 section 11.4.7.2): READ ERROR - FAILED RETRANSMISSION REQUEST.
var snackRejected = scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x11, ASCQ: 0x13}

// handleSNACK takes a SNACK Request (RFC 7143 section 11.16). What was never sent
// and what is acknowledged is refused as a protocol error, what is not kept as a
// SNACK reject.
func (c *Conn) handleSNACK(now time.Duration, h *pdu.Header) {
	s, err := pdu.ParseSNACK(h)
	switch {
	case err != nil:
		c.refuse(h, err)
		return
	case c.level == 0:
		c.reject(h, pdu.RejectSNACK)
		return
	}
	c.session.counters.SNACKs++
	switch s.Type {
	case pdu.SNACKStatus:
		c.resendStatus(h, &s)
		return
	case pdu.SNACKDataACK:
		c.takeDataACK(now, h, &s)
		return
	}
	k := c.session.tasks[s.ITT]
	if k == nil || k.conn != c {
		k = c.answered(func(k *task) bool { return k.itt == s.ITT })
	}
	switch {
	case k == nil:
		c.reject(h, pdu.RejectProtocolError)
	case c.t.faults.take(&c.t.faults.snacks):
		c.rejectSNACK(now, h, k)
	case s.Type == pdu.SNACKRData:
		c.resendAnew(now, h, &s, k)
	case k.write:
		c.resendR2T(h, &s, k)
	default:
		c.resendData(now, h, &s, k)
	}
}

// span gives the numbers that a SNACK asks for, of those from acked to next that
// were sent: BegRun and RunLength of zero mean all, a RunLength of zero all from
// BegRun on, be it none. It is not ok if others are asked for.
func span(s *pdu.SNACK, acked, next uint32) (from, to uint32, ok bool) {
	from, to = s.BegRun, s.BegRun+s.RunLength
	if s.RunLength == 0 {
		to = next
		if s.BegRun == 0 {
			from = acked
		}
	}
	return from, to, pdu.LessEq(acked, from) && pdu.LessEq(from, to) && pdu.LessEq(to, next)
}

// resendData sends Data-In PDUs again as they were.
func (c *Conn) resendData(now time.Duration, h *pdu.Header, s *pdu.SNACK, k *task) {
	in := &k.in
	from, to, ok := span(s, in.acked, in.dataSN)
	switch {
	case !ok:
		c.rejectAt(h, pdu.RejectProtocolError, in.dataSN)
		return
	case from != to && pdu.Less(from, in.firstRun()):
		c.rejectSNACK(now, h, k)
		return
	}
	for sn := from; sn != to; sn++ {
		c.resendRun(k, sn)
	}
}

func (c *Conn) resendRun(k *task, dataSN uint32) {
	r := &k.in.runs[dataSN-k.in.firstRun()]
	c.marshalRun(k, dataSN, r)
	r.ticket = c.transmit(&c.header, r.data)
	k.in.ticket = r.ticket
	c.session.counters.Resent++
}

// resendR2T sends R2Ts again that were not answered whole. Data that comes twice
// by it is known by its DataSN.
func (c *Conn) resendR2T(h *pdu.Header, s *pdu.SNACK, k *task) {
	o := &k.out
	from, to, ok := span(s, 0, o.r2tSN)
	if !ok {
		c.rejectAt(h, pdu.RejectProtocolError, o.r2tSN)
		return
	}
	o.again = true
	found := s.RunLength == 0
	for i := range o.bursts {
		if b := &o.bursts[i]; b.active && b.r2tSN-from < to-from {
			k.sendR2T(b)
			c.session.counters.Resent++
			found = true
		}
	}
	if !found { // acknowledged, by their data
		c.rejectAt(h, pdu.RejectProtocolError, o.r2tSN)
	}
}

// rejectSNACK says that something cannot be sent again. A command that has no
// status yet ends by it (RFC 7143 section 7.8).
func (c *Conn) rejectSNACK(now time.Duration, h *pdu.Header, k *task) {
	c.reject(h, pdu.RejectSNACK)
	switch k.state {
	case taskAnswered, taskStored:
	case taskSending:
		c.queue.remove(k)
		c.t.respond(now, k, scsi.CheckCondition, &snackRejected)
	default:
		k.refuse(scsi.CheckCondition, snackRejected)
	}
}

// resendStatus sends responses again. A status that came in a Data-In PDU comes
// in it again, unless its data is acknowledged.
func (c *Conn) resendStatus(h *pdu.Header, s *pdu.SNACK) {
	q := &c.unacked
	from, to, ok := span(s, c.acked, c.statSN)
	first := c.statSN - uint32(q.n)
	switch {
	case !ok:
		c.reject(h, pdu.RejectProtocolError)
		return
	case from != to && pdu.Less(from, first) || c.t.faults.take(&c.t.faults.snacks):
		c.reject(h, pdu.RejectSNACK)
		return
	}
	for sn := from; sn != to; sn++ {
		a := q.at(int(sn - first))
		if k := a.k; k == nil {
			a.header.SetWindow(c.session.expCmdSN, c.session.maxCmdSN)
			a.ticket = c.transmit(&a.header, a.data)
		} else if n := len(k.in.runs); n > 0 && k.in.runs[n-1].status {
			c.resendRun(k, k.in.dataSN-1)
			continue
		} else {
			c.sendResponse(k)
		}
		c.session.counters.Resent++
	}
}

// takeDataACK frees Data-In that the initiator has.
func (c *Conn) takeDataACK(now time.Duration, h *pdu.Header, s *pdu.SNACK) {
	meant := func(k *task) bool { return k.in.ttt != 0 && k.in.ttt == s.TTT }
	k := c.queue.find(meant)
	if k == nil {
		k = c.answered(meant)
	}
	switch {
	case k == nil, k.lun != scsi.LUN(s.LUN),
		pdu.Less(s.BegRun, k.in.acked), pdu.Less(k.in.dataSN, s.BegRun):
		c.reject(h, pdu.RejectInvalidDataACK)
		return
	}
	in := &k.in
	in.acked = s.BegRun
	n := 0
	for n < len(in.runs) && pdu.Less(in.firstRun()+uint32(n), in.acked) &&
		c.send.Gone(in.runs[n].ticket) {
		n++
	}
	k.dropRuns(n)
	c.backlogAsks = 0
	c.runBacklog(now)
}

// resendAnew answers an R-Data SNACK: all data that is not acknowledged goes out
// again, and the status in a SCSI Response that carries the SNACK tag, with the
// StatSN that it had if it was sent before (RFC 7143 section 11.16.3).
func (c *Conn) resendAnew(now time.Duration, h *pdu.Header, s *pdu.SNACK, k *task) {
	switch {
	case s.TTT == 0, s.TTT == pdu.ReservedTag, s.BegRun != 0, k.write:
		c.reject(h, pdu.RejectInvalidField)
		return
	case k.state == taskAnswered && k.status != scsi.Good:
		k.tag = s.TTT
		c.sendResponse(k)
		return
	case !k.rewind(k.in.acked):
		c.rejectSNACK(now, h, k)
		return
	}
	k.tag = s.TTT
	c.session.counters.Resent++
	switch {
	case k.state != taskAnswered:
		c.fill(now)
	case k.in.sent == k.in.length: // the data is acknowledged, or there is none
		c.sendResponse(k)
	default:
		for !c.sendRun(k) {
		}
	}
}

// rewind makes a task send its data anew from a DataSN on, which is not
// acknowledged, perhaps in other pieces. It is false if the data is not there.
func (k *task) rewind(dataSN uint32) bool {
	in := &k.in
	if dataSN == in.dataSN {
		return true
	}
	if !pdu.LessEq(in.firstRun(), dataSN) || !pdu.Less(dataSN, in.dataSN) {
		return false
	}
	skip := int(dataSN - in.firstRun())
	again := in.runs[skip:]
	if in.buf == nil {
		if in.buf = k.t.pool.get(in.length); in.buf == nil {
			return false
		}
	}
	for i := range again { // which may lie there already
		copy(in.buf.b[again[i].offset:], again[i].data)
	}
	if in.from != nil {
		in.settle()
	}
	in.sent, in.burst, in.dataSN = again[0].offset, again[0].burst, dataSN
	k.dropRuns(len(in.runs))
	return true
}
