package iscsi

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// resetUnit sends a LOGICAL UNIT RESET (RFC 7143 section 11.5.1): immediate, on a connection
// that has no other task management out.
func (s *Session) resetUnit(now time.Duration, cmd *scsi.Command) {
	for _, c := range s.conns {
		if s.state != sessionUp || c.state != connUp || c.abort.task != nil {
			continue
		}
		own := s.tasks.get(kindAbort)
		if own == nil {
			break
		}
		own.conn, own.cmd, own.cmdSN = c, cmd, s.window.next
		c.abort = abort{task: own, deadline: now + s.cfg.AbortTimeout}
		c.abort.request = pdu.TaskRequest{
			Immediate: true,
			Function:  pdu.LUNReset,
			LUN:       s.cfg.LUN,
			ITT:       own.itt,
			RefTag:    pdu.ReservedTag,
			CmdSN:     own.cmdSN,
		}
		c.sendTaskRequest()
		return
	}
	cmd.Err = &scsi.StatusError{Status: scsi.Busy}
	s.done.push(cmd)
}

// unitReset takes the answer. After "complete" the commands that were sent before the reset
// are over, those of this session too, and have been answered or never will be (RFC 7143
// section 4.2.3.3).
func (c *Conn) unitReset(own *task, response uint8) {
	s, cmd := c.s, own.cmd
	if response != pdu.TaskFunctionComplete {
		cmd.Err = &AbortError{response}
	} else {
		for i := range s.tasks.slots {
			t := s.tasks.slot(i)
			if t.kind == kindCommand && t.state == taskIssued && pdu.Less(t.cmdSN, own.cmdSN) {
				t.conn.complete(t, &s.aborted)
			}
		}
	}
	s.done.push(cmd)
	s.tasks.put(own)
}
