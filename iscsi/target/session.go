package target

import (
	"log/slog"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// session is one iSCSI session: one connection or more.
type session struct {
	t         *Target
	key       nexusKey
	nexus     *nexus // nil in a discovery session
	tsih      uint16
	params    login.Params // of the leading connection
	conns     []*Conn
	failed    []*Conn // whose tasks may go on over others
	begun     bool    // params is settled
	over      bool
	discovery bool

	// Numbers of RFC 7143 section 4.2.2.1. maxCmdSN never goes back.
	expCmdSN, maxCmdSN uint32
	active             int // ordered commands that were delivered and are not over
	immediate          int // immediate ones
	early              earlyQueue
	draining           bool

	// Tasks that wait for something. The list is in the order of parking.
	tasks       map[uint32]*task
	first, last *task
	stored      int // tasks, aborted ones too, that a store is working on
	management  []*management
	endings     []*ending // that wait until the stores are done with it
	counters    Counters
}

// why a session ends.
type endReason uint8

const (
	endLost       endReason = iota // a connection died
	endLogout                      // orderly
	endReinstated                  // the same initiator port logs in again
	endRestart                     // the target forgets everything
)

func (r endReason) String() string {
	return [...]string{"connection lost", "logout", "reinstatement", "restart"}[r]
}

func newSession(t *Target, key nexusKey, discovery bool, cmdSN uint32) *session {
	s := &session{
		t: t, key: key, discovery: discovery, tsih: t.nextTSIH(),
		expCmdSN: cmdSN, maxCmdSN: cmdSN - 1,
		tasks: make(map[uint32]*task),
	}
	s.early.init(t.cfg.QueueDepth)
	s.window()
	t.sessions = append(t.sessions, s)
	return s
}

func (t *Target) findSession(tsih uint16) *session {
	for _, s := range t.sessions {
		if s.tsih == tsih {
			return s
		}
	}
	return nil
}

// window opens the command window as far as the queue depth permits.
func (s *session) window() {
	m := s.expCmdSN - 1 + uint32(max(s.t.cfg.QueueDepth-s.active, 0))
	s.maxCmdSN = pdu.Max(s.maxCmdSN, m)
}

// end ends the session. Its commands are aborted; of those whose nexus was just
// lost, writes may live on as ghosts if the fault says so.
func (s *session) end(now time.Duration, why endReason) {
	if s.over {
		return
	}
	s.over = true
	t := s.t
	t.cfg.Log(slog.LevelInfo, "session ended", "initiator", s.key.initiator,
		"tsih", s.tsih, "reason", why.String())
	s.early.clear(t)
	s.stopWaiting(nil)
	for s.first != nil {
		k := s.first
		if t.haunts(k, why) {
			t.haunt(now, k)
		} else {
			t.abort(k)
		}
	}
	for _, c := range s.conns {
		c.session = nil
		switch {
		case c.state == stateGone || c.state == stateClosing:
		case why == endLogout:
			c.finish(now)
		default:
			c.state, c.reset = stateGone, true
		}
	}
	s.conns = nil
	for len(s.failed) > 0 {
		s.forgetConn(now, s.failed[0])
	}
	for i, o := range t.sessions {
		if o == s {
			t.sessions = append(t.sessions[:i], t.sessions[i+1:]...)
			break
		}
	}
}

// stopWaiting takes the session's tasks, or only those of c, out of the line for
// buffers, so that what is freed does not go to the dead.
func (s *session) stopWaiting(c *Conn) {
	for k := s.first; k != nil; k = k.next {
		if k.out.starving && (c == nil || k.conn == c) {
			s.t.stopWaiting(k)
		}
	}
}

// leave takes a connection out of its session. Its tasks are aborted when the
// session ends or, after a logout of this one connection, by the caller.
func (t *Target) leave(c *Conn) {
	s := c.session
	c.recv.Unplace()
	if s == nil {
		return
	}
	for i, o := range s.conns {
		if o == c {
			s.conns = append(s.conns[:i], s.conns[i+1:]...)
			break
		}
	}
	c.session = nil
}

// dropConn ends one connection of a session that goes on: it was logged out, or
// another took its CID. Its commands are aborted; those that were not delivered
// leave gaps in CmdSN, for the initiator to fill (RFC 7143 section 11.14).
func (s *session) dropConn(now time.Duration, c *Conn) {
	s.early.forget(s.t, c) // these may be in the list too
	s.stopWaiting(c)
	s.early.forget(s.t, c) // first: it ends tasks of c too
	for k := s.first; k != nil; {
		next := k.next
		if k.conn == c {
			s.t.abort(k)
		}
		k = next
	}
	s.t.leave(c)
}
