package iscsi

import (
	"log/slog"
	"math"
	"time"
)

// A join is a portal over which a further connection is to be part of a session
// of several connections, RFC 7143 section 6.3.1.
type join struct {
	portal    int
	conn      *Conn // nil while none is open or being opened
	attempts  int   // failed in a row
	redirects int   // of this attempt
	retryAt   time.Duration
	gaveUp    bool   // the target's answer was final
	said      string // the failure last logged
}

// planJoins lists the portals besides the leading one.
func (s *Session) planJoins(leading int) {
	for i := range s.cfg.Portals {
		if i != leading && !s.cfg.Offer.Discovery {
			s.joins = append(s.joins, join{portal: i})
		}
	}
}

// startJoins opens what is due, as far as MaxConnections allows. Portals beyond
// that are spares for those that fail.
func (s *Session) startJoins(now time.Duration) {
	for i := range s.joins {
		j := &s.joins[i]
		if j.waits() && j.retryAt <= now && s.mayJoin() {
			j.redirects = 0
			j.conn = s.dial(now, j.portal, s.cfg.Portals[j.portal])
			s.reinstate(j.conn)
		}
	}
}

// waits says whether the portal is to be tried, now or later.
func (j *join) waits() bool { return j.conn == nil && !j.gaveUp }

// mayJoin says whether one more connection may be made: it is within MaxConnections, and
// there is none of which the target does not know yet that it is lost, unless there is no
// other to tell it on.
func (s *Session) mayJoin() bool {
	if s.state != sessionUp && (s.state != sessionLeaving || len(s.lost) == 0) {
		return false
	}
	n, up := 0, false
	for _, c := range s.conns {
		if c.state != connDead {
			n++
		}
		up = up || c.fullFeature()
	}
	if s.unaware() != nil && (up || n > 0) {
		return false
	}
	return n < s.params.MaxConnections
}

// joinDeadline is when startJoins has something to do.
func (s *Session) joinDeadline() time.Duration {
	next := time.Duration(math.MaxInt64)
	if len(s.joins) == 0 || !s.mayJoin() {
		return next
	}
	for i := range s.joins {
		if s.joins[i].waits() {
			next = min(next, s.joins[i].retryAt)
		}
	}
	return next
}

func (s *Session) joinOf(c *Conn) *join {
	for i := range s.joins {
		if s.joins[i].conn == c {
			return &s.joins[i]
		}
	}
	return nil
}

// joined notes a connection that has become part of the session.
func (s *Session) joined(c *Conn) {
	j := s.joinOf(c)
	if j.attempts > 0 {
		s.cfg.Log(slog.LevelInfo, "connection joined at last", "portal", c.address,
			"cid", c.cid, "attempts", j.attempts+1)
	}
	j.attempts, j.said = 0, ""
}

// joinFailed goes on after a connection could not join: the session is degraded,
// not ended, and the portal is tried again later.
func (s *Session) joinFailed(now time.Duration, c *Conn, err error) {
	j := s.joinOf(c)
	address, again := c.again(err, &j.redirects)
	c.endLogin()
	c.end(true)
	j.conn = nil
	if again && s.state == sessionUp {
		j.conn = s.dial(now, j.portal, address)
		s.reinstate(j.conn)
		return
	}
	j.attempts++
	j.gaveUp = Permanent(err)
	j.retryAt = now + s.backoff(j.attempts)
	if s.reinstateFailed(now, j, err) {
		return
	}
	if said := err.Error(); said != j.said || j.gaveUp {
		j.said = said
		s.cfg.Log(slog.LevelWarn, "connection could not join the session",
			"error", err, "portal", c.address, "final", j.gaveUp)
	}
	s.startJoins(now)
}

// backoff is the wait after so many failures: it doubles from RetryMin to
// RetryMax and is drawn from all of that range, so that many sessions do not come
// back in step.
func (s *Session) backoff(attempts int) time.Duration {
	most := s.cfg.RetryMin << min(attempts-1, 20)
	if most <= 0 || most > s.cfg.RetryMax {
		most = s.cfg.RetryMax
	}
	if s.cfg.Rand == nil || most <= s.cfg.RetryMin {
		return most
	}
	return s.cfg.RetryMin + time.Duration(s.cfg.Rand.Int64N(int64(most-s.cfg.RetryMin)+1))
}
