package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

const maxImmediate = 16 // immediate commands of a session at a time

// handleCommand takes a SCSI Command PDU (RFC 7143 section 11.3).
func (c *Conn) handleCommand(now time.Duration, p *pdu.PDU) {
	s := c.session
	h := p.Header
	cmd, err := pdu.ParseSCSICommand(h)
	turn := orderNow
	if !h.Immediate() {
		if turn = s.order(h.CmdSN()); turn == orderNever {
			return
		}
	}
	reason := c.checkCommand(&cmd)
	if err != nil || reason != 0 {
		if err != nil {
			c.refuse(h, err)
		} else {
			c.reject(h, reason)
		}
		if !h.Immediate() {
			s.useUp(now, h.CmdSN())
		}
		return
	}
	k := c.t.takeCommand(c, &cmd, p)
	if turn == orderEarly {
		k.state = taskCollecting
		k.park()
		s.early.put(cmd.CmdSN, early{kind: earlyTask, task: k, conn: c})
		return
	}
	if !cmd.Immediate {
		s.expCmdSN++
	}
	c.t.deliver(now, k)
	if s.early.count > 0 || len(s.management) > 0 {
		s.deliverEarly(now)
	}
}

// checkCommand finds what was not negotiated. Zero is no fault.
func (c *Conn) checkCommand(cmd *pdu.SCSICommand) pdu.RejectReason {
	s := c.session
	p := &s.params
	switch {
	case cmd.DataLen > 0 && !p.ImmediateData,
		cmd.DataLen > p.FirstBurstLength,
		uint32(cmd.DataLen) > cmd.ExpectedLen,
		!cmd.Final && p.InitialR2T:
		return pdu.RejectProtocolError
	case cmd.Immediate && s.immediate >= maxImmediate:
		return pdu.RejectImmediateCommand
	}
	if len(s.tasks) > 0 {
		if _, there := s.tasks[cmd.ITT]; there {
			return pdu.RejectTaskInProgress
		}
	}
	return 0
}

// takeCommand makes a task of a command and takes its immediate data.
func (t *Target) takeCommand(c *Conn, cmd *pdu.SCSICommand, p *pdu.PDU) *task {
	k := t.newTask()
	k.conn, k.session, k.nexus = c, c.session, c.session.nexus
	k.itt, k.cmdSN, k.expected = cmd.ITT, cmd.CmdSN, cmd.ExpectedLen
	k.lun = cmd.LUN
	k.immediate, k.read, k.write = cmd.Immediate, cmd.Read, cmd.Write
	t.plan(k, &cmd.CDB, len(p.AHS) > 0)

	o := &k.out
	if k.write && !k.refused {
		o.limit = int(min(o.want, k.expected))
	}
	o.next = uint32(cmd.DataLen)
	if !cmd.Final {
		o.unsolicited = true
		o.end = min(uint32(c.session.params.FirstBurstLength), k.expected)
	}
	switch {
	case o.limit == 0:
	case cmd.DataLen >= o.limit:
		o.data, o.lent, o.got = p.Data[:o.limit], true, o.limit
	case cmd.DataLen > 0 || o.unsolicited:
		if o.buf = t.pool.get(o.limit); o.buf == nil {
			k.refuse(scsi.TaskSetFull, scsi.Sense{})
			o.limit = 0
			break
		}
		o.data = o.buf.b[:o.limit]
		o.got = copy(o.data, p.Data)
	}
	return k
}

// deliver says that the turn of a task has come.
func (t *Target) deliver(now time.Duration, k *task) {
	k.delivered = true
	if k.immediate {
		k.session.immediate++
	} else {
		k.session.active++
	}
	t.advance(now, k)
}

// advance does what a task waits for: its turn, its data, its execution.
func (t *Target) advance(now time.Duration, k *task) {
	o := &k.out
	switch {
	case !k.delivered, o.unsolicited, k.refused && o.outstanding > 0:
		k.state = taskCollecting
		k.park()
	case k.refused:
		t.respond(now, k, k.status, &k.sense)
	case o.got < o.limit:
		k.state = taskCollecting
		k.park()
		t.solicit(k)
	default:
		t.ready(now, k)
	}
}

// ready executes a task that has all its data, at once or after the delay that a
// fault asks for.
func (t *Target) ready(now time.Duration, k *task) {
	p := k.conn.port()
	if p.delayMax > 0 && k.unit != nil {
		t.delay(k, now+t.between(p.delayMin, p.delayMax))
		return
	}
	t.execute(now, k)
}

// solicit sends R2Ts for what is missing (RFC 7143 section 11.8).
func (t *Target) solicit(k *task) {
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
	o.asked = max(o.asked, int(o.next))
	for i := 0; i < p.MaxOutstandingR2T && i < maxR2T && o.asked < o.limit; i++ {
		b := &o.bursts[i]
		if b.active {
			continue
		}
		n := min(o.limit-o.asked, p.MaxBurstLength)
		*b = burst{
			active: true, ttt: t.nextTTT(),
			next: uint32(o.asked), end: uint32(o.asked + n),
		}
		r := pdu.R2T{
			LUN: k.lun, ITT: k.itt, TTT: b.ttt, R2TSN: o.r2tSN,
			Offset: uint32(o.asked), DesiredLen: uint32(n),
		}
		r.StatSN, r.ExpCmdSN, r.MaxCmdSN = k.conn.sequence()
		r.Marshal(&k.conn.header)
		k.conn.push(&k.conn.header, nil, nil, nil, nil)
		o.r2tSN++
		o.outstanding++
		o.asked += n
	}
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
		t.solicit(k)
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
	expected, known := o.arrived(&d)
	if !known {
		c.reject(p.Header, pdu.RejectProtocolError)
		c.protocolError(now, "Data-Out that was not asked for")
		return
	}
	if !expected {
		// Something before it is missing, or comes later (RFC 7143 section 7.9).
		k.refuse(scsi.CheckCondition, crcError)
	} else if from := int(d.Offset); from < o.limit {
		n := min(len(p.Data), o.limit-from)
		if !placed {
			copy(o.data[from:], p.Data[:n])
		}
		o.got += n
	}
	if p.DataDigestError {
		c.reject(p.Header, pdu.RejectDataDigest)
		k.refuse(scsi.CheckCondition, crcError)
	}
	c.t.advance(now, k)
}

// arrived counts a Data-Out PDU. It is not known if it lies outside of all that
// may come, and not expected if it is out of sequence.
func (o *dataOut) arrived(d *pdu.DataOut) (expected, known bool) {
	end := uint64(d.Offset) + uint64(d.DataLen)
	if d.TTT == pdu.ReservedTag {
		if !o.unsolicited || end > uint64(o.end) {
			return false, false
		}
		expected = d.Offset == o.next && d.DataSN == o.dataSN
		o.next, o.dataSN = uint32(end), d.DataSN+1
		o.unsolicited = !d.Final
		return expected, true
	}
	for i := range o.bursts {
		b := &o.bursts[i]
		if !b.active || b.ttt != d.TTT {
			continue
		}
		if end > uint64(b.end) {
			return false, false
		}
		expected = d.Offset == b.next && d.DataSN == b.dataSN &&
			d.Final == (end == uint64(b.end))
		b.next, b.dataSN = uint32(end), d.DataSN+1
		if d.Final {
			b.active = false
			o.outstanding--
		}
		return expected, true
	}
	return false, false
}
