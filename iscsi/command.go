package iscsi

import (
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// commandCost is what one command counts for beside its bytes when connections
// are compared.
const commandCost = 4096

// length is how many bytes a command moves: EDTL, the expected data transfer
// length of RFC 7143 section 11.3.4.
func length(cmd *scsi.Command) int {
	if cmd.Dir == scsi.None {
		return 0
	}
	return len(cmd.Data)
}

// immediate is how much of a write goes with its SCSI Command PDU, RFC 7143
// sections 13.11 and 13.14: a PDU's worth of the first burst.
func (s *Session) immediate(cmd *scsi.Command, segment int) int {
	if cmd.Dir != scsi.Write || !s.params.ImmediateData {
		return 0
	}
	return min(len(cmd.Data), s.params.FirstBurstLength, segment)
}

// unsolicited is how much of a write goes without R2T, immediate data included:
// the first burst if InitialR2T=No (RFC 7143 section 13.10), else only what is
// immediate.
func (s *Session) unsolicited(cmd *scsi.Command, immediate int) int {
	if cmd.Dir != scsi.Write || s.params.InitialR2T {
		return immediate
	}
	return min(len(cmd.Data), s.params.FirstBurstLength)
}

// issue gives a command its CmdSN and hands it to a connection, to which it then
// belongs to its end.
func (s *Session) issue(c *Conn, t *task) {
	t.state, t.cmdSN = taskIssued, s.window.take()
	s.queue.n--
	s.issued++
	c.adopt(t)
	c.sendCommand(t)
}

// adopt makes a command this connection's.
func (c *Conn) adopt(t *task) {
	t.conn = c
	c.load += length(t.cmd) + commandCost
}

// sendCommand queues the SCSI Command PDU of a task of which the target knows
// nothing yet.
func (c *Conn) sendCommand(t *task) {
	s, cmd := c.s, t.cmd
	n := length(cmd)
	imm := s.immediate(cmd, c.params.MaxXmitDataSegmentLength)
	first := s.unsolicited(cmd, imm)
	t.out.granted, t.out.sent = imm, imm
	t.touched = true

	h := &c.scratch
	pdu.SCSICommand{
		Final:       first == imm,
		Read:        cmd.Dir == scsi.Read && n > 0,
		Write:       cmd.Dir == scsi.Write && n > 0,
		Attr:        pdu.AttrSimple,
		LUN:         s.cfg.LUN,
		ITT:         t.itt,
		ExpectedLen: uint32(n),
		CmdSN:       t.cmdSN,
		ExpStatSN:   c.expStatSN,
		CDB:         cmd.CDB,
		DataLen:     imm,
	}.Marshal(h)
	t.command = c.out.Push(h, cmd.Data[:imm], pdu.Urgent)
	if first > imm {
		t.out.grant(transfer{ttt: pdu.ReservedTag, r2tSN: -1, offset: imm, end: first})
		t.out.granted = first
		c.bursts.push(t.itt)
	}
}

// complete ends an issued command with err. If the Sender still borrows its data
// (the target answered before it had taken all), or an answer of before is missing, it is
// handed back later.
func (c *Conn) complete(t *task, err error) {
	t.cmd.Err = err
	t.state = taskEnded
	c.load -= length(t.cmd) + commandCost
	c.s.issued--
	c.s.fruitless = 0
	if t.moved {
		t.moved = false
		c.s.moved--
	}
	if c.s.level > 0 {
		c.release(t)
	}
	if c.borrows(t) || c.overtakes() {
		c.ended.push(t.itt)
		return
	}
	c.handOver(t)
}

// overtakes says whether an answer is missing that came before others. It may be one that
// tells of a unit attention, such as the loss of a cache, and what was read or made stable
// after that means something else to one who knows of it.
func (c *Conn) overtakes() bool { return c.s.level > 0 && c.stat.missing() }

// disown ends a command that was answered when its connection is lost. What overtook an
// answer that will not come here any more is asked again, but for writes: they were done.
func (c *Conn) disown(t *task) {
	if c.overtakes() && t.cmd.Err == nil && t.cmd.Dir != scsi.Write {
		t.cmd.Err = &c.s.aborted
	}
}

// borrows says whether the Sender still refers to the data of a task.
func (c *Conn) borrows(t *task) bool {
	return t.cmd.Dir == scsi.Write && !(c.out.Gone(t.command) && c.out.Gone(t.lastData))
}

func (c *Conn) handOver(t *task) {
	c.s.done.push(t.cmd)
	c.s.tasks.put(t)
}

// releaseAll hands back what has ended and may go.
func (c *Conn) releaseAll() {
	for range c.ended.len() {
		c.releaseEnded(c.ended.pop())
	}
}

// releaseEnded hands a command back that had ended and could not go.
func (c *Conn) releaseEnded(itt uint32) {
	t := c.s.tasks.findFor(itt, kindCommand, c)
	switch {
	case t == nil:
	case c.borrows(t) || c.overtakes():
		c.ended.push(itt)
	default:
		c.handOver(t)
	}
}
