package target

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// Connection recovery (RFC 7143 sections 7.1.4.3, 7.2.2 and 7.14). At error
// recovery level 2 a connection that fails leaves its tasks behind: those that
// were delivered go on, as far as they can without a connection, and their status
// waits. For Time2Wait and Time2Retain the initiator may log the connection out
// for recovery, with a Logout on another one or by logging in again with its CID,
// and after that reassign its tasks (reassign.go). Then what is left is aborted
// (section 7.6); with the last connection, the session ends too.

// maxFailed is how many connections of a session can wait for recovery. Of all
// sessions together no more wait than may be open.
const maxFailed = 16

// failure is the state of a connection that failed: CLEANUP_WAIT of section 8.1.
type failure struct {
	waits   bool          // its tasks may be reassigned
	removed bool          // it was logged out for recovery
	until   time.Duration // then its tasks are aborted
}

// connLost takes a dead connection out of its session, which lives on only at
// error recovery level 2, and tells the initiator over another connection.
func (s *session) connLost(now time.Duration, c *Conn) {
	s.lose(now, c)
	if !s.over {
		s.announce(c)
	}
}

func (s *session) lose(now time.Duration, c *Conn) {
	switch {
	case s.params.ErrorRecoveryLevel < 2:
		s.t.leave(c)
		s.end(now, endLost)
	case s.params.DefaultTime2Retain == 0: // nothing is kept (section 13.16)
		s.dropConn(now, c)
		s.endIfEmpty(now)
	default:
		s.failConn(now, c)
		s.endIfEmpty(now)
	}
}

// failConn makes the tasks of a connection wait for another one. Commands that
// were not delivered are forgotten: the initiator sends them again, since ExpCmdSN
// has not passed them (sections 7.2.1 and 11.14).
func (s *session) failConn(now time.Duration, c *Conn) {
	t := s.t
	t.cfg.Log(slog.LevelWarn, "connection failed", "initiator", s.key.initiator,
		"tsih", s.tsih, "cid", c.cid)
	s.early.forget(t, c)
	s.stopWaiting(c)
	for k := s.first; k != nil; k = k.next {
		if k.conn == c {
			k.out.placing = false
			if k.state == taskCollecting && k.index >= 0 {
				t.delayed.remove(k)
			}
		}
	}
	c.queue, c.backlog = taskQueue{}, taskQueue{}
	t.leave(c)
	c.failure = failure{waits: true, until: now + s.retain()}
	s.failed = append(s.failed, c)
	t.failures++
	for len(s.failed) > maxFailed || len(s.failed) > 0 && t.failures > t.cfg.MaxConns {
		s.forgetConn(now, s.failed[0])
	}
}

// retain is how long the tasks of a connection are kept.
func (s *session) retain() time.Duration {
	return time.Duration(s.params.DefaultTime2Wait+s.params.DefaultTime2Retain) * time.Second
}

// remove notes that a connection which failed was logged out for recovery. Its
// tasks are kept from now on (section 11.15.3).
func (s *session) remove(now time.Duration, c *Conn) {
	c.failure.removed = true
	c.failure.until = now + s.retain()
}

// lost finds a connection that failed; among several of that CID the one that was
// not logged out.
func (s *session) lost(cid uint16) *Conn {
	var found *Conn
	for _, c := range s.failed {
		if c.cid == cid && (found == nil || !c.failure.removed) {
			found = c
		}
	}
	return found
}

// forgetConn aborts the tasks of a connection that failed.
func (s *session) forgetConn(now time.Duration, c *Conn) {
	t := s.t
	for i, o := range s.failed {
		if o == c {
			s.failed = append(s.failed[:i], s.failed[i+1:]...)
			t.failures--
			break
		}
	}
	c.failure = failure{}
	for k := s.first; k != nil; {
		next := k.next
		switch {
		case k.conn != c:
		case t.haunts(k, endLost):
			t.haunt(now, k)
		default:
			t.abort(k)
		}
		k = next
	}
	c.forgetAnswers()
}

// endIfEmpty ends a session that has no connection left, and none to wait for.
func (s *session) endIfEmpty(now time.Duration) {
	if len(s.conns) == 0 && len(s.failed) == 0 {
		s.end(now, endLost)
	}
}

// expire forgets connections that nobody has recovered in time.
func (t *Target) expire(now time.Duration) {
	for i := 0; t.failures > 0 && i < len(t.sessions); i++ {
		s := t.sessions[i]
		for j := 0; j < len(s.failed); j++ {
			if c := s.failed[j]; now >= c.failure.until {
				t.cfg.Log(slog.LevelWarn, "connection was not recovered",
					"initiator", s.key.initiator, "tsih", s.tsih, "cid", c.cid)
				s.forgetConn(now, c)
				j--
			}
		}
		if s.endIfEmpty(now); s.over {
			i--
		}
	}
}

func (t *Target) expiry() time.Duration {
	next := Never
	if t.failures == 0 {
		return next
	}
	for _, s := range t.sessions {
		for _, c := range s.failed {
			next = min(next, c.failure.until)
		}
	}
	return next
}

// waits reports whether a task that has no connection may get another one.
func (k *task) waits() bool { return k.conn != nil && k.conn.failure.waits && !k.aborted }

// hold keeps the status of such a task.
func (k *task) hold() {
	k.releaseOut()
	k.state = taskHeld
	k.park()
}

// takeCID makes room for a login with the CID of another connection, which is
// logged out by it, for recovery at error recovery level 2 (section 6.3.4).
// expStatSN, that of the first Login Request, acknowledges its status (11.12.9).
func (s *session) takeCID(now time.Duration, cid uint16, expStatSN uint32) {
	if s.params.ErrorRecoveryLevel < 2 || s.params.DefaultTime2Retain == 0 {
		if c := s.conn(cid); c != nil {
			s.dropConn(now, c)
			c.state, c.reset = stateGone, true
		}
		return
	}
	if c := s.conn(cid); c != nil {
		s.failConn(now, c)
		c.state, c.reset = stateGone, true
	}
	if c := s.lost(cid); c != nil && !c.failure.removed {
		c.acknowledge(now, expStatSN)
		s.remove(now, c)
	}
}

// conn finds a connection that lives.
func (s *session) conn(cid uint16) *Conn {
	for _, c := range s.conns {
		if c.cid == cid {
			return c
		}
	}
	return nil
}

// logoutForRecovery is the Logout of a connection, this or another one, that is
// to be recovered (section 11.14). Its ExpStatSN acknowledges that one's status.
func (c *Conn) logoutForRecovery(now time.Duration, r *pdu.LogoutRequest) {
	s := c.session
	if s.params.ErrorRecoveryLevel < 2 {
		c.sendLogout(r, pdu.LogoutRecoveryNotSupported)
		return
	}
	o := s.conn(r.CID)
	if o == nil {
		if o = s.lost(r.CID); o == nil {
			c.sendLogout(r, pdu.LogoutCIDNotFound)
			return
		}
		o.acknowledge(now, r.ExpStatSN)
		s.remove(now, o)
		c.sendLogout(r, pdu.LogoutSuccess)
		return
	}
	c.sendLogout(r, pdu.LogoutSuccess)
	s.failConn(now, o)
	o.acknowledge(now, r.ExpStatSN)
	s.remove(now, o)
	if o == c {
		o.finish(now)
	} else {
		o.state, o.reset = stateGone, true
	}
	if s.params.DefaultTime2Retain == 0 {
		s.forgetConn(now, o)
	}
	s.endIfEmpty(now)
}
