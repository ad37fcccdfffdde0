package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// reassign does TASK REASSIGN (RFC 7143 sections 7.2.2, 11.5 and 11.6.1): a task
// of a connection that was logged out for recovery goes on over this one. The
// response goes ahead of what resumes. ExpDataSN acknowledges the Data-In and R2Ts
// before it; what came of a write's data stays.
func (c *Conn) reassign(now time.Duration, m *management) {
	s, r := c.session, &m.request
	if s.params.ErrorRecoveryLevel < 2 {
		m.respond(pdu.TaskReassignNotSupported)
		return
	}
	k := s.findTask(r.RefTag)
	switch {
	case c.t.unit(r.LUN) == nil:
		m.respond(pdu.TaskLUNDoesNotExist)
		return
	case k == nil, k.lun != scsi.LUN(r.LUN):
		m.respond(pdu.TaskDoesNotExist)
		return
	case !k.conn.failure.waits, !k.conn.failure.removed:
		m.respond(pdu.TaskStillAllegiant)
		return
	case c.t.faults.take(&c.t.faults.reassigns), !k.resumes(r.ExpDataSN):
		m.respond(pdu.TaskFunctionRejected)
		return
	}
	m.respond(pdu.TaskFunctionComplete)
	s.counters.Reassigned++
	k.move(c)
	c.resume(now, k)
}

// findTask finds a task wherever it is, with its status unacknowledged too.
func (s *session) findTask(itt uint32) *task {
	if k := s.tasks[itt]; k != nil {
		return k
	}
	same := func(k *task) bool { return k.itt == itt }
	for i := len(s.failed) - 1; i >= 0; i-- {
		if k := s.failed[i].answered(same); k != nil {
			return k
		}
	}
	for _, c := range s.conns {
		if k := c.answered(same); k != nil {
			return k
		}
	}
	return nil
}

// resumes makes a task ready to go on from ExpDataSN. It is false if that is a
// number which was not sent, or whose data is not kept any more.
func (k *task) resumes(expDataSN uint32) bool {
	in, o := &k.in, &k.out
	if k.write {
		if expDataSN > o.r2tSN {
			return false
		}
		if k.state == taskCollecting && k.preempting == nil {
			o.rewind(expDataSN)
		}
		return true
	}
	if pdu.Less(expDataSN, in.acked) || pdu.Less(in.dataSN, expDataSN) ||
		!k.rewind(expDataSN) {
		return false
	}
	in.acked = expDataSN
	k.dropRuns(len(in.runs))
	return true
}

// rewind forgets what was asked for and has not come. R2Ts that the initiator has
// not seen give their numbers back.
func (o *dataOut) rewind(r2tSN uint32) {
	have := uint32(max(o.asked, int(o.unsolicited.next)))
	for i := -1; i < len(o.bursts); i++ {
		b := &o.unsolicited
		if i >= 0 {
			b = &o.bursts[i]
		}
		switch {
		case !b.active:
		case b.missFrom < b.missTo:
			have = min(have, b.missFrom)
		default:
			have = min(have, b.next)
		}
		b.active = false
	}
	o.unsolicited.next = have
	o.asked, o.got = int(have), min(int(have), o.limit)
	o.r2tSN, o.outstanding, o.timeouts, o.again = r2tSN, 0, 0, true
}

// move gives a task to another connection. A SNACK tag does not go along (RFC
// 7143 section 7.2.2).
func (k *task) move(c *Conn) {
	if old := k.conn; k.state == taskAnswered {
		for i := range old.unacked.n {
			if a := old.unacked.at(i); a.k == k {
				a.k = nil
			}
		}
		k.state = taskHeld
	}
	k.conn, k.tag, k.in.ticket = c, 0, pdu.Ticket{}
}

// resume goes on with a task that has got another connection.
func (c *Conn) resume(now time.Duration, k *task) {
	switch k.state {
	case taskHeld:
		if k.status == scsi.Good && k.in.sent < k.in.length {
			c.t.sendIn(now, k)
			return
		}
		c.t.respond(now, k, k.status, &k.sense)
	case taskPostponed:
		c.t.ready(now, k)
	case taskSending:
		c.queue.push(k)
		c.fill(now)
	case taskCollecting:
		if k.preempting == nil {
			c.t.advance(now, k)
		}
	}
}
