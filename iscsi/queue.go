package iscsi

import (
	"math"
	"time"

	"braid/iscsi/scsi"
)

// A queue holds the commands that wait for the command window or for room on a
// connection, in the order of submission. Writes that carry immediate data stand
// apart: while no connection has room for their payload, commands without any go
// ahead of them.
type queue struct {
	plain, laden ring[uint32] // tags
	n            int          // commands, without those that ended in the queue
	order        uint64       // of the last one submitted
}

func (q *queue) push(t *task, laden bool) {
	q.order++
	t.order = q.order
	q.n++
	if laden {
		q.laden.push(t.itt)
	} else {
		q.plain.push(t.itt)
	}
}

// head is the first task of a ring that is still waiting, nil if none is.
func (s *Session) head(r *ring[uint32]) *task {
	for r.len() > 0 {
		t := s.tasks.find(r.peek())
		if t != nil && t.kind == kindCommand && t.state == taskQueued {
			return t
		}
		r.pop()
	}
	return nil
}

// Submit takes a command; it comes back by Completed, never within this call. It
// is sent when the command window and a connection have room for it. On a session
// that is dead or logging out it comes back as lost and not sent.
func (s *Session) Submit(now time.Duration, cmd *scsi.Command) {
	cmd.Err, cmd.Transferred = nil, 0
	if s.state == sessionDead || s.state == sessionLeaving {
		s.lostUnsent.Cause = s.cause()
		cmd.Err = &s.lostUnsent
		s.done.push(cmd)
		return
	}
	if cmd.Reset {
		s.resetUnit(now, cmd)
		return
	}
	t := s.tasks.get(kindCommand)
	if t == nil {
		cmd.Err = &scsi.StatusError{Status: scsi.TaskSetFull}
		s.done.push(cmd)
		return
	}
	t.cmd, t.state = cmd, taskQueued
	s.tasks.watch(t, now, cmd.Timeout)
	s.queue.push(t, s.state == sessionOpening && cmd.Dir == scsi.Write ||
		s.immediate(cmd, math.MaxInt) > 0)
	if s.state == sessionUp {
		s.pump()
	}
}

// pump moves commands from the queue to connections.
func (s *Session) pump() {
	if s.level == 2 && s.mustWait() {
		return
	}
	for s.queue.n > 0 && s.window.open() && !s.leave.frozen {
		plain, laden := s.head(&s.queue.plain), s.head(&s.queue.laden)
		if laden != nil && (plain == nil || laden.order < plain.order) {
			if c := s.leastLoaded(true); c != nil {
				s.queue.laden.pop()
				s.issue(c, laden)
				continue
			}
		}
		c := s.leastLoaded(false)
		if plain == nil || c == nil {
			return
		}
		s.queue.plain.pop()
		s.issue(c, plain)
	}
}

// leastLoaded is the connection with the least to do, of those with room for
// payload if the command brings any; nil if there is none.
func (s *Session) leastLoaded(payload bool) *Conn {
	var best *Conn
	for _, c := range s.conns {
		if c.state != connUp || payload && !c.hasRoom() {
			continue
		}
		if best == nil || c.load < best.load {
			best = c
		}
	}
	return best
}

// handBack ends all commands of a session that is about to be dead. What was
// answered keeps its answer; of the rest those are lost unsent whose SCSI
// Command PDU the transport did not take.
func (s *Session) handBack() {
	for i := range s.tasks.slots {
		t := s.tasks.slot(i)
		if t.kind == kindFree {
			continue
		}
		if t.kind == kindCommand {
			if t.state == taskQueued || t.state == taskIssued && !t.hasLeft() {
				t.cmd.Err = &s.lostUnsent
			} else if t.state == taskIssued {
				t.cmd.Err = &s.lostSent
			} else {
				t.conn.disown(t)
			}
			s.done.push(t.cmd)
		} else if t.cmd != nil { // a reset
			t.cmd.Err = &s.lostSent
			s.done.push(t.cmd)
		}
		s.tasks.put(t)
	}
	s.queue.n, s.issued = 0, 0
}

// hasLeft says whether an issued command may have reached the target: its PDU has
// left as a whole. Of one that was cut off in the middle the target can do nothing.
func (t *task) hasLeft() bool {
	return t.left || t.conn.state != connDead && t.conn.out.Gone(t.command)
}
