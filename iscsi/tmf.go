package iscsi

import (
	"time"

	"braid/iscsi/pdu"
)

// An abort is the one ABORT TASK that a connection has out.
type abort struct {
	task     *task  // its own; nil: none is out
	ref      uint32 // tag of the command to be aborted
	deadline time.Duration
}

// late takes a command whose timeout has passed. In the queue it just ends, since
// nobody has heard of it; out on a connection its ABORT TASK is due. One that the
// target did not know of any more, and did not answer since, ends too.
func (s *Session) late(t *task) {
	switch {
	case t.state == taskQueued:
		s.queue.n--
		t.cmd.Err = &s.aborted
		s.done.push(t.cmd)
		s.tasks.put(t)
	case t.state == taskIssued && t.aborting:
		t.conn.complete(t, &s.aborted)
	case t.state == taskIssued:
		t.aborting = true
		t.conn.aborts.push(t.itt)
	}
}

// nextAbort sends the next ABORT TASK that waits: immediate, on the command's own
// connection, one at a time, as RFC 7143 section 4.2.2.1 promises room for one.
func (c *Conn) nextAbort(now time.Duration) {
	for c.fullFeature() && c.abort.task == nil && c.aborts.len() > 0 {
		t := c.s.tasks.findFor(c.aborts.pop(), kindCommand, c)
		if t == nil || t.state != taskIssued {
			continue
		}
		own := c.s.tasks.get(kindAbort)
		if own == nil {
			c.aborts.push(t.itt)
			return
		}
		own.conn = c
		c.abort = abort{task: own, ref: t.itt, deadline: now + c.s.cfg.AbortTimeout}
		var h pdu.Header
		pdu.TaskRequest{
			Immediate: true,
			Function:  pdu.AbortTask,
			LUN:       c.s.cfg.LUN,
			ITT:       own.itt,
			RefTag:    t.itt,
			CmdSN:     c.s.window.next,
			ExpStatSN: c.expStatSN,
			RefCmdSN:  t.cmdSN,
		}.Marshal(&h)
		c.out.Push(&h, nil, pdu.Urgent)
	}
}

// taskResponse takes the answer to ABORT TASK. After "complete" the command can do
// nothing any more. So it is after "task does not exist", but there its own answer
// may be on the way: it should have come first (RFC 7143 section 11.6.1), and Linux
// targets send it afterwards. It is awaited for AbortTimeout. Any other answer
// leaves the outcome unknown and ends the session.
func (c *Conn) taskResponse(now time.Duration, h *pdu.Header) error {
	r, err := pdu.ParseTaskResponse(h)
	if err != nil {
		return err
	}
	if c.abort.task == nil || c.abort.task.itt != r.ITT {
		if c.s.level > 0 {
			return nil // a second answer
		}
		return breach(h, "no task management request has this tag")
	}
	ref, own := c.abort.ref, c.abort.task
	c.abort = abort{}
	if own.cmd != nil {
		c.unitReset(own, r.Response)
		c.nextAbort(now)
		return nil
	}
	c.s.tasks.put(own)
	if t := c.s.tasks.findFor(ref, kindCommand, c); t != nil && t.state == taskIssued {
		switch r.Response {
		case pdu.TaskFunctionComplete:
			c.complete(t, &c.s.aborted)
		case pdu.TaskDoesNotExist:
			c.s.tasks.watch(t, now, c.s.cfg.AbortTimeout)
		default:
			return &AbortError{r.Response}
		}
	}
	c.nextAbort(now)
	return nil
}
