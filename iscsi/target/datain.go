package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A dataRun is the data of one Data-In PDU that may be asked for again.
type dataRun struct {
	data   []byte
	page   *page // lent by the store; nil: nothing to give back
	ticket pdu.Ticket
	offset int
	burst  int // bytes of the same sequence before it
	final  bool
	ack    bool // A: an acknowledgement was asked for
	status bool // S
}

// sendIn sends the data of a task that has it, followed by GOOD.
func (t *Target) sendIn(now time.Duration, k *task) {
	switch {
	case k.waits():
		k.state = taskSending
		k.park()
	case !k.answers():
		t.free(k)
	case k.in.length == 0:
		t.respond(now, k, scsi.Good, nil)
	case k.conn.queue.n == 0 && k.conn.sendData(k):
	default:
		k.state = taskSending
		k.park()
		k.conn.queue.push(k)
	}
}

// fill queues Data-In, first come first served, as long as the transport keeps
// up. A task goes on only when there is room, so that not even an initiator which
// does not read makes the target hold much.
func (c *Conn) fill(now time.Duration) {
	for c.queue.n > 0 && c.state == stateFull {
		k := c.queue.first()
		if !c.sendData(k) {
			return
		}
		c.queue.pop()
	}
}

// sendData queues Data-In of a task while there is room. It is true, and the task
// is answered, when all is queued.
func (c *Conn) sendData(k *task) bool {
	for c.send.Payload() < outputBytes && (c.level == 0 || !c.backlogFull()) {
		if c.sendRun(k) {
			return true
		}
	}
	return false
}

// sendRun queues one Data-In PDU. The last one carries the status (RFC 7143
// section 11.7.3), unless an R-Data SNACK wants a SCSI Response (11.16.3). It is
// true when the task is answered.
func (c *Conn) sendRun(k *task) bool {
	in := &k.in
	n := min(in.length-in.sent, c.params.MaxXmitDataSegmentLength,
		c.session.params.MaxBurstLength-in.burst)
	r := dataRun{offset: in.sent, burst: in.burst}
	if in.from != nil {
		r.data, r.page = in.from.lend(in.offset+uint64(in.sent), n)
	} else {
		r.data = in.buf.b[in.sent:][:n]
	}
	in.burst += len(r.data)
	in.sent += len(r.data)
	last := in.sent == in.length
	if last || in.burst == c.session.params.MaxBurstLength {
		r.final, in.burst = true, 0
	}
	r.status = last && k.tag == 0
	// The end of the last sequence is acknowledged with the status.
	r.ack = c.level > 0 && r.final && !last
	if last {
		k.discharge() // so that the window, which the PDU tells, is open again
		k.status = scsi.Good
		if k.state != taskAnswered {
			k.statSN = c.statSN
			c.statSN++
		}
	}
	in.dataSN++
	c.marshalRun(k, in.dataSN-1, &r)
	if c.level == 0 {
		var b *buffer
		if last {
			b, in.buf = in.buf, nil
		}
		in.ticket = c.push(&c.header, r.data, in.from, r.page, b)
		if last {
			c.t.free(k)
		}
		return last
	}
	c.holdRun(k, &r)
	if !last {
		return false
	}
	if !r.status {
		c.sendResponse(k)
	}
	if k.state != taskAnswered {
		c.keepTask(k)
	}
	return true
}

// marshalRun makes the header of a Data-In PDU, first or again.
func (c *Conn) marshalRun(k *task, dataSN uint32, r *dataRun) {
	d := pdu.DataIn{
		Final: r.final, ITT: k.itt, TTT: pdu.ReservedTag, DataSN: dataSN,
		Offset: uint32(r.offset), DataLen: len(r.data),
		ExpCmdSN: c.session.expCmdSN, MaxCmdSN: c.session.maxCmdSN,
	}
	if r.ack {
		if k.in.ttt == 0 {
			k.in.ttt = c.t.nextTTT()
		}
		d.Acknowledge, d.TTT, d.LUN = true, k.in.ttt, k.lun
	}
	if r.status {
		d.HasStatus, d.Status, d.StatSN = true, uint8(scsi.Good), k.statSN
		d.Overflow, d.Underflow, d.Residual = residual(k.expected, k.in.avail)
	}
	d.Marshal(&c.header)
}

// holdRun queues a Data-In PDU that is kept.
func (c *Conn) holdRun(k *task, r *dataRun) {
	in := &k.in
	r.ticket = c.transmit(&c.header, r.data)
	in.ticket = r.ticket
	in.runs = append(in.runs, *r)
	in.held += len(r.data)
	c.held += len(r.data)
	if k.state == taskAnswered || c.unacked.n > 0 || c.held <= c.holdLimit() {
		return
	}
	// Nothing but what the command itself keeps: an initiator need not answer
	// the A bit (RFC 7143 section 11.16.2).
	n := 0
	for over := c.held - c.holdLimit(); over > 0 && n < len(in.runs); n++ {
		if !c.send.Gone(in.runs[n].ticket) {
			break
		}
		over -= len(in.runs[n].data)
	}
	k.dropRuns(n)
}

// dropRuns forgets the first n Data-In PDUs.
func (k *task) dropRuns(n int) {
	if n == 0 {
		return
	}
	in := &k.in
	for i := range in.runs[:n] {
		r := &in.runs[i]
		switch {
		case r.page == nil:
		case k.conn.send.Gone(r.ticket):
			k.unit.lend.giveBack(r.page)
		default:
			k.conn.releases.push(release{ticket: r.ticket, from: k.unit.lend, page: r.page})
		}
		in.held -= len(r.data)
		k.conn.held -= len(r.data)
	}
	kept := copy(in.runs, in.runs[n:])
	clear(in.runs[kept:])
	in.runs = in.runs[:kept]
}

// firstRun is the DataSN of the first Data-In PDU that is kept.
func (in *dataIn) firstRun() uint32 { return in.dataSN - uint32(len(in.runs)) }

// settleReads copies what reads that were executed have yet to send: what happens to the
// store from now on came after them.
func (s *session) settleReads() {
	for k := s.first; k != nil; k = k.next {
		if in := &k.in; k.state == taskSending && in.from != nil {
			in.buf = s.t.pool.must(in.length)
			in.settle()
		}
	}
}

// settle puts what is lent and yet to be sent into the task's own buffer.
func (in *dataIn) settle() {
	for at := in.sent; at < in.length; {
		data, p := in.from.lend(in.offset+uint64(at), in.length-at)
		at += copy(in.buf.b[at:in.length], data)
		if p != nil {
			in.from.giveBack(p)
		}
	}
	in.from = nil
}
