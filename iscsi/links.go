package iscsi

import (
	"slices"
	"time"
)

// silentLimit is how long a connection may give no sign of life that was asked for, while
// another one of its session does, if it can be recovered on that one.
const silentLimit = time.Second

// LinkDown says that the network link by which these addresses (HOST:PORT) were reached is
// known to be broken. A session that can recover on other connections loses those only; any
// other ends at once.
func (s *Session) LinkDown(now time.Duration, addresses []string, cause error) {
	broken := func(c *Conn) bool {
		return c.state != connDead && slices.Contains(addresses, c.address)
	}
	if !slices.ContainsFunc(s.conns, broken) {
		return
	}
	sibling := func(c *Conn) bool { return c.state == connUp && !broken(c) }
	if s.level < 2 || !slices.ContainsFunc(s.conns, sibling) {
		s.Kill(now, cause)
		return
	}
	for _, c := range slices.Clone(s.conns) {
		if broken(c) {
			s.connLost(now, c, cause)
		}
	}
}

// Cut says whether the session has lost its last connection and is to be recovered, and
// whether it is refused: no portal has let it in since, however it was tried.
func (s *Session) Cut() (cut, refused bool) {
	if len(s.lost) == 0 || s.state != sessionUp || s.leastLoaded(false) != nil {
		return false, false
	}
	untried := func(j join) bool { return j.attempts == 0 }
	return true, !slices.ContainsFunc(s.joins, untried)
}

// Recovering says whether a connection was lost whose tasks are not yet moved, or wait for
// their answers before others are sent. The target, too, holds back what comes after a command
// that it has not received, on any connection.
func (s *Session) Recovering() bool { return len(s.lost) > 0 || s.moved > 0 }

// Silent tells since when a connection that was asked for life has shown none; ok is
// false if there is no such connection. With error recovery level 2 one that lives speaks for
// the session, and a session without any is silent.
func (s *Session) Silent() (since time.Duration, ok bool) {
	if cut, _ := s.Cut(); cut {
		return s.lost[len(s.lost)-1].since, true
	}
	if s.level == 2 && s.state == sessionUp {
		for _, c := range s.conns {
			if _, silent := c.silent(); c.state == connUp && !silent {
				return 0, false
			}
		}
	}
	for _, c := range s.conns {
		at, silent := c.silent()
		if silent && (!ok || at < since) {
			since, ok = at, true
		}
	}
	return since, ok
}

// silent tells since when a connection has not answered a ping, nor sent anything else.
func (c *Conn) silent() (since time.Duration, ok bool) {
	if c.state != connUp || c.ping.task == nil || c.life > c.ping.sentAt {
		return 0, false
	}
	return c.ping.sentAt, true
}

// outlived says whether a silent connection is to be given up because a sibling lives on.
func (c *Conn) outlived(now time.Duration) bool {
	since, ok := c.silent()
	if !ok || c.s.level < 2 || now < since+silentLimit {
		return false
	}
	for _, o := range c.s.conns {
		if o.state == connUp && o.life > since {
			return true
		}
	}
	return false
}
