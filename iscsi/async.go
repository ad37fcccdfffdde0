package iscsi

import (
	"log/slog"
	"slices"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// async takes an Asynchronous Message, RFC 7143 section 11.9.
func (c *Conn) async(now time.Duration, h *pdu.Header, data []byte) error {
	a, err := pdu.ParseAsync(h)
	if err != nil {
		return err
	}
	s := c.s
	say := func(level slog.Level, msg string, args ...any) {
		s.cfg.Log(level, msg, append([]any{"portal", c.address, "cid", c.cid}, args...)...)
	}
	switch a.Event {
	case pdu.AsyncSCSIEvent:
		sense, ok := scsi.ParseSense(pdu.SenseData(data))
		say(slog.LevelInfo, "asynchronous SCSI event", "sense", sense)
		if ok && scsi.LUN(a.LUN) == s.cfg.LUN {
			s.hear(sense.Attention())
		}
	case pdu.AsyncLogoutRequest:
		grace := time.Duration(a.Param3) * time.Second
		say(slog.LevelWarn, "target asks for logout", "within", grace)
		s.leaveAsked(now, min(grace, s.cfg.LogoutTimeout))
	case pdu.AsyncDropConnection:
		return c.dropped(now, a)
	case pdu.AsyncDropSession:
		return s.droppedAll(now, a)
	case pdu.AsyncTasksTerminated:
		// The answer to a ping acknowledges it by ExpStatSN. The commands
		// concerned get no answer and end by their timeout.
		say(slog.LevelWarn, "target ended the tasks of a logical unit", "lun", scsi.LUN(a.LUN))
		s.Probe(now)
	case pdu.AsyncNegotiate:
		say(slog.LevelInfo, "target asks for negotiation, nothing is to be changed",
			"within", time.Duration(a.Param3)*time.Second)
		s.negotiate(now, c)
	default:
		say(slog.LevelInfo, "asynchronous event", "event", a.Event, "vendor_code", a.VendorCode)
	}
	return nil
}

// dropped takes the news that the target has dropped one connection. Targets tell
// it also of connections that never came to be part of the session.
func (c *Conn) dropped(now time.Duration, a pdu.Async) error {
	for _, other := range c.s.conns {
		if other.cid != a.Param1 || other.state == connDead {
			continue
		}
		if other.fullFeature() {
			return c.s.droppedWith(now, other, a)
		}
		c.s.connLost(now, other, asyncError(a))
		return nil
	}
	c.s.cfg.Log(slog.LevelInfo, "target dropped a connection that is not in use",
		"portal", c.address, "cid", a.Param1)
	return nil
}

// droppedWith is the end of a connection by event 2. Its times replace those negotiated (RFC
// 7143 sections 11.9 and 13.15). Where it cannot be recovered from, the session ends.
func (s *Session) droppedWith(now time.Duration, c *Conn, a pdu.Async) error {
	err := asyncError(a)
	if s.recovers(err) {
		s.recover(now, c, err, err.Time2Wait, err.Time2Retain)
		return nil
	}
	s.nexus.Time2Wait, s.nexus.Time2Retain = err.Time2Wait, err.Time2Retain
	return err
}

// droppedAll is the end of all connections by event 3.
func (s *Session) droppedAll(now time.Duration, a pdu.Async) error {
	for _, c := range slices.Clone(s.conns) {
		if c.fullFeature() {
			if err := s.droppedWith(now, c, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func asyncError(a pdu.Async) *AsyncError {
	return &AsyncError{
		Event:       a.Event,
		Time2Wait:   time.Duration(a.Param2) * time.Second,
		Time2Retain: time.Duration(a.Param3) * time.Second,
	}
}

// maxHeard bounds the unit attentions that wait to be asked for. What comes then says
// nothing that a command would not be told too.
const maxHeard = 16

func (s *Session) hear(a scsi.Attention) {
	if a != scsi.NotAttention && len(s.heard) < maxHeard {
		s.heard = append(s.heard, a)
	}
}

// Heard returns the next unit attention that the target told by an asynchronous message,
// false if there is none.
func (s *Session) Heard() (scsi.Attention, bool) {
	if len(s.heard) == 0 {
		return scsi.NotAttention, false
	}
	a := s.heard[0]
	s.heard = append(s.heard[:0], s.heard[1:]...)
	return a, true
}
