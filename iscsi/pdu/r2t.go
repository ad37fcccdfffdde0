package pdu

// R2T is the Ready To Transfer PDU (RFC 7143 section 11.8).
type R2T struct {
	LUN      [8]byte
	ITT      uint32
	TTT      uint32
	StatSN   uint32 // the next one; not advanced by an R2T
	ExpCmdSN uint32
	MaxCmdSN uint32
	R2TSN    uint32
	Offset   uint32 // bytes from the start of the command's data
	// DesiredLen is the desired data transfer length in bytes, never 0.
	DesiredLen uint32
}

const atDesiredLen = 44

// ParseR2T reads a Ready To Transfer PDU.
func ParseR2T(h *Header) (R2T, error) {
	if err := h.expectBare(OpR2T); err != nil {
		return R2T{}, err
	}
	r := R2T{
		LUN:        h.LUN(),
		ITT:        h.ITT(),
		TTT:        h.TTT(),
		StatSN:     h.StatSN(),
		ExpCmdSN:   h.ExpCmdSN(),
		MaxCmdSN:   h.MaxCmdSN(),
		R2TSN:      h.u32(atDataSN),
		Offset:     h.u32(atOffset),
		DesiredLen: h.u32(atDesiredLen),
	}
	switch {
	case r.TTT == ReservedTag:
		return r, invalid(h, RejectInvalidField, "reserved target transfer tag")
	case r.DesiredLen == 0:
		return r, invalid(h, RejectInvalidField, "no data desired")
	case uint64(r.Offset)+uint64(r.DesiredLen) > 1<<32-1:
		return r, invalid(h, RejectInvalidField, "data desired beyond any command's end")
	}
	return r, nil
}

// Marshal writes the whole header.
func (r R2T) Marshal(h *Header) {
	h.begin(OpR2T, finalFlag, 0)
	copy(h[atLUN:], r.LUN[:])
	h.putU32(atITT, r.ITT)
	h.putU32(atTTT, r.TTT)
	h.putCounters(r.StatSN, r.ExpCmdSN, r.MaxCmdSN)
	h.putU32(atDataSN, r.R2TSN)
	h.putU32(atOffset, r.Offset)
	h.putU32(atDesiredLen, r.DesiredLen)
}
