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
	o.unsolicited = burst{
		active: !cmd.Final, ttt: pdu.ReservedTag, next: uint32(cmd.DataLen),
		end: min(uint32(c.session.params.FirstBurstLength), k.expected),
	}
	switch {
	case o.limit == 0:
	case cmd.DataLen >= o.limit:
		o.data, o.lent, o.got = p.Data[:o.limit], true, o.limit
	case cmd.DataLen > 0 || o.unsolicited.active:
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
	if k.index >= 0 {
		t.delayed.remove(k)
	}
	switch {
	case !k.delivered, o.unsolicited.active, k.refused && o.outstanding > 0:
		k.state = taskCollecting
		k.park()
		t.expectData(now, k)
	case k.refused:
		t.respond(now, k, k.status, &k.sense)
	case o.got < o.limit:
		k.state = taskCollecting
		k.park()
		t.solicit(now, k)
	default:
		t.ready(now, k)
	}
}

// ready executes a task that has all its data, at once or after the delay that a
// fault asks for.
func (t *Target) ready(now time.Duration, k *task) {
	if c := k.conn; c.level > 0 && c.backlogFull() {
		c.postpone(k)
		return
	}
	p := k.conn.port()
	if p.delayMax > 0 && k.unit != nil && (p.delayOf == AnyCommand || p.delayOf == k.kind()) {
		t.delay(k, now+t.between(p.delayMin, p.delayMax))
		return
	}
	t.execute(now, k)
}
