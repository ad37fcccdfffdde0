package iscsi

import (
	"log/slog"
	"math"
	"slices"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

type sessionState uint8

const (
	sessionOpening sessionState = iota
	sessionUp
	sessionLeaving // logging out; see leaving
	sessionDead
)

// A Session is one I_T nexus, from its first dial to its end. It is not safe for
// concurrent use.
type Session struct {
	cfg    Config
	state  sessionState
	err    error // the first cause of its end
	nexus  scsi.Nexus
	params login.Params
	// level is the error recovery level, RFC 7143 section 7.1.5.
	level    int
	counters *Counters

	conns     []*Conn
	leading   *Conn
	nextCID   uint16
	redirects int // of the leading connection
	joins     []join
	lost      []*recovery // connections whose tasks are to be recovered
	moved     int         // commands of lost connections that new ones wait for
	sameCID   bool        // the next login without a sibling takes a lost one's CID

	window window
	tasks  taskTable
	queue  queue
	issued int // commands that are with a connection
	done   ring[*scsi.Command]

	// How a command ends that outlives the session, made once.
	lostSent, lostUnsent scsi.NexusLostError
	aborted              scsi.StatusError

	fruitless int // connections lost in a row without a command that ended

	closing  closing
	leave    leaving
	text     textExchange
	heard    []scsi.Attention
	lastSent time.Duration
}

// New starts a session at once: its first connection wants to be dialled.
func New(now time.Duration, cfg Config) *Session {
	cfg.setDefaults()
	s := &Session{cfg: cfg, counters: cfg.Counters}
	s.nexus.ISID = cfg.ISID
	s.window.next = firstCmdSN
	s.lostSent.Sent = true
	s.aborted.Status = scsi.TaskAborted
	s.tasks.init()
	if len(cfg.Portals) == 0 {
		s.die(errNoPortal)
		return s
	}
	if !s.closeFormer(now) {
		s.lead(now, 0, cfg.Portals[0])
	}
	return s
}

// firstCmdSN is what the first command carries; any value would do.
const firstCmdSN = 1

// Up says whether the session takes commands: its leading connection is in the
// full feature phase and no end is in sight.
func (s *Session) Up() bool { return s.state == sessionUp }

// Err says why the session is dead, nil while it lives. After an orderly logout
// that the owner asked for it is scsi.ErrLoggedOut.
func (s *Session) Err() error { return s.err }

// Nexus describes the I_T nexus. It is valid once the session was Up, also after
// its death; the times are then those that the target named last.
func (s *Session) Nexus() scsi.Nexus { return s.nexus }

// Params is what the leading login agreed on; valid once the session was Up.
func (s *Session) Params() login.Params { return s.params }

// LastSent is when the transport last took a byte of any connection.
func (s *Session) LastSent() time.Duration { return s.lastSent }

// LastLife is when the target last showed life on the session's connection: a byte was
// received, or a sent one acknowledged, or the target closed it; zero if it never did. It is
// not ok for a session of several connections: those that lived were reset when one was
// given up, and only then did the target begin to lose them.
func (s *Session) LastLife() (at time.Duration, ok bool) {
	return s.leading.lastLife(), len(s.joins) == 0
}

// Conns lists the connections that the transport has something to do with: to
// dial, to serve, or to close. The list that was returned before stays as it was.
func (s *Session) Conns() []*Conn {
	isGone := func(c *Conn) bool { return c.gone }
	if slices.ContainsFunc(s.conns, isGone) {
		s.conns = slices.DeleteFunc(slices.Clone(s.conns), isGone)
	}
	return s.conns
}

// Completed returns the next command that has ended, nil if there is none.
func (s *Session) Completed() *scsi.Command {
	if s.done.len() == 0 {
		return nil
	}
	return s.done.pop()
}

// Kill ends the session at once, without logout: all its connections are to be
// reset, and every command is handed back as lost.
func (s *Session) Kill(_ time.Duration, cause error) {
	if cause == nil {
		cause = errKilled
	}
	s.die(cause)
}

// connLost decides what the end of one connection means. Below error recovery level
// 2 a connection that was up takes the session with it.
func (s *Session) connLost(now time.Duration, c *Conn, err error) {
	switch {
	case c.state == connDead || s.state == sessionDead:
	case c.carries():
		s.carrierLost(now, c, err)
	case c == s.leading && s.state == sessionOpening:
		s.leadFailed(now, c, err)
	case !c.fullFeature():
		s.joinFailed(now, c, err)
	case s.leave.sent:
		s.leftBy(c, err)
	case s.recovers(err):
		s.recover(now, c, err, s.nexus.Time2Wait, s.nexus.Time2Retain)
	default:
		s.die(c.errorOf(err))
	}
}

func (c *Conn) errorOf(err error) error {
	return &ConnError{Address: c.address, CID: c.cid, State: c.State(), Err: err}
}

// die ends the session without logout. Only the first cause counts.
func (s *Session) die(cause error) { s.finish(cause, true) }

// finish ends the session: all commands are handed back, all connections are to
// be closed.
func (s *Session) finish(cause error, reset bool) {
	if s.state == sessionDead {
		return
	}
	if reset && s.state != sessionOpening {
		s.cfg.Log(slog.LevelWarn, "session lost", "target", s.cfg.Offer.TargetName,
			"tsih", s.nexus.TSIH, "error", cause)
	}
	switch {
	case !reset:
		s.closing.former = nil
	case s.state != sessionOpening:
		s.closing.former = s.leftBehind()
	}
	s.state = sessionDead
	s.err = cause
	s.lostSent.Cause, s.lostUnsent.Cause = cause, cause
	s.handBack()
	s.lost = nil
	for _, c := range s.conns {
		c.login = loginPhase{}
		c.end(reset)
	}
}

// Tick does what is due at now.
func (s *Session) Tick(now time.Duration) {
	if s.state == sessionDead {
		return
	}
	for _, c := range s.conns {
		if err := c.tick(now); err != nil {
			s.connLost(now, c, err)
		}
	}
	s.tasks.expired(now, s.late)
	for _, c := range s.conns {
		c.nextAbort(now)
	}
	s.closingDue(now)
	s.textDue(now)
	s.leaveDue(now)
	s.startJoins(now)
	s.advance(now)
}

// Deadline is when Tick is next wanted.
func (s *Session) Deadline() time.Duration {
	if s.state == sessionDead {
		return math.MaxInt64
	}
	next := min(s.tasks.earliest, s.joinDeadline(), s.leaveDeadline(), s.textDeadline(),
		s.recoveryDeadline(), s.closingDeadline())
	for _, c := range s.conns {
		next = min(next, c.deadline())
	}
	return next
}

// tick is what time alone does to a connection.
func (c *Conn) tick(now time.Duration) error {
	switch {
	case c.state == connDead:
	case !c.fullFeature():
		if now >= c.login.deadline {
			return &TimeoutError{What: "connection and login", After: c.login.timeout}
		}
	default:
		if err := c.abortDue(now); err != nil {
			return err
		}
		if err := c.resend(now); err != nil {
			return err
		}
		c.lookForStalls(now)
		return c.pingDue(now)
	}
	return nil
}

func (c *Conn) deadline() time.Duration {
	switch {
	case c.state == connDead:
		return math.MaxInt64
	case !c.fullFeature():
		return c.login.deadline
	}
	return min(c.pingDeadline(), c.abortDeadline(), c.repair.resendAt, c.stallDeadline())
}

// advance moves on what received bytes, sent bytes or time have made possible.
func (s *Session) advance(now time.Duration) {
	s.stepClosing(now)
	if s.state == sessionUp || s.state == sessionLeaving {
		if len(s.lost) > 0 {
			s.stepRecovery(now)
		}
		s.pumpText(now)
		s.pump()
		s.pumpLogout(now)
	}
}
