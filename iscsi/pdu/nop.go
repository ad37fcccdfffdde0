package pdu

// NopOut is the NOP-Out PDU (RFC 7143 section 11.18).
type NopOut struct {
	Immediate bool
	LUN       [8]byte // that of the NOP-In answered, else zero
	ITT       uint32  // ReservedTag: no answer is wanted
	TTT       uint32  // that of the NOP-In answered, else ReservedTag
	CmdSN     uint32
	ExpStatSN uint32
	DataLen   int
}

// ParseNopOut reads a NOP-Out PDU.
func ParseNopOut(h *Header) (NopOut, error) {
	if err := h.expect(OpNopOut); err != nil {
		return NopOut{}, err
	}
	n := NopOut{
		Immediate: h.Immediate(),
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		TTT:       h.TTT(),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		DataLen:   h.DataLen(),
	}
	if n.ITT == ReservedTag && !n.Immediate {
		return n, invalid(h, RejectInvalidField, "neither a task tag nor immediate")
	}
	return n, nil
}

// Marshal writes the whole header.
func (n NopOut) Marshal(h *Header) {
	h.begin(OpNopOut, finalFlag, n.DataLen)
	h.setImmediate(n.Immediate)
	copy(h[atLUN:], n.LUN[:])
	h.putU32(atITT, n.ITT)
	h.putU32(atTTT, n.TTT)
	h.putU32(atCmdSN, n.CmdSN)
	h.putU32(atExpStatSN, n.ExpStatSN)
}

// NopIn is the NOP-In PDU (RFC 7143 section 11.19).
type NopIn struct {
	LUN      [8]byte
	ITT      uint32 // that of the NOP-Out answered, else ReservedTag
	TTT      uint32 // not ReservedTag: an answer is wanted
	StatSN   uint32 // the next one, not advanced, if ITT is ReservedTag
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataLen  int
}

// ParseNopIn reads a NOP-In PDU.
func ParseNopIn(h *Header) (NopIn, error) {
	if err := h.expect(OpNopIn); err != nil {
		return NopIn{}, err
	}
	return NopIn{
		LUN:      h.LUN(),
		ITT:      h.ITT(),
		TTT:      h.TTT(),
		StatSN:   h.StatSN(),
		ExpCmdSN: h.ExpCmdSN(),
		MaxCmdSN: h.MaxCmdSN(),
		DataLen:  h.DataLen(),
	}, nil
}

// Marshal writes the whole header.
func (n NopIn) Marshal(h *Header) {
	h.begin(OpNopIn, finalFlag, n.DataLen)
	copy(h[atLUN:], n.LUN[:])
	h.putU32(atITT, n.ITT)
	h.putU32(atTTT, n.TTT)
	h.putCounters(n.StatSN, n.ExpCmdSN, n.MaxCmdSN)
}
