package pdu

// Types of a SNACK (RFC 7143 section 11.16.1).
const (
	SNACKData    uint8 = 0 // Data-In or R2T PDUs again
	SNACKStatus  uint8 = 1 // status PDUs again
	SNACKDataACK uint8 = 2 // Data-In PDUs up to BegRun have arrived
	SNACKRData   uint8 = 3 // Data-In PDUs again, which may be cut anew
)

// SNACK is the SNACK Request PDU (RFC 7143 section 11.16).
type SNACK struct {
	Type      uint8
	LUN       [8]byte // that of the Data-In acknowledged, else zero
	ITT       uint32  // ReservedTag with SNACKStatus and SNACKDataACK
	TTT       uint32  // SNACKDataACK: that of the Data-In; SNACKRData: the SNACK tag
	ExpStatSN uint32
	BegRun    uint32 // the first number missing; SNACKDataACK: the next expected
	RunLength uint32 // how many are missing; 0: all from BegRun on
}

const (
	snackTypeMask = 0x0f
	atBegRun      = 40
	atRunLength   = 44
)

// ParseSNACK reads a SNACK Request PDU.
func ParseSNACK(h *Header) (SNACK, error) {
	if err := h.expectBare(OpSNACK); err != nil {
		return SNACK{}, err
	}
	s := SNACK{
		Type:      h[1] & snackTypeMask,
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		TTT:       h.TTT(),
		ExpStatSN: h.ExpStatSN(),
		BegRun:    h.u32(atBegRun),
		RunLength: h.u32(atRunLength),
	}
	switch {
	case s.Type > SNACKRData:
		return s, invalid(h, RejectInvalidField, "reserved SNACK type")
	case s.Type == SNACKDataACK && s.RunLength != 0:
		return s, invalid(h, RejectInvalidDataACK, "DataACK with a run length")
	case s.Type == SNACKRData && s.RunLength != 0:
		return s, invalid(h, RejectInvalidField, "R-Data SNACK with a run length")
	}
	return s, nil
}

// Marshal writes the whole header.
func (s SNACK) Marshal(h *Header) {
	h.begin(OpSNACK, finalFlag|s.Type&snackTypeMask, 0)
	copy(h[atLUN:], s.LUN[:])
	h.putU32(atITT, s.ITT)
	h.putU32(atTTT, s.TTT)
	h.putU32(atExpStatSN, s.ExpStatSN)
	h.putU32(atBegRun, s.BegRun)
	h.putU32(atRunLength, s.RunLength)
}
