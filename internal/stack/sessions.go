package stack

import (
	"errors"
	"slices"
	"time"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/mpath"
)

// session is an iSCSI session that still has something to do with the network.
type session struct {
	*iscsi.Session
	links []link
}

// link is a connection with its socket.
type link struct {
	conn *iscsi.Conn
	sock loop.Socket
}

// Open implements mpath.Connector.
func (k *Stack) Open(now time.Duration, slot, via int) mpath.Path {
	if k.cfg.Sessions[slot].Counters == nil {
		k.cfg.Sessions[slot].Counters = &iscsi.Counters{}
	}
	cfg := k.cfg.Sessions[slot]
	cfg.Rand, cfg.CHAPRand, cfg.Log = k.cfg.Rand, k.cfg.CHAPRand, k.cfg.Log
	level := &cfg.Offer.ErrorRecoveryLevel
	*level = min(*level, k.dev.ErrorRecoveryLevel(slot))
	former := k.current[slot]
	if via != slot {
		// It only fences: one connection is enough.
		cfg.Portals = k.cfg.Sessions[via].Portals[:1]
	} else if former != nil {
		cfg.Portals = leaders(cfg.Portals, former.Err())
	}
	if n := len(cfg.Portals); n > 1 {
		// Room for the one that closes them all when they are lost.
		cfg.Offer.MaxConnections = max(cfg.Offer.MaxConnections, n+1)
	}
	if former != nil && k.dev.ClosesFormer(slot) {
		cfg.Former = former.Former()
	}
	s := iscsi.New(now, cfg)
	k.current[slot] = s
	k.sessions = append(k.sessions, session{Session: s})
	k.again = true
	return s
}

// Recovery tells what error recovery had to do in the sessions of a slot.
func (k *Stack) Recovery(slot int) iscsi.Counters {
	if c := k.cfg.Sessions[slot].Counters; c != nil {
		return *c
	}
	return iscsi.Counters{}
}

// LinkDown says that portals of a slot cannot be reached: the link that leads to them went
// down. What it means is the session's to say.
func (k *Stack) LinkDown(now time.Duration, slot int, portals []string, cause error) {
	if s := k.current[slot]; s != nil {
		s.LinkDown(now, portals, cause)
		k.again = true
	}
}

// leaders gives the portals in the order in which they should lead a session that comes
// after one that ended with err: a portal that just failed is the last, because finding
// out that it is still silent takes a whole login's time.
func leaders(portals []string, err error) []string {
	var failed *iscsi.ConnError
	if !errors.As(err, &failed) {
		return portals
	}
	i := slices.Index(portals, failed.Address)
	if i < 0 {
		return portals
	}
	return append(slices.Delete(slices.Clone(portals), i, i+1), portals[i])
}

// progressOfTCP tells connections that wait for a sign of life what the peer's TCP has
// acknowledged: that is one.
func (k *Stack) progressOfTCP(now time.Duration) {
	for i := range k.sessions {
		for _, l := range k.sessions[i].links {
			if l.sock != nil && l.conn.Suspect() {
				l.conn.Progress(now, l.sock.Unacked())
			}
		}
	}
}

// reconcile makes the network do what the sessions' connections want.
func (k *Stack) reconcile() {
	for i := range k.sessions {
		k.sessions[i].reconcile(k.cfg.Network)
	}
	k.sessions = slices.DeleteFunc(k.sessions, func(s session) bool {
		return s.Err() != nil && len(s.links) == 0
	})
}

func (s *session) reconcile(net loop.Network) {
	conns := s.Conns()
	for _, c := range conns {
		if !slices.ContainsFunc(s.links, func(l link) bool { return l.conn == c }) {
			s.links = append(s.links, link{conn: c})
		}
	}
	s.links = slices.DeleteFunc(s.links, func(l link) bool {
		return !slices.Contains(conns, l.conn)
	})
	for i := range s.links {
		l := &s.links[i]
		switch l.conn.Want() {
		case iscsi.WantDial:
			l.sock = net.Dial(l.conn.Address(), l.conn)
			l.conn.Dialled()
		case iscsi.WantClose, iscsi.WantReset:
			if l.sock != nil {
				l.sock.Close(l.conn.Want() == iscsi.WantReset)
			}
			l.conn.Released()
		default:
			if l.sock != nil && l.conn.HasOutput() {
				l.sock.Kick()
			}
		}
	}
}
