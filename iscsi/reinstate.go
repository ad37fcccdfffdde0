package iscsi

import (
	"errors"
	"time"

	"braid/iscsi/login"
)

// reinstateRetry bounds the pause between logins while all connections of a session are
// lost: the target keeps its tasks for Time2Retain only.
const reinstateRetry = 2 * time.Second

// unaware is a recovery whose lost connection the target was not told of, nil if there is
// none.
func (s *Session) unaware() *recovery {
	for _, r := range s.lost {
		if r.state == recoveryWaits || r.state == recoveryLogout {
			return r
		}
	}
	return nil
}

// reinstate makes a new connection one that takes the place of a lost one, with its CID, if
// there is no other way: RFC 7143 section 6.3.4. Its login tells the target that the lost one
// is gone, and what of its answers has come.
func (s *Session) reinstate(c *Conn) {
	r := s.unaware()
	if r == nil || s.params.MaxConnections > 1 && !s.sameCID {
		return
	}
	c.replaces = r
	c.cid, c.expStatSN = r.conn.cid, r.conn.expStatSN
}

// reinstated notes that the login of a connection has logged a lost one out.
func (s *Session) reinstated(now time.Duration, c *Conn) {
	if r := c.replaces; r != nil {
		c.replaces = nil
		s.free(now, r, 0, 0)
	}
}

// reinstateFailed goes on after a login that was to save a session all of whose connections
// are lost. It is true if the session has ended.
func (s *Session) reinstateFailed(now time.Duration, j *join, err error) bool {
	r := s.unaware()
	if r == nil {
		return false
	}
	j.gaveUp = false
	j.retryAt = min(j.retryAt, now+reinstateRetry)
	var refused *login.StatusError
	if errors.As(err, &refused) {
		switch refused.Code() {
		case login.StatusTooManyConnections:
			// The target counts the lost one.
			if !s.sameCID {
				j.attempts = 0 // with the lost one's CID it may yet let it in
			}
			s.sameCID, j.retryAt = true, now
		case login.StatusNoSession:
			s.fallBack(r, err)
			return true
		}
	}
	return false
}
