package target

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

const maxManagement = 8 // task management functions that a session can have waiting

// management is a task management function that cannot be answered yet: earlier
// commands have not come, or a store still works on commands that it aborted.
type management struct {
	conn    *Conn
	request pdu.TaskRequest
	pending int // tasks that a store is working on
}

// handleTask takes a Task Management Function Request (RFC 7143 section 11.5).
func (c *Conn) handleTask(now time.Duration, h *pdu.Header) error {
	r, err := pdu.ParseTaskRequest(h)
	if err != nil {
		return err
	}
	s := c.session
	if r.Immediate && r.Function != pdu.AbortTask && r.Function != pdu.TaskReassign &&
		pdu.Less(s.expCmdSN, r.CmdSN) {
		// Commands before it are still on their way over other connections,
		// and are meant too (RFC 7143 section 4.2.3.3).
		if len(s.management) >= maxManagement {
			c.reject(h, pdu.RejectImmediateCommand)
			return nil
		}
		s.management = append(s.management, &management{conn: c, request: r})
		return nil
	}
	c.manage(now, &management{conn: c, request: r})
	return nil
}

// runManagement does the functions whose turn has come.
func (s *session) runManagement(now time.Duration) {
	for i := 0; i < len(s.management) && !s.over; {
		m := s.management[i]
		if pdu.Less(s.expCmdSN, m.request.CmdSN) {
			i++
			continue
		}
		s.management = append(s.management[:i], s.management[i+1:]...)
		m.conn.manage(now, m)
	}
}

// manage does a task management function.
func (c *Conn) manage(now time.Duration, m *management) {
	t, s := c.t, c.session
	if s == nil || c.state != stateFull {
		return
	}
	r := &m.request
	c.t.cfg.Log(slog.LevelInfo, "task management", "initiator", s.key.initiator,
		"function", r.Function, "lun", scsi.LUN(r.LUN).String())
	u := t.unit(r.LUN)
	switch r.Function {
	case pdu.AbortTask:
		c.abortTask(now, m)
		return
	case pdu.AbortTaskSet, pdu.ClearTaskSet, pdu.LUNReset:
		if u == nil {
			m.respond(pdu.TaskLUNDoesNotExist)
			return
		}
		t.abortUnit(now, m, u)
	case pdu.TargetWarmReset:
		for _, u := range t.units {
			t.abortUnit(now, m, u)
		}
	case pdu.TaskReassign:
		c.reassign(now, m)
		return
	default:
		m.respond(pdu.TaskFunctionNotSupported)
		return
	}
	if m.pending == 0 {
		m.respond(pdu.TaskFunctionComplete)
	}
}

// abortTask aborts one task. One that has not come yet counts as come (RFC 7143
// section 11.5.1).
func (c *Conn) abortTask(now time.Duration, m *management) {
	s, r := c.session, &m.request
	k := s.tasks[r.RefTag]
	if k != nil && k.lun == scsi.LUN(r.LUN) {
		if !k.delivered {
			if e := s.early.at(k.cmdSN); e.task == k {
				*e = early{kind: earlyHole}
			}
		}
		c.t.cancel(k, m)
		if m.pending == 0 {
			m.respond(pdu.TaskFunctionComplete)
		}
		return
	}
	if k == nil && s.order(r.RefCmdSN) != orderNever && pdu.Less(r.RefCmdSN, r.CmdSN) {
		s.useUp(now, r.RefCmdSN)
		m.respond(pdu.TaskFunctionComplete)
		return
	}
	m.respond(pdu.TaskDoesNotExist)
}

// abortUnit aborts the tasks of a logical unit: of AbortTaskSet those of the
// requesting nexus, else all.
func (t *Target) abortUnit(now time.Duration, m *management, u *unit) {
	own := m.conn.session
	all := m.request.Function != pdu.AbortTaskSet
	for i := 0; i < len(t.sessions); i++ {
		s := t.sessions[i]
		if s != own && !all {
			continue
		}
		for k := s.first; k != nil; {
			next := k.next
			switch {
			case k.unit != u || !k.delivered:
			case s == own:
				t.cancel(k, m)
			case k.state == taskStored:
				m.await(k)
				k.reset = true
			default:
				// The control mode page says TAS=1: others are told.
				t.detach(k)
				t.respond(now, k, scsi.TaskAborted, nil)
			}
			k = next
		}
	}
	if !all {
		return
	}
	t.layGhostsOf(u)
	for _, n := range t.nexuses {
		switch {
		case m.request.Function != pdu.ClearTaskSet:
			n.attention[u.index].add(unitResetOccurred)
		case n != own.nexus:
			n.attention[u.index].add(commandsWereClosed)
		}
	}
}

// cancel aborts a task for a task management function, which waits for it if a
// store is working on it.
func (t *Target) cancel(k *task, m *management) {
	if k.state == taskStored {
		m.await(k)
	}
	t.abort(k)
}

// await makes the answer wait for a task that a store is working on.
func (m *management) await(k *task) {
	if k.tmf == nil {
		k.tmf = m
		m.pending++
	}
}

// detach takes a task out of the queues in which it waits.
func (t *Target) detach(k *task) {
	switch k.state {
	case taskSending:
		k.conn.queue.remove(k)
	case taskPostponed:
		k.conn.backlog.remove(k)
	}
	if k.index >= 0 {
		t.delayed.remove(k)
	}
	k.state = taskNew
}

// settled says that a store is done with a task that was aborted.
func (m *management) settled(time.Duration) {
	if m.pending--; m.pending == 0 {
		m.respond(pdu.TaskFunctionComplete)
	}
}

func (m *management) respond(response uint8) {
	c := m.conn
	if c.state != stateFull || c.session == nil {
		return
	}
	r := pdu.TaskResponse{Response: response, ITT: m.request.ITT}
	r.StatSN, r.ExpCmdSN, r.MaxCmdSN = c.status()
	var h pdu.Header
	r.Marshal(&h)
	c.pushAnswer(&h, nil, nil)
}
