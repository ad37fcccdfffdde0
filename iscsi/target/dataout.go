package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// dataOut is the state of a command's data from the initiator.
type dataOut struct {
	want     uint32 // bytes that the CDB speaks of
	limit    int    // bytes that are taken: no more than expected
	got      int    // how many of those are there
	data     []byte // where they are: in buf, or lent by the receiver
	buf      *buffer
	lent     bool
	placing  bool // the receiver may be writing to buf
	starving bool // waits for a buffer

	unsolicited burst // active: unsolicited Data-Out is still to come
	asked       int   // how far R2Ts have asked
	r2tSN       uint32
	outstanding int
	bursts      [maxR2T]burst

	timeouts int  // without any Data-Out between them
	again    bool // data was asked for again: what comes twice is ignored
}

// burst is a sequence of Data-Out: unsolicited, or what one R2T asked for. It is
// in order (DataPDUInOrder=Yes), but for what was lost.
type burst struct {
	active           bool
	ttt, r2tSN       uint32
	start, next, end uint32
	dataSN           uint32

	// What is missing before next. Where there are several gaps, what lies
	// between them counts as missing too.
	missFrom, missTo uint32
}

// solicit sends R2Ts for what has not been asked for (RFC 7143 section 11.8).
func (t *Target) solicit(now time.Duration, k *task) {
	o := &k.out
	if o.buf == nil {
		if o.buf = t.pool.get(o.limit); o.buf == nil {
			o.starving = true
			t.waiting = append(t.waiting, k)
			return
		}
		o.data = o.buf.b[:o.limit]
	}
	p := &k.session.params
	o.asked = max(o.asked, int(o.unsolicited.next))
	for o.outstanding < p.MaxOutstandingR2T && o.asked < o.limit {
		n := min(o.limit-o.asked, p.MaxBurstLength)
		if !t.askFor(k, o.asked, o.asked+n) {
			break
		}
		o.asked += n
	}
	t.expectData(now, k)
}

// askFor sends an R2T; false if there are too many.
func (t *Target) askFor(k *task, from, to int) bool {
	o := &k.out
	for i := range o.bursts {
		b := &o.bursts[i]
		if b.active {
			continue
		}
		*b = burst{
			active: true, ttt: t.nextTTT(), r2tSN: o.r2tSN,
			start: uint32(from), next: uint32(from), end: uint32(to),
		}
		o.r2tSN++
		o.outstanding++
		k.sendR2T(b)
		return true
	}
	return false
}

func (k *task) sendR2T(b *burst) {
	c := k.conn
	r := pdu.R2T{
		LUN: k.lun, ITT: k.itt, TTT: b.ttt, R2TSN: b.r2tSN,
		Offset: b.start, DesiredLen: b.end - b.start,
	}
	r.StatSN, r.ExpCmdSN, r.MaxCmdSN = c.sequence()
	r.Marshal(&c.header)
	c.push(&c.header, nil, nil, nil, nil)
}

// serveWaiting gives buffers that came free to the tasks that wait for them.
func (t *Target) serveWaiting() {
	for len(t.waiting) > 0 {
		k := t.waiting[0]
		b := t.pool.get(k.out.limit)
		if b == nil {
			return
		}
		t.stopWaiting(k)
		k.out.buf, k.out.data = b, b.b[:k.out.limit]
		t.solicit(t.now, k)
	}
}

func (t *Target) stopWaiting(k *task) {
	k.out.starving = false
	for i, o := range t.waiting {
		if o == k {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return
		}
	}
}

// handleDataOut takes a SCSI Data-Out PDU (RFC 7143 section 11.7). Data of tasks
// that are no more, aborted ones say, is ignored.
func (c *Conn) handleDataOut(now time.Duration, p *pdu.PDU) {
	d, err := pdu.ParseDataOut(p.Header)
	if err != nil {
		c.refuse(p.Header, err)
		return
	}
	k := c.session.tasks[d.ITT]
	if k == nil || k.conn != c {
		return
	}
	o := &k.out
	placed := o.placing
	o.placing = false
	b := o.burst(d.TTT)
	if b == nil && o.again {
		return // of a sequence that was given up and asked for anew
	}
	end := uint64(d.Offset) + uint64(d.DataLen)
	if b == nil || end > uint64(b.end) {
		c.reject(p.Header, pdu.RejectProtocolError)
		c.protocolError(now, "Data-Out that was not asked for")
		return
	}
	o.timeouts = 0
	if c.level > 0 {
		c.recoverOut(now, k, b, &d, p, placed)
		return
	}
	expected := d.Offset == b.next && d.DataSN == b.dataSN &&
		(b == &o.unsolicited || d.Final == (end == uint64(b.end)))
	b.next, b.dataSN = uint32(end), d.DataSN+1
	if expected {
		o.take(d.Offset, p.Data, placed)
	} else {
		// Something before it is missing, or comes later (RFC 7143 section 7.9).
		k.refuse(scsi.CheckCondition, crcError)
	}
	if d.Final {
		o.close(b)
	}
	if p.DataDigestError {
		c.reject(p.Header, pdu.RejectDataDigest)
		k.refuse(scsi.CheckCondition, crcError)
	}
	c.t.advance(now, k)
}

// burst finds the sequence to which a Data-Out belongs, nil if there is none.
func (o *dataOut) burst(ttt uint32) *burst {
	if ttt == pdu.ReservedTag {
		if o.unsolicited.active {
			return &o.unsolicited
		}
		return nil
	}
	for i := range o.bursts {
		if b := &o.bursts[i]; b.active && b.ttt == ttt {
			return b
		}
	}
	return nil
}

// take puts data where it belongs, as far as it is wanted.
func (o *dataOut) take(offset uint32, data []byte, placed bool) {
	from := int(offset)
	if from >= o.limit {
		return
	}
	n := min(len(data), o.limit-from)
	if !placed {
		copy(o.data[from:], data[:n])
	}
	o.got += n
}

// close ends a sequence.
func (o *dataOut) close(b *burst) {
	b.active = false
	if b != &o.unsolicited {
		o.outstanding--
	}
}
