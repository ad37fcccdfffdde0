package pdu

import (
	"errors"
	"fmt"
)

// What is wrong with a PDU. A *ProtocolError wraps one of these.
var (
	// ErrHeaderDigest: the header digest does not fit. The length in the
	// header cannot be trusted, so the stream ends here (RFC 7143 section 7.8).
	ErrHeaderDigest = errors.New("header digest error")

	// ErrTooLong: the data segment is longer than the receiver declared with
	// MaxRecvDataSegmentLength.
	ErrTooLong = errors.New("data segment too long")

	// ErrInvalid: the header breaks the format.
	ErrInvalid = errors.New("invalid PDU")
)

// ProtocolError says what the peer sent that the protocol forbids.
type ProtocolError struct {
	Opcode Opcode
	ITT    uint32
	Reason RejectReason // with which a target rejects the PDU
	Detail string
	Err    error // ErrHeaderDigest, ErrTooLong or ErrInvalid
}

// Error names the PDU and the fault.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("iscsi: %v: %v (tag 0x%08x): %s", e.Opcode, e.Err, e.ITT, e.Detail)
}

// Unwrap gives the kind of the fault.
func (e *ProtocolError) Unwrap() error { return e.Err }

// invalid is the error for a header that breaks the format.
func invalid(h *Header, reason RejectReason, detail string) error {
	return &ProtocolError{
		Opcode: h.Opcode(), ITT: h.ITT(), Reason: reason, Detail: detail, Err: ErrInvalid,
	}
}
