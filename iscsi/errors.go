package iscsi

import (
	"errors"
	"fmt"
	"io"
	"time"

	"braid/iscsi/pdu"
)

// Permanent says whether err is a peer's final answer, so that trying the same
// again cannot help: wrong credentials, no such target, a demanded digest refused.
func Permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// A ConnError says on which connection, and in which state of it, a session met
// its end.
type ConnError struct {
	Address string // HOST:PORT dialled
	CID     uint16
	State   string // as of Conn.State
	Err     error
}

func (e *ConnError) Error() string {
	return fmt.Sprintf("connection %d to %s (%s): %v", e.CID, e.Address, e.State, e.Err)
}

func (e *ConnError) Unwrap() error { return e.Err }

// Permanent says whether Err is the target's final answer.
func (e *ConnError) Permanent() bool { return Permanent(e.Err) }

// A ProtocolError is a breach of RFC 7143 by the target in full feature phase, or
// of what was negotiated.
type ProtocolError struct {
	Opcode pdu.Opcode
	ITT    uint32
	Detail string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("protocol error in %v (tag 0x%08x): %s", e.Opcode, e.ITT, e.Detail)
}

// breach makes a ProtocolError of the PDU with header h.
func breach(h *pdu.Header, format string, args ...any) error {
	return &ProtocolError{h.Opcode(), h.ITT(), fmt.Sprintf(format, args...)}
}

// A TimeoutError says what was waited for in vain.
type TimeoutError struct {
	What  string
	After time.Duration
	final bool // no recovery but that of the session helps
}

func (e *TimeoutError) Error() string {
	if e.After == 0 {
		return fmt.Sprintf("no %s in time", e.What)
	}
	return fmt.Sprintf("no %s within %v", e.What, e.After)
}

// Timeout is true, as in package net.
func (e *TimeoutError) Timeout() bool { return true }

// A RejectError is a Reject PDU, RFC 7143 section 11.17, that ended the session.
type RejectError struct {
	Reason pdu.RejectReason
	PDU    pdu.Opcode // what was rejected
}

func (e *RejectError) Error() string {
	return fmt.Sprintf("target rejected %v: %v", e.PDU, e.Reason)
}

// An AsyncError is an Asynchronous Message, RFC 7143 section 11.9, that ended the
// session: a request to log out (1) or a dropped connection or session (2, 3).
type AsyncError struct {
	Event       uint8
	Time2Wait   time.Duration // of events 2 and 3
	Time2Retain time.Duration
}

func (e *AsyncError) Error() string {
	switch e.Event {
	case pdu.AsyncLogoutRequest:
		return "target asked for logout"
	case pdu.AsyncDropConnection:
		return "target dropped a connection"
	case pdu.AsyncDropSession:
		return "target dropped all connections"
	}
	return fmt.Sprintf("asynchronous event %d", e.Event)
}

// Orderly reports that the session ended in order, with every command answered, because
// the target asked for that.
func (e *AsyncError) Orderly() bool { return e.Event == pdu.AsyncLogoutRequest }

// A LogoutError is a logout that was not confirmed: the target may still hold the
// session.
type LogoutError struct {
	Response uint8 // RFC 7143 section 11.15.1; 0 if none came
	Err      error // why none came
}

func (e *LogoutError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("logout: %v", e.Err)
	}
	return fmt.Sprintf("logout refused with response %d", e.Response)
}

func (e *LogoutError) Unwrap() error { return e.Err }

// An AbortError says that ABORT TASK did not tell what became of a command, or that LOGICAL
// UNIT RESET was not done, RFC 7143 section 11.6.1.
type AbortError struct {
	Response uint8
}

func (e *AbortError) Error() string {
	return fmt.Sprintf("task management refused with response %d", e.Response)
}

// A ReassignError says that a target would not go on with a task on another connection,
// RFC 7143 section 11.6.1.
type ReassignError struct {
	Response uint8
}

func (e *ReassignError) Error() string {
	return fmt.Sprintf("TASK REASSIGN refused with response %d", e.Response)
}

// A PortalGroupError says that a portal is not in the portal group of the
// session, so that no connection through it can join.
type PortalGroupError struct {
	Want, Got int
}

func (e *PortalGroupError) Error() string {
	return fmt.Sprintf("portal is in portal group %d, the session in %d", e.Got, e.Want)
}

// Permanent is true: portals do not change groups.
func (e *PortalGroupError) Permanent() bool { return true }

var (
	errNoPortal    = errors.New("no portal to connect to")
	errKilled      = errors.New("session ended by its owner")
	errDataDigest  = errors.New("data digest error")
	errManyGaps    = errors.New("more PDUs were lost than can be asked for")
	errNotTaken    = errors.New("the target does not take a command, however often it is sent")
	errUnanswered  = errors.New("commands were still unanswered")
	errEndOfStream = endOfStream{}
)

// endOfStream is an io.EOF in words that tell who ended the connection.
type endOfStream struct{}

func (endOfStream) Error() string { return "closed by the target" }

func (endOfStream) Is(target error) bool { return target == io.EOF }
