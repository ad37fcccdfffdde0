package iscsi

import (
	"math"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// leaving is the orderly end of a session: the commands that are out end first,
// bounded in time, then one Logout closes all connections, RFC 7143 section 11.14.
type leaving struct {
	cause    error // what Err will be; nil: not leaving
	frozen   bool  // no queued command is sent any more
	sent     bool
	conn     *Conn // on which the Logout went
	task     *task
	deadline time.Duration
}

// Logout ends the session in an orderly way, bounded by twice LogoutTimeout; a
// session that is not up yet is ended at once. Err is then scsi.ErrLoggedOut, but a
// *LogoutError if the target did not agree or commands were still unanswered.
func (s *Session) Logout(now time.Duration) {
	switch s.state {
	case sessionOpening:
		s.die(scsi.ErrLoggedOut)
	case sessionUp:
		s.state = sessionLeaving
		s.leave = leaving{cause: scsi.ErrLoggedOut, deadline: now + s.cfg.LogoutTimeout}
		s.pumpLogout(now)
	}
}

// leaveAsked ends the session because the target asked for it. Nothing more is
// sent but what the commands already out need.
func (s *Session) leaveAsked(now, grace time.Duration) {
	if s.state != sessionUp {
		return
	}
	s.state = sessionLeaving
	s.leave = leaving{
		cause:    &AsyncError{Event: pdu.AsyncLogoutRequest},
		frozen:   true,
		deadline: now + grace,
	}
}

// cause is why commands are not taken any more.
func (s *Session) cause() error {
	if s.err != nil {
		return s.err
	}
	return s.leave.cause
}

// pumpLogout sends the Logout once nothing is out, or time is up. It is immediate,
// so that it needs no room in the command window, and uses up no CmdSN.
func (s *Session) pumpLogout(now time.Duration) {
	l := &s.leave
	if s.state != sessionLeaving || l.sent {
		return
	}
	busy := s.issued > 0 || len(s.lost) > 0 || s.queue.n > 0 && !l.frozen || s.text.busy()
	if busy && now < l.deadline {
		return
	}
	l.conn = s.logoutConn()
	if l.conn == nil {
		s.die(&LogoutError{Err: errUnanswered})
		return
	}
	if l.task = s.tasks.get(kindLogout); l.task == nil {
		s.die(&LogoutError{Err: errNoTag})
		return
	}
	l.task.conn = l.conn
	l.sent, l.frozen = true, true
	l.deadline = now + s.cfg.LogoutTimeout
	for _, c := range s.conns {
		if c.state == connUp {
			c.state = connLogout
		}
	}
	var h pdu.Header
	pdu.LogoutRequest{
		Immediate: true,
		Reason:    pdu.LogoutCloseSession,
		ITT:       l.task.itt,
		CmdSN:     s.window.next,
		ExpStatSN: l.conn.expStatSN,
	}.Marshal(&h)
	l.conn.out.Push(&h, nil, pdu.Urgent)
}

func (s *Session) logoutConn() *Conn {
	for _, c := range s.conns {
		if c.state == connUp {
			return c
		}
	}
	return nil
}

// leaveDue ends a session whose Logout is not answered in time.
func (s *Session) leaveDue(now time.Duration) {
	if l := &s.leave; s.state == sessionLeaving && l.sent && now >= l.deadline {
		s.die(&LogoutError{Err: &TimeoutError{What: "answer to Logout",
			After: s.cfg.LogoutTimeout}})
	}
}

func (s *Session) leaveDeadline() time.Duration {
	if s.state != sessionLeaving {
		return math.MaxInt64
	}
	return s.leave.deadline
}

// leftBy takes the end of a connection after the Logout went out: the target
// closes them all, not always after its answer.
func (s *Session) leftBy(c *Conn, err error) {
	if c == s.leave.conn {
		s.die(&LogoutError{Err: err})
		return
	}
	c.end(true)
}

func (c *Conn) logoutResponse(now time.Duration, h *pdu.Header) error {
	r, err := pdu.ParseLogoutResponse(h)
	if err != nil {
		return err
	}
	s := c.s
	if s.closingAnswer(c, kindLogout, r.ITT) {
		return s.formerClosed(&r)
	}
	if lost := s.loggingOut(c, r.ITT); lost != nil {
		s.loggedOut(now, lost, &r)
		return nil
	}
	if s.leave.task == nil || s.leave.conn != c || s.leave.task.itt != r.ITT {
		return breach(h, "no Logout has this tag")
	}
	s.nexus.Time2Wait = time.Duration(r.Time2Wait) * time.Second
	s.nexus.Time2Retain = time.Duration(r.Time2Retain) * time.Second
	if r.Response != pdu.LogoutSuccess {
		return &LogoutError{Response: r.Response}
	}
	if s.issued > 0 {
		// The target has ended them; nobody knows how far they had come.
		return &LogoutError{Err: errUnanswered}
	}
	s.finish(s.leave.cause, false)
	return nil
}
