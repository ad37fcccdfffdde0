package target

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// Data-Out at error recovery level 1 and above. What was lost in a sequence, by a
// digest or whole, is asked for again with a recovery R2T once the sequence has
// ended, or has stopped for DataTimeout (RFC 7143 sections 7.1.4.1, 7.8, 7.9). The
// sequence is let run to its end first, since no more than one R2T may be out
// (section 13.19), and so that one R2T covers all that is missing.

// maxTimeouts is how often in a row a task is asked for data that does not come.
const maxTimeouts = 3

// recoverOut takes a Data-Out PDU of a known sequence.
func (c *Conn) recoverOut(
	now time.Duration, k *task, b *burst, d *pdu.DataOut, p *pdu.PDU, placed bool,
) {
	o := &k.out
	end := d.Offset + uint32(d.DataLen)
	switch {
	case p.DataDigestError:
		c.reject(p.Header, pdu.RejectDataDigest)
		if !pdu.LessEq(b.dataSN, d.DataSN) || d.Offset < b.next {
			return // came twice
		}
		o.miss(b, end)
	case pdu.Less(d.DataSN, b.dataSN):
		return // came twice: the R2T was sent twice
	case d.Offset < b.next:
		// DataSN says that it is new, its place that it is not. Something before
		// it is wrong; what is sure is that it has not come in order.
		o.miss(b, max(b.next, end))
	default:
		o.miss(b, d.Offset)
		o.take(d.Offset, p.Data, placed)
		b.next = end
	}
	b.dataSN = d.DataSN + 1
	if d.Final {
		if b != &o.unsolicited {
			o.miss(b, b.end)
		}
		c.t.conclude(k, b)
	}
	c.t.advance(now, k)
}

// miss notes that what lies between the next byte and to is missing.
func (o *dataOut) miss(b *burst, to uint32) {
	if to <= b.next {
		return
	}
	if b.missFrom == b.missTo {
		b.missFrom = b.next
	} else {
		limit := uint32(o.limit)
		o.got -= int(min(b.next, limit) - min(b.missTo, limit))
	}
	b.next, b.missTo = to, to
}

// conclude ends a sequence and asks again for what is missing of it.
func (t *Target) conclude(k *task, b *burst) {
	o := &k.out
	o.close(b)
	from, to := int(b.missFrom), min(int(b.missTo), o.limit)
	if from >= to || k.refused {
		return
	}
	o.again = true
	k.session.counters.RecoveryR2Ts++
	t.askFor(k, from, to)
}

// expectData makes the task's data have its time.
func (t *Target) expectData(now time.Duration, k *task) {
	o := &k.out
	if k.conn.level == 0 || !o.unsolicited.active && o.outstanding == 0 {
		return
	}
	if k.index >= 0 {
		t.delayed.remove(k)
	}
	t.serial++
	k.due, k.serial = now+t.cfg.DataTimeout, t.serial
	t.delayed.push(k)
}

// dataLate goes on when data has stayed away. A task that is not executed anyway
// waits for it no longer. When asking does not help, the connection is given up.
func (t *Target) dataLate(now time.Duration, k *task) {
	o, c := &k.out, k.conn
	o.again = true
	if k.refused {
		o.unsolicited.active = false
		for i := range o.bursts {
			o.bursts[i].active = false
		}
		o.outstanding = 0
		t.advance(now, k)
		return
	}
	if o.timeouts++; o.timeouts > maxTimeouts {
		t.cfg.Log(slog.LevelWarn, "data stays away", "initiator", c.initiator(), "cid", c.cid)
		c.fail(now)
		return
	}
	old := o.r2tSN
	if b := &o.unsolicited; b.active {
		// How far it was to go is not known: what is behind it is asked for as
		// if it had never been sent.
		t.conclude(k, b)
	}
	for i := range o.bursts {
		b := &o.bursts[i]
		switch {
		case !b.active || b.r2tSN >= old:
		case b.dataSN == 0 && o.timeouts%2 == 1:
			// Perhaps the R2T was lost. An initiator that has it ignores this one
			// (RFC 7143 section 7.9), and is asked with another one later.
			k.session.counters.Resent++
			k.sendR2T(b)
		default:
			o.miss(b, b.end)
			t.conclude(k, b)
		}
	}
	t.advance(now, k)
}
