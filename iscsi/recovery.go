package iscsi

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"time"

	"braid/iscsi/pdu"
)

type recoveryState uint8

const (
	recoveryWaits  recoveryState = iota // for its time, or for a connection to act on
	recoveryLogout                      // the Logout is out
	recoveryReady                       // the tasks are free; the target wants them left for a while
	recoveryMoves                       // they are being moved
)

// A recovery takes the tasks of a lost connection to other connections of its session,
// RFC 7143 section 7.2: error recovery level 2.
//
//	lost -> Time2Wait -> Logout "remove for recovery" on a sibling -> Time2Wait of its
//	answer -> commands that did not arrive are sent again, the others reassigned
//
// Without a sibling a connection is made first: a further one if MaxConnections allows, so
// that the Logout comes before its CID logs in again; else one with the CID of the lost
// one, which logs that out by itself (RFC 7143 section 6.3.4). A connection that restores
// the number is made in any case. A recovery that fails, or is not done within Time2Retain,
// ends the session.
type recovery struct {
	conn     *Conn // that was lost
	since    time.Duration
	cause    error
	state    recoveryState
	at       time.Duration // when the next step is due
	deadline time.Duration // the target keeps the tasks until then
	tries    int

	by   *Conn // on which the Logout is out
	task *task // of the Logout

	// alone: no other connection was up. No new command is sent then before
	// those that were moved are answered: an answer that is kept for one of them
	// may be the unit attention that tells of a lost cache, and what a new one
	// reads would be old.
	alone bool

	orphans []uint32 // tags of commands to be moved, in the order of CmdSN
	moving  int      // TASK REASSIGNs that are out
}

const (
	// maxFruitless is how many connections in a row may be lost without that a
	// command ended in between.
	maxFruitless = 4
	// maxLogouts is how often the Logout is tried.
	maxLogouts = 3
	// allegiantPause is the wait after "task still allegiant", maxAllegiant how
	// often that is taken.
	allegiantPause = 500 * time.Millisecond
	maxAllegiant   = 8
)

// recovers says whether the end of a connection by err is to be recovered from. Breaches
// of the protocol are not: they would come again.
func (s *Session) recovers(err error) bool {
	if s.level < 2 || s.fruitless >= maxFruitless || s.leave.sent || s.text.task != nil ||
		s.state != sessionUp && s.state != sessionLeaving {
		return false
	}
	var (
		breach *ProtocolError
		framed *pdu.ProtocolError
		reject *RejectError
		late   *TimeoutError
		abort  *AbortError
	)
	switch {
	case errors.As(err, &breach), errors.As(err, &abort), errors.Is(err, errDataDigest):
		return false
	case errors.As(err, &framed):
		return errors.Is(err, pdu.ErrHeaderDigest)
	case errors.As(err, &reject):
		return reject.PDU == pdu.OpSNACK
	case errors.As(err, &late):
		return !late.final
	}
	return true
}

// recover begins the recovery of a connection in the full feature phase. The times are
// how long the target wants to be left alone, and how long after that it keeps tasks.
func (s *Session) recover(now time.Duration, c *Conn, cause error, wait, retain time.Duration) {
	if retain == 0 {
		s.die(c.errorOf(cause)) // nothing is kept
		return
	}
	s.cfg.Log(slog.LevelWarn, "connection lost, its tasks are to be recovered",
		"portal", c.address, "cid", c.cid, "error", cause, "wait", wait)
	s.fruitless++
	r := &recovery{conn: c, since: now, cause: c.errorOf(cause), at: now + wait,
		deadline: now + wait + retain}
	s.lost = append(s.lost, r)
	for _, other := range s.lost {
		if other.by == c {
			other.again(now)
		}
	}
	s.orphan(c, r)
	j := s.joinOf(c)
	if j == nil {
		s.joins = append(s.joins, join{portal: c.portal})
		j = &s.joins[len(s.joins)-1]
	}
	j.conn, j.retryAt = nil, now+wait
	for i := range s.joins {
		s.joins[i].gaveUp = false
	}
	c.end(true)
	r.alone = s.leastLoaded(false) == nil
	s.advance(now)
}

// mustWait says whether new commands have to wait for lost ones.
func (s *Session) mustWait() bool {
	return s.moved > 0 || slices.ContainsFunc(s.lost, func(r *recovery) bool { return r.alone })
}

// again lets a Logout that is out be forgotten and tried anew.
func (r *recovery) again(at time.Duration) {
	r.state, r.at, r.by, r.task = recoveryWaits, at, nil, nil
}

// orphan takes the tasks of a connection that is about to be dead from it.
func (s *Session) orphan(c *Conn, r *recovery) {
	if to := c.abort.reassign; to != nil {
		to.moving--
	}
	for i := range s.tasks.slots {
		t := s.tasks.slot(i)
		if t.kind == kindFree || t.conn != c {
			continue
		}
		switch {
		case t.kind != kindCommand:
			if t.cmd != nil { // a reset, of which nobody knows
				t.cmd.Err = &s.aborted
				s.done.push(t.cmd)
			}
			s.tasks.put(t)
		case t.state == taskEnded:
			c.disown(t) // and nobody will send its data any more
			c.handOver(t)
		default:
			t.left = t.left || c.out.Gone(t.command)
			t.command, t.lastData = pdu.Ticket{}, pdu.Ticket{}
			r.orphans = append(r.orphans, t.itt)
		}
	}
	slices.SortFunc(r.orphans, func(a, b uint32) int {
		return int(int32(s.tasks.find(a).cmdSN - s.tasks.find(b).cmdSN))
	})
	c.load = 0
}

// stepRecovery lets recoveries go on as far as they can.
func (s *Session) stepRecovery(now time.Duration) {
	for _, r := range slices.Clone(s.lost) {
		if s.state == sessionDead {
			return
		}
		if now >= r.deadline {
			s.fallBack(r, &TimeoutError{What: "recovery of the connection"})
			return
		}
		if now >= r.at {
			s.stepOne(now, r)
		}
	}
}

func (s *Session) stepOne(now time.Duration, r *recovery) {
	switch r.state {
	case recoveryWaits:
		if by := s.leastLoaded(false); by != nil {
			s.logoutLost(now, r, by)
		}
	case recoveryLogout:
		s.tasks.put(r.task)
		r.again(now)
		s.retryLogout(r, &TimeoutError{What: "answer to Logout", After: s.cfg.LogoutTimeout})
	case recoveryReady:
		r.state = recoveryMoves
		fallthrough
	case recoveryMoves:
		s.move(now, r)
	}
}

// recoveryDeadline is when stepRecovery has something to do.
func (s *Session) recoveryDeadline() time.Duration {
	next := time.Duration(math.MaxInt64)
	for _, r := range s.lost {
		next = min(next, r.deadline)
		switch {
		case r.state == recoveryWaits && s.leastLoaded(false) == nil:
		case r.state == recoveryMoves && (r.moving > 0 || s.reassigner() == nil):
		default:
			next = min(next, r.at)
		}
	}
	return next
}

// logoutLost sends the Logout of a lost connection on another one. Its ExpStatSN is the last
// one of the lost connection (RFC 7143 section 11.14.4): the target forgets the answers before
// it, and keeps the others to be asked for by TASK REASSIGN.
func (s *Session) logoutLost(now time.Duration, r *recovery, by *Conn) {
	t := s.tasks.get(kindLogout)
	if t == nil {
		s.fallBack(r, errNoTag)
		return
	}
	t.conn = by
	r.state, r.by, r.task, r.at = recoveryLogout, by, t, now+s.cfg.LogoutTimeout
	h := &by.scratch
	pdu.LogoutRequest{
		Immediate: true,
		Reason:    pdu.LogoutRemoveForRecovery,
		ITT:       t.itt,
		CID:       r.conn.cid,
		CmdSN:     s.window.next,
		ExpStatSN: r.conn.expStatSN,
	}.Marshal(h)
	by.out.Push(h, nil, pdu.Urgent)
}

// loggedOut takes the answer to the Logout of a lost connection.
func (s *Session) loggedOut(now time.Duration, r *recovery, a *pdu.LogoutResponse) {
	s.tasks.put(r.task)
	wait := time.Duration(a.Time2Wait) * time.Second
	switch a.Response {
	case pdu.LogoutSuccess, pdu.LogoutCIDNotFound:
		s.free(now, r, wait, time.Duration(a.Time2Retain)*time.Second)
		s.advance(now)
	case pdu.LogoutCleanupFailed:
		r.again(now + max(wait, time.Second))
		s.retryLogout(r, &LogoutError{Response: a.Response})
	default:
		s.fallBack(r, &LogoutError{Response: a.Response})
	}
}

func (s *Session) retryLogout(r *recovery, err error) {
	if r.tries++; r.tries >= maxLogouts {
		s.fallBack(r, err)
	}
}

// free notes that the tasks of a lost connection may be moved. A Time2Retain of 0 is what
// targets answer that do not say.
func (s *Session) free(now time.Duration, r *recovery, wait, retain time.Duration) {
	r.state, r.at, r.by, r.task, r.tries = recoveryReady, now+wait, nil, nil, 0
	if retain > 0 {
		r.deadline = now + wait + retain
	}
	for i := range s.joins {
		if j := &s.joins[i]; j.waits() && j.attempts == 0 {
			j.retryAt = now
		}
	}
}

// loggingOut finds the recovery whose Logout has this tag.
func (s *Session) loggingOut(c *Conn, itt uint32) *recovery {
	for _, r := range s.lost {
		if r.by == c && r.task.itt == itt {
			return r
		}
	}
	return nil
}

// recovered ends a recovery that has moved all tasks.
func (s *Session) recovered(r *recovery) {
	s.counters.Connections++
	s.cfg.Log(slog.LevelInfo, "connection recovered", "portal", r.conn.address, "cid", r.conn.cid)
	s.lost = slices.DeleteFunc(s.lost, func(o *recovery) bool { return o == r })
}

// fallBack ends the session because a recovery failed.
func (s *Session) fallBack(r *recovery, err error) {
	s.counters.Fallbacks++
	s.cfg.Log(slog.LevelWarn, "connection cannot be recovered", "portal", r.conn.address,
		"cid", r.conn.cid, "error", err)
	s.die(r.cause)
}
