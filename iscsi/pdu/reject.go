package pdu

import "fmt"

// RejectReason says why a PDU was rejected (RFC 7143 section 11.17.1).
type RejectReason uint8

// The reasons.
const (
	RejectDataDigest          RejectReason = 0x02
	RejectSNACK               RejectReason = 0x03
	RejectProtocolError       RejectReason = 0x04
	RejectCommandNotSupported RejectReason = 0x05
	RejectImmediateCommand    RejectReason = 0x06 // too many immediate commands
	RejectTaskInProgress      RejectReason = 0x07
	RejectInvalidDataACK      RejectReason = 0x08
	RejectInvalidField        RejectReason = 0x09
	RejectLongOperation       RejectReason = 0x0a // out of resources
	RejectWaitingForLogout    RejectReason = 0x0c
)

// String gives the RFC's words for the reason.
func (r RejectReason) String() string {
	switch r {
	case RejectDataDigest:
		return "data (payload) digest error"
	case RejectSNACK:
		return "SNACK reject"
	case RejectProtocolError:
		return "protocol error"
	case RejectCommandNotSupported:
		return "command not supported"
	case RejectImmediateCommand:
		return "immediate command reject"
	case RejectTaskInProgress:
		return "task in progress"
	case RejectInvalidDataACK:
		return "invalid data ACK"
	case RejectInvalidField:
		return "invalid PDU field"
	case RejectLongOperation:
		return "long operation reject"
	case RejectWaitingForLogout:
		return "waiting for logout"
	}
	return fmt.Sprintf("reason 0x%02x", uint8(r))
}

// Reject is the Reject PDU (RFC 7143 section 11.17). Its data segment is the
// header of the PDU that was rejected.
type Reject struct {
	Reason   RejectReason
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataSN   uint32 // the next R2TSN or DataSN, after a rejected Data-Out or SNACK
	DataLen  int
}

// ParseReject reads a Reject PDU.
func ParseReject(h *Header) (Reject, error) {
	if err := h.expect(OpReject); err != nil {
		return Reject{}, err
	}
	return Reject{
		Reason:   RejectReason(h[2]),
		StatSN:   h.StatSN(),
		ExpCmdSN: h.ExpCmdSN(),
		MaxCmdSN: h.MaxCmdSN(),
		DataSN:   h.u32(atDataSN),
		DataLen:  h.DataLen(),
	}, nil
}

// Marshal writes the whole header.
func (r Reject) Marshal(h *Header) {
	h.begin(OpReject, finalFlag, r.DataLen)
	h[2] = uint8(r.Reason)
	h.putU32(atITT, ReservedTag)
	h.putCounters(r.StatSN, r.ExpCmdSN, r.MaxCmdSN)
	h.putU32(atDataSN, r.DataSN)
}

// RejectedHeader is the header of the rejected PDU in the data segment of a
// Reject, and false if the segment is too short to hold one.
func RejectedHeader(data []byte) (Header, bool) {
	if len(data) < HeaderLen {
		return Header{}, false
	}
	return Header(data[:HeaderLen]), true
}
