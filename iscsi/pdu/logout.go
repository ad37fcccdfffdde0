package pdu

// Reasons of a logout (RFC 7143 section 11.14.1).
const (
	LogoutCloseSession      uint8 = 0
	LogoutCloseConnection   uint8 = 1
	LogoutRemoveForRecovery uint8 = 2
)

// Responses to a logout (RFC 7143 section 11.15.1).
const (
	LogoutSuccess              uint8 = 0
	LogoutCIDNotFound          uint8 = 1
	LogoutRecoveryNotSupported uint8 = 2
	LogoutCleanupFailed        uint8 = 3
)

// LogoutRequest is the Logout Request PDU (RFC 7143 section 11.14).
type LogoutRequest struct {
	Immediate bool
	Reason    uint8
	ITT       uint32
	CID       uint16 // of the connection meant; zero with LogoutCloseSession
	CmdSN     uint32
	ExpStatSN uint32
}

// ParseLogoutRequest reads a Logout Request PDU.
func ParseLogoutRequest(h *Header) (LogoutRequest, error) {
	if err := h.expectBare(OpLogoutRequest); err != nil {
		return LogoutRequest{}, err
	}
	l := LogoutRequest{
		Immediate: h.Immediate(),
		Reason:    h[1] &^ finalFlag,
		ITT:       h.ITT(),
		CID:       h.u16(atCID),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
	}
	switch {
	case l.ITT == ReservedTag:
		return l, invalid(h, RejectInvalidField, "reserved task tag")
	case l.Reason > LogoutRemoveForRecovery:
		return l, invalid(h, RejectInvalidField, "reserved reason")
	}
	return l, nil
}

// Marshal writes the whole header.
func (l LogoutRequest) Marshal(h *Header) {
	h.begin(OpLogoutRequest, finalFlag|l.Reason&^finalFlag, 0)
	h.setImmediate(l.Immediate)
	h.putU32(atITT, l.ITT)
	h.putU16(atCID, l.CID)
	h.putU32(atCmdSN, l.CmdSN)
	h.putU32(atExpStatSN, l.ExpStatSN)
}

// LogoutResponse is the Logout Response PDU (RFC 7143 section 11.15).
type LogoutResponse struct {
	Response    uint8
	ITT         uint32
	StatSN      uint32
	ExpCmdSN    uint32
	MaxCmdSN    uint32
	Time2Wait   uint16 // seconds
	Time2Retain uint16 // seconds
}

const (
	atTime2Wait   = 40
	atTime2Retain = 42
)

// ParseLogoutResponse reads a Logout Response PDU.
func ParseLogoutResponse(h *Header) (LogoutResponse, error) {
	if err := h.expectBare(OpLogoutResponse); err != nil {
		return LogoutResponse{}, err
	}
	return LogoutResponse{
		Response:    h[2],
		ITT:         h.ITT(),
		StatSN:      h.StatSN(),
		ExpCmdSN:    h.ExpCmdSN(),
		MaxCmdSN:    h.MaxCmdSN(),
		Time2Wait:   h.u16(atTime2Wait),
		Time2Retain: h.u16(atTime2Retain),
	}, nil
}

// Marshal writes the whole header.
func (l LogoutResponse) Marshal(h *Header) {
	h.begin(OpLogoutResponse, finalFlag, 0)
	h[2] = l.Response
	h.putU32(atITT, l.ITT)
	h.putCounters(l.StatSN, l.ExpCmdSN, l.MaxCmdSN)
	h.putU16(atTime2Wait, l.Time2Wait)
	h.putU16(atTime2Retain, l.Time2Retain)
}
