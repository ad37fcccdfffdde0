package scsi

import (
	"errors"
	"fmt"
	"time"
)

// ErrLoggedOut is how a session ends that was asked to: all its commands were
// answered, and the target has agreed to the logout.
var ErrLoggedOut = errors.New("logged out")

// Direction says which way a command's data goes.
type Direction uint8

// Directions of data, as seen by the initiator.
const (
	None Direction = iota
	Read
	Write
)

// A Command is one SCSI command on its way. Whoever submits it lends it, and
// Data, to the path until the path hands it back as completed; in between
// neither may be touched by the submitter.
type Command struct {
	CDB  [16]byte // unused bytes are zero
	Dir  Direction
	Data []byte // bytes to write, or where the bytes that are read go

	// Reset makes it a LOGICAL UNIT RESET, a task management function in place of a
	// CDB: with Err == nil every command that reached the unit before it is over, on
	// whatever nexus, and those of this nexus were handed back.
	Reset bool

	// Timeout bounds the wait for an answer on a living nexus; after it the
	// path aborts the command. Zero means no bound.
	Timeout time.Duration

	// Err is how it ended: nil for GOOD, *StatusError when the device
	// refused, *NexusLostError when nobody knows. It is valid once the
	// command was handed back.
	Err error

	// Transferred is the count of bytes of Data that were moved, from the
	// residual count of the answer. Valid with Err == nil.
	Transferred int

	// Owner is the submitter's own reference; a path never looks at it.
	Owner any
}

// A StatusError is the device's own "no": the command came to an end there and
// its outcome is known.
type StatusError struct {
	Status Status
	Sense  Sense
}

func (e *StatusError) Error() string {
	if e.Status == CheckCondition {
		return fmt.Sprintf("%v: %v", e.Status, e.Sense)
	}
	return e.Status.String()
}

// A NexusLostError is no answer at all: the nexus ended while the command was
// out. If Sent, it may have been executed, or may yet be; if not, it did not
// leave this machine whole, and a target executes no part of a PDU.
type NexusLostError struct {
	Sent  bool
	Cause error
}

func (e *NexusLostError) Error() string {
	if !e.Sent {
		return fmt.Sprintf("nexus lost before the command was sent: %v", e.Cause)
	}
	return fmt.Sprintf("nexus lost, outcome unknown: %v", e.Cause)
}

func (e *NexusLostError) Unwrap() error { return e.Cause }

// Lost reports whether err says that the nexus was lost, and whether the
// command may have reached the device.
func Lost(err error) (lost, sent bool) {
	if err == nil { // what most commands end with; the rest of this allocates
		return false, false
	}
	var n *NexusLostError
	if errors.As(err, &n) {
		return true, n.Sent
	}
	return false, false
}

// A Nexus describes an I_T nexus: what the target knows the session by, and
// what bounds its memory of it.
type Nexus struct {
	ISID        [6]byte
	TSIH        uint16
	TPGT        uint16        // target portal group tag of the Login Response
	Time2Wait   time.Duration // RFC 7143 section 13.15
	Time2Retain time.Duration // RFC 7143 section 13.16

	ErrorRecoveryLevel int // RFC 7143 section 13.20
}
