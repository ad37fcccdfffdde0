package iscsi

import (
	"math"
	"time"

	"braid/iscsi/pdu"
)

// An abort is the one task management request that a connection has out: ABORT TASK, TASK
// REASSIGN or LOGICAL UNIT RESET.
type abort struct {
	task     *task  // its own; nil: none is out
	ref      uint32 // tag of the command meant
	deadline time.Duration
	reassign *recovery // of TASK REASSIGN
	request  pdu.TaskRequest
	twice    bool // it was sent a second time
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
		if t.conn.state != connDead { // else when it has moved
			t.conn.aborts.push(t.itt)
		}
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
		c.abort.request = pdu.TaskRequest{
			Immediate: true,
			Function:  pdu.AbortTask,
			LUN:       c.s.cfg.LUN,
			ITT:       own.itt,
			RefTag:    t.itt,
			CmdSN:     c.s.window.next,
			RefCmdSN:  t.cmdSN,
		}
		c.sendTaskRequest()
	}
}

func (c *Conn) sendTaskRequest() {
	c.abort.request.ExpStatSN = c.expStatSN
	h := &c.scratch
	c.abort.request.Marshal(h)
	c.out.Push(h, nil, pdu.Urgent)
}

// abortDue sends a task management request a second time, where one PDU may have been lost,
// and ends the session without an answer.
func (c *Conn) abortDue(now time.Duration) error {
	a := &c.abort
	switch {
	case a.task == nil || now < c.abortDeadline():
	case now >= a.deadline:
		return &TimeoutError{What: "answer to a task management request",
			After: c.s.cfg.AbortTimeout, final: true}
	default:
		a.twice = true
		c.sendTaskRequest()
	}
	return nil
}

func (c *Conn) abortDeadline() time.Duration {
	switch {
	case c.abort.task == nil:
		return math.MaxInt64
	case c.s.level > 0 && !c.abort.twice:
		return c.abort.deadline - c.s.cfg.AbortTimeout/2
	}
	return c.abort.deadline
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
	ref, own, to := c.abort.ref, c.abort.task, c.abort.reassign
	c.abort = abort{}
	if own.cmd != nil {
		c.unitReset(own, r.Response)
		c.nextAbort(now)
		return nil
	}
	c.s.tasks.put(own)
	if to != nil {
		if err := c.reassigned(now, to, ref, r.Response); err != nil || c.state == connDead {
			return err
		}
		c.nextAbort(now)
		return nil
	}
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
