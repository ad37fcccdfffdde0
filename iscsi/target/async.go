package target

import (
	"slices"
	"time"

	"braid/iscsi/pdu"
)

// Asynchronous Messages (RFC 7143 section 11.9).

// announce tells the initiator, on another connection of the session, that one
// was dropped (section 7.14). Only connection recovery has a use for it.
func (s *session) announce(c *Conn) {
	if len(s.conns) > 0 {
		s.conns[0].sendAsync(s.dropped(c))
	}
}

func (s *session) dropped(c *Conn) pdu.Async {
	return pdu.Async{
		Event: pdu.AsyncDropConnection, Param1: c.cid,
		Param2: uint16(s.params.DefaultTime2Wait), Param3: uint16(s.params.DefaultTime2Retain),
	}
}

func (c *Conn) sendAsync(a pdu.Async) {
	a.StatSN, a.ExpCmdSN, a.MaxCmdSN = c.status()
	a.Marshal(&c.header)
	c.pushAnswer(&c.header, nil, nil)
}

// AskLogout asks the initiators at a portal to log their connections out within a
// time, in whole seconds. Those that do not are dropped then.
func (t *Target) AskLogout(now time.Duration, portal int, within time.Duration) {
	seconds := max(1, min(int(within/time.Second), 3600))
	for _, c := range t.at(portal) {
		if c.state == stateFull {
			c.logoutBy = now + time.Duration(seconds)*time.Second
			c.sendAsync(pdu.Async{Event: pdu.AsyncLogoutRequest, Param3: uint16(seconds)})
		}
	}
}

// DropConns drops the connections at a portal and says so: over another
// connection of the session, or over the dropped one itself if there is none that
// lives on.
func (t *Target) DropConns(now time.Duration, portal int) {
	for _, c := range t.at(portal) {
		if c.state == stateFull {
			c.drop(now)
		}
	}
}

func (c *Conn) drop(now time.Duration) {
	s := c.session
	if len(s.conns) == 1 || s.params.ErrorRecoveryLevel < 2 {
		c.sendAsync(s.dropped(c))
	}
	s.connLost(now, c)
	c.finish(now)
}

// DropSessions drops all connections of the sessions that have one at a portal,
// and says so on each.
func (t *Target) DropSessions(now time.Duration, portal int) {
	for _, c := range t.at(portal) {
		s := c.session
		if s == nil || c.state != stateFull {
			continue
		}
		conns := slices.Clone(s.conns)
		for _, o := range conns {
			o.sendAsync(pdu.Async{
				Event:  pdu.AsyncDropSession,
				Param2: uint16(s.params.DefaultTime2Wait), Param3: uint16(s.params.DefaultTime2Retain),
			})
			if s.params.ErrorRecoveryLevel < 2 {
				t.leave(o)
			} else {
				s.lose(now, o)
			}
			o.finish(now)
		}
		if s.params.ErrorRecoveryLevel < 2 {
			s.end(now, endLost)
		}
	}
}
