package iscsi

import (
	"log/slog"
	"math"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

const (
	// stallInterval is how often tasks are looked for that do not get on. A ping
	// then finds out what was lost: its answer shows gaps in the status numbers,
	// and by ExpCmdSN what the target has received.
	stallInterval = 2 * time.Second
	// maxRetries is how often in a row a command is sent again, or what it waits
	// for is asked for.
	maxRetries = 4
)

// lookForStalls pings if a task has made no step since the last look.
func (c *Conn) lookForStalls(now time.Duration) {
	if now < c.stallDeadline() {
		return
	}
	c.repair.stallAt = now + stallInterval
	stalled := false
	for i := range c.s.tasks.slots {
		t := c.s.tasks.slot(i)
		if t.kind != kindCommand || t.conn != c || t.state != taskIssued {
			continue
		}
		stalled = stalled || !t.touched
		t.touched = false
	}
	if stalled {
		c.s.Probe(now) // all, to have them compared
	}
}

func (c *Conn) stallDeadline() time.Duration {
	if c.s.level == 0 || c.load == 0 {
		return math.MaxInt64
	}
	return c.repair.stallAt
}

// answered draws conclusions from the answer to a ping: the target has seen all
// that was sent on this connection before it.
func (c *Conn) answered(now time.Duration, sent pdu.Ticket) error {
	s := c.s
	if s.level == 0 || s.window.exp == s.window.next {
		return c.askR2Ts(sent)
	}
	t := s.heading()
	if t == nil || t.conn == c {
		if s.window.unheard++; s.window.unheard > maxRetries {
			return errNotTaken
		}
	}
	switch {
	case t == nil:
		return nil // what took up that CmdSN has ended
	case t.conn != c:
		// The gap that the target waits for is on another connection.
		if t.conn.state == connUp && t.conn.ping.task == nil {
			t.conn.sendPing(now)
		}
		return nil
	case !t.command.Before(sent) || !c.out.Gone(t.lastData):
		return nil
	}
	c.retry(t)
	if c.ping.task == nil {
		c.sendPing(now) // the next one may be lost too
	}
	return nil
}

// heading is the command whose CmdSN the target expects next, nil if there is none.
func (s *Session) heading() *task {
	for i := range s.tasks.slots {
		t := s.tasks.slot(i)
		if t.kind == kindCommand && t.state == taskIssued && t.cmdSN == s.window.exp {
			return t
		}
	}
	return nil
}

// retry sends a command again that the target has not received: the same tag, the
// same CmdSN, from its beginning (RFC 7143 section 7.2.1).
func (c *Conn) retry(t *task) {
	c.s.counters.Retries++
	c.s.cfg.Log(slog.LevelInfo, "command sent again", "portal", c.address, "cid", c.cid,
		"cmdsn", t.cmdSN)
	t.forget()
	c.sendCommand(t)
}

// askR2Ts asks for R2Ts that writes may wait for, which were lost if the target has
// sent any. What it has not sent it does not send for that: it says so by a Reject.
func (c *Conn) askR2Ts(sent pdu.Ticket) error {
	if c.s.level == 0 {
		return nil
	}
	for i := range c.s.tasks.slots {
		t := c.s.tasks.slot(i)
		if t.kind != kindCommand || t.conn != c || t.state != taskIssued || t.touched ||
			t.cmd.Dir != scsi.Write || t.out.sent == len(t.cmd.Data) || t.out.n > 0 ||
			t.tries >= maxRetries || !t.command.Before(sent) || !c.out.Gone(t.lastData) {
			continue
		}
		t.tries++
		c.s.counters.R2TSNACKs++
		c.snack(pdu.SNACK{Type: pdu.SNACKData, ITT: t.itt, TTT: pdu.ReservedTag,
			BegRun: uint32(t.out.sn.next)})
	}
	return nil
}
