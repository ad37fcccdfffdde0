package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// sendIn sends the data of a task that has it, followed by GOOD.
func (t *Target) sendIn(now time.Duration, k *task) {
	switch {
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
// is over, when all is queued, with the status in the last PDU (RFC 7143 section
// 11.7.3).
func (c *Conn) sendData(k *task) bool {
	in := &k.in
	for c.send.Payload() < outputBytes {
		n := min(in.length-in.sent, c.params.MaxXmitDataSegmentLength,
			c.session.params.MaxBurstLength-in.burst)
		var data []byte
		var p *page
		if in.from != nil {
			data, p = in.from.lend(in.offset+uint64(in.sent), n)
		} else {
			data = in.buf.b[in.sent:][:n]
		}
		in.burst += len(data)
		d := pdu.DataIn{
			ITT: k.itt, TTT: pdu.ReservedTag, DataSN: in.dataSN,
			Offset: uint32(in.sent), DataLen: len(data),
		}
		in.dataSN++
		in.sent += len(data)
		last := in.sent == in.length
		if last || in.burst == c.session.params.MaxBurstLength {
			d.Final, in.burst = true, 0
		}
		var b *buffer
		if last {
			d.HasStatus, d.Status = true, uint8(scsi.Good)
			d.Overflow, d.Underflow, d.Residual = residual(k.expected, in.avail)
			k.discharge()
			d.StatSN = c.statSN
			c.statSN++
			b, in.buf = in.buf, nil
		}
		d.ExpCmdSN, d.MaxCmdSN = c.session.expCmdSN, c.session.maxCmdSN
		d.Marshal(&c.header)
		c.push(&c.header, data, in.from, p, b)
		if last {
			c.t.free(k)
			return true
		}
	}
	return false
}

// settleReads copies what reads that were executed have yet to send: what happens to the
// store from now on came after them.
func (c *Conn) settleReads() {
	for i := range c.queue.n {
		in := &c.queue.ring[(c.queue.head+i)%len(c.queue.ring)].in
		if in.from == nil {
			continue
		}
		in.buf = c.t.pool.must(in.length)
		for at := in.sent; at < in.length; {
			data, p := in.from.lend(in.offset+uint64(at), in.length-at)
			at += copy(in.buf.b[at:in.length], data)
			if p != nil {
				in.from.giveBack(p)
			}
		}
		in.from = nil
	}
}
