package iscsi

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// move takes commands of a lost connection to those that are up. What the target has not
// received is sent again with the same CmdSN, all at once, since it holds up what comes
// after it; the others are reassigned, one at a time on each connection, as RFC 7143 section
// 4.2.2.1 promises room for one immediate task management request.
func (s *Session) move(now time.Duration, r *recovery) {
	rest := r.orphans[:0]
	for _, itt := range r.orphans {
		t := s.tasks.findFor(itt, kindCommand, r.conn)
		if t == nil || t.state != taskIssued {
			continue // aborted meanwhile
		}
		by := s.leastLoaded(false)
		if by == nil || pdu.Less(t.cmdSN, s.window.exp) {
			rest = append(rest, itt)
			continue
		}
		by.adopt(t)
		s.await(r, t)
		t.left, t.gapped, t.refused = false, false, false
		by.retry(t)
		by.abortLater(now, t)
	}
	for len(rest) > 0 {
		by := s.reassigner()
		t := s.tasks.findFor(rest[0], kindCommand, r.conn)
		if by == nil {
			break
		}
		if !by.reassign(now, r, t) {
			r.at = now + allegiantPause
			break
		}
		rest = rest[1:]
	}
	r.orphans = rest
	if len(rest) == 0 && r.moving == 0 {
		s.recovered(r)
	}
}

// await notes that a command which is moved is to be answered before new ones are sent.
func (s *Session) await(r *recovery, t *task) {
	if r.alone && !t.moved {
		t.moved = true
		s.moved++
	}
}

// reassigner is a connection with room for a TASK REASSIGN, nil if there is none.
func (s *Session) reassigner() *Conn {
	for _, c := range s.conns {
		if c.state == connUp && c.abort.task == nil {
			return c
		}
	}
	return nil
}

// abortLater has the ABORT TASK sent that a moved command was due.
func (c *Conn) abortLater(now time.Duration, t *task) {
	if t.aborting {
		c.aborts.push(t.itt)
		c.nextAbort(now)
	}
}

// reassign asks the target to go on with a task on this connection, RFC 7143 section 7.2.2.
// Of a read it sends again what comes after ExpDataSN, of a write the R2Ts that are open, of
// both the status. It is this connection's task from now on, since the target may go on with
// it before its answer is read.
func (c *Conn) reassign(now time.Duration, r *recovery, t *task) bool {
	own := c.s.tasks.get(kindAbort)
	if own == nil {
		return false
	}
	own.conn = c
	c.adopt(t)
	c.s.await(r, t)
	r.moving++
	next := t.out.carryOver()
	if t.cmd.Dir == scsi.Read {
		next = t.in.carryOver()
	}
	t.gapped, t.refused, t.touched, t.tries = false, false, true, 0
	c.abort = abort{task: own, ref: t.itt, deadline: now + c.s.cfg.AbortTimeout, reassign: r}
	c.abort.request = pdu.TaskRequest{
		Immediate: true,
		Function:  pdu.TaskReassign,
		LUN:       c.s.cfg.LUN,
		ITT:       own.itt,
		RefTag:    t.itt,
		CmdSN:     c.s.window.next,
		ExpDataSN: next,
	}
	c.sendTaskRequest()
	return true
}

// carryOver leaves of a read what came without a gap, and returns the DataSN that is due.
func (r *reading) carryOver() uint32 {
	next, received := r.sn.next, r.received
	if r.patchy {
		received = 0
		if len(r.seen) > 0 && r.seen[0].from == 0 {
			received = r.seen[0].to
		}
	}
	*r = reading{received: received, sn: r.sn, seen: r.seen[:0]}
	r.sn.restart(next)
	return uint32(next)
}

// carryOver leaves of a write what was sent, and returns the R2TSN that is due. What is
// missing of data asked for before will be asked for again.
func (w *writing) carryOver() uint32 {
	*w = writing{granted: w.granted, sent: w.sent, sn: w.sn, again: true, seen: w.seen[:0]}
	w.sn.restart(w.sn.next)
	return uint32(w.sn.next)
}

// reassigned takes the answer to TASK REASSIGN.
func (c *Conn) reassigned(now time.Duration, r *recovery, ref uint32, response uint8) error {
	s := c.s
	r.moving--
	t := s.tasks.findFor(ref, kindCommand, c)
	if t == nil || t.state != taskIssued {
		s.stepOne(now, r) // its status was quicker
		return nil
	}
	switch {
	case response == pdu.TaskFunctionComplete:
		s.counters.Reassigned++
		c.abortLater(now, t)
	case response == pdu.TaskStillAllegiant && r.tries < maxAllegiant:
		r.tries++
		c.load -= length(t.cmd) + commandCost
		t.conn = r.conn
		r.orphans = append(r.orphans, ref)
		r.at = now + allegiantPause
	case response == pdu.TaskDoesNotExist && t.cmd.Dir != scsi.Write:
		// A target may give up what it was reading. Nothing was changed by it: the
		// command is a new one.
		s.cfg.Log(slog.LevelInfo, "target has given up a read, which is sent anew",
			"portal", c.address, "cid", c.cid)
		c.complete(t, &s.aborted)
	default:
		s.fallBack(r, &ReassignError{response})
		return nil
	}
	if now >= r.at {
		s.stepOne(now, r)
	}
	return nil
}
