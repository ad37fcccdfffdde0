package iscsi

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// A Former is a session of several connections that was lost without a logout, as its
// target may still have it.
type Former struct {
	TSIH  uint16
	CmdSN uint32   // of its next command
	CIDs  []uint16 // of its connections
}

// closing is the first stage of a session that follows such a one: the connections of the
// former session are closed one after the other before it is reinstated, for targets that
// cannot do that by themselves.
//
//	join the former session with a connection of a new CID
//	-> Logout "close the connection" of a lost one -> NOP-Out -> that of the next ...
//	-> reset the connection -> login of the new session, which reinstates the former one
//
// The NOP-Out is answered when a target that closes connections in the order of its answers
// has ended the tasks of the lost one. Whatever goes wrong once a portal can be reached, its
// login follows at once: the target does not know the former session any more, or is ending
// it, or nothing can be done.
type closing struct {
	former   *Former // nil: there is nothing to close
	carrier  *Conn   // that joins it; nil once that is over
	task     *task   // of the Logout or NOP-Out that is out
	closed   bool    // a Logout was answered, and no NOP-Out sent since
	deadline time.Duration
}

// joinPatience is the part of LoginTimeout that a target has to let a connection join a
// former session.
const joinPatience = 3

// maxFormer bounds the connections of a former session, which grow when several attempts to
// close them fail.
const maxFormer = 64

// Former is what the session leaves with the target that is to be closed before another one
// takes its place; nil if that is not more than one connection. It is valid once the session
// is dead.
func (s *Session) Former() *Former {
	if f := s.closing.former; f != nil && len(f.CIDs) > 1 && len(f.CIDs) <= maxFormer {
		return f
	}
	return nil
}

// leftBehind is the Former of a session that was up.
func (s *Session) leftBehind() *Former {
	f := &Former{TSIH: s.nexus.TSIH, CmdSN: s.window.next}
	for _, c := range s.conns {
		if c.fullFeature() || c.state == connLogin {
			f.CIDs = append(f.CIDs, c.cid)
		}
	}
	return f
}

// closeFormer begins with the former session, if there is one.
func (s *Session) closeFormer(now time.Duration) bool {
	f := s.cfg.Former
	if f == nil || len(f.CIDs) < 2 {
		return false
	}
	s.closing.former = &Former{f.TSIH, f.CmdSN, slices.Clone(f.CIDs)}
	s.nexus.TSIH, s.window.next = f.TSIH, f.CmdSN
	s.carry(now, 0)
	return true
}

// carry has a connection dialled that is to join the former session.
func (s *Session) carry(now time.Duration, portal int) {
	l := &s.closing
	for s.nextCID = 0; slices.Contains(l.former.CIDs, s.nextCID); s.nextCID++ {
	}
	l.carrier = s.dial(now, portal, s.cfg.Portals[portal])
}

// carries says whether a connection is there only to close those of a former session.
func (c *Conn) carries() bool { return c == c.s.closing.carrier }

// carrierJoined notes that the connection is part of the former session.
func (s *Session) carrierJoined(now time.Duration) {
	l := &s.closing
	s.cfg.Log(slog.LevelInfo, "the lost session's connections are closed one by one",
		"portal", l.carrier.address, "tsih", l.former.TSIH, "cids", l.former.CIDs)
	l.former.CIDs = append(l.former.CIDs, l.carrier.cid)
	l.deadline = now + s.cfg.LoginTimeout
}

// stepClosing sends what is due.
func (s *Session) stepClosing(now time.Duration) {
	l := &s.closing
	c := l.carrier
	switch {
	case c == nil || c.state != connUp || l.task != nil:
	case !l.closed && len(l.former.CIDs) == 1:
		s.cfg.Log(slog.LevelInfo, "the lost session's connections are closed",
			"portal", c.address, "tsih", l.former.TSIH)
		s.endClosing(now)
	case l.closed:
		l.closed = false
		if l.task = c.ownTask(kindNop); l.task != nil {
			c.sendNop(l.task.itt, pdu.ReservedTag, [8]byte{})
		}
	default:
		if l.task = c.ownTask(kindLogout); l.task != nil {
			c.logoutFormer(l.task, l.former.CIDs[0])
		}
	}
}

// ownTask is a task of a connection, nil if all tags are in use.
func (c *Conn) ownTask(kind taskKind) *task {
	t := c.s.tasks.get(kind)
	if t != nil {
		t.conn = c
	}
	return t
}

// logoutFormer sends the Logout of another connection. Linux's target takes its ExpStatSN for
// that of the connection which carries it, and not, as RFC 7143 section 11.14.4 has it, for
// the last one of the connection to be closed, which means nothing without recovery.
func (c *Conn) logoutFormer(t *task, cid uint16) {
	h := &c.scratch
	pdu.LogoutRequest{
		Immediate: true,
		Reason:    pdu.LogoutCloseConnection,
		ITT:       t.itt,
		CID:       cid,
		CmdSN:     c.s.window.next,
		ExpStatSN: c.expStatSN,
	}.Marshal(h)
	c.out.Push(h, nil, pdu.Urgent)
}

// closingAnswer takes the answer to what is out; false if it is not the carrier's.
func (s *Session) closingAnswer(c *Conn, kind taskKind, itt uint32) bool {
	l := &s.closing
	if !c.carries() || l.task == nil || l.task.kind != kind || l.task.itt != itt {
		return false
	}
	s.tasks.put(l.task)
	l.task = nil
	return true
}

// formerClosed takes the answer to a Logout: the connection is closed, or there is none.
func (s *Session) formerClosed(r *pdu.LogoutResponse) error {
	if r.Response != pdu.LogoutSuccess && r.Response != pdu.LogoutCIDNotFound {
		return &LogoutError{Response: r.Response}
	}
	l := &s.closing
	l.former.CIDs = slices.Delete(l.former.CIDs, 0, 1)
	l.closed = true
	return nil
}

// closingDue gives up what takes too long.
func (s *Session) closingDue(now time.Duration) {
	if now >= s.closingDeadline() {
		s.carrierLost(now, s.closing.carrier, &TimeoutError{
			What: "end of the lost session's connections", After: s.cfg.LoginTimeout})
	}
}

func (s *Session) closingDeadline() time.Duration {
	if c := s.closing.carrier; c == nil || c.state != connUp {
		return math.MaxInt64
	}
	return s.closing.deadline
}

// carrierLost goes on without: through the next portal if this one cannot be reached, else
// with the new session.
func (s *Session) carrierLost(now time.Duration, c *Conn, err error) {
	cause := c.errorOf(err)
	if c.state == connDialing {
		c.end(true)
		if next := c.portal + 1; next < len(s.cfg.Portals) {
			s.carry(now, next)
		} else {
			s.die(cause)
		}
		return
	}
	var refused *login.StatusError
	if errors.As(err, &refused) && refused.Code() == login.StatusNoSession {
		s.closing.former = nil
		s.cfg.Log(slog.LevelDebug, "the target has dropped the lost session", "portal", c.address)
	} else {
		s.cfg.Log(slog.LevelWarn, "the lost session's connections cannot be closed",
			"error", cause)
	}
	c.endLogin()
	s.endClosing(now)
}

// endClosing goes on with the login of the new session.
func (s *Session) endClosing(now time.Duration) {
	l := &s.closing
	c := l.carrier
	if l.task != nil {
		s.tasks.put(l.task)
	}
	c.endPing()
	c.end(true)
	s.closing = closing{former: l.former}
	s.nexus.TSIH, s.window, s.nextCID = 0, window{next: firstCmdSN}, 0
	s.lead(now, c.portal, s.cfg.Portals[c.portal])
}
