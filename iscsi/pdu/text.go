package pdu

// TextRequest is the Text Request PDU (RFC 7143 section 11.10).
type TextRequest struct {
	Immediate bool
	Final     bool // the initiator is ready to end the exchange
	Continue  bool // the text goes on in the next PDU
	LUN       [8]byte
	ITT       uint32
	TTT       uint32 // of the Text Response answered; ReservedTag to begin
	CmdSN     uint32
	ExpStatSN uint32
	DataLen   int
}

// ParseTextRequest reads a Text Request PDU.
func ParseTextRequest(h *Header) (TextRequest, error) {
	if err := h.expect(OpTextRequest); err != nil {
		return TextRequest{}, err
	}
	t := TextRequest{
		Immediate: h.Immediate(),
		Final:     h.Final(),
		Continue:  h[1]&continueFlag != 0,
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		TTT:       h.TTT(),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		DataLen:   h.DataLen(),
	}
	if t.ITT == ReservedTag {
		return t, invalid(h, RejectInvalidField, "reserved task tag")
	}
	return t, checkText(h)
}

// checkText refuses an end in the middle of a text.
func checkText(h *Header) error {
	if h.Final() && h[1]&continueFlag != 0 {
		return invalid(h, RejectInvalidField, "F and C both set")
	}
	return nil
}

// Marshal writes the whole header.
func (t TextRequest) Marshal(h *Header) {
	h.begin(OpTextRequest, flag(t.Final, finalFlag)|flag(t.Continue, continueFlag), t.DataLen)
	h.setImmediate(t.Immediate)
	copy(h[atLUN:], t.LUN[:])
	h.putU32(atITT, t.ITT)
	h.putU32(atTTT, t.TTT)
	h.putU32(atCmdSN, t.CmdSN)
	h.putU32(atExpStatSN, t.ExpStatSN)
}

// TextResponse is the Text Response PDU (RFC 7143 section 11.11).
type TextResponse struct {
	Final    bool // the exchange is over
	Continue bool // the text goes on in the next PDU
	LUN      [8]byte
	ITT      uint32
	TTT      uint32 // to be named by the next Text Request; ReservedTag with Final
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataLen  int
}

// ParseTextResponse reads a Text Response PDU.
func ParseTextResponse(h *Header) (TextResponse, error) {
	if err := h.expect(OpTextResponse); err != nil {
		return TextResponse{}, err
	}
	t := TextResponse{
		Final:    h.Final(),
		Continue: h[1]&continueFlag != 0,
		LUN:      h.LUN(),
		ITT:      h.ITT(),
		TTT:      h.TTT(),
		StatSN:   h.StatSN(),
		ExpCmdSN: h.ExpCmdSN(),
		MaxCmdSN: h.MaxCmdSN(),
		DataLen:  h.DataLen(),
	}
	return t, checkText(h)
}

// Marshal writes the whole header.
func (t TextResponse) Marshal(h *Header) {
	h.begin(OpTextResponse, flag(t.Final, finalFlag)|flag(t.Continue, continueFlag), t.DataLen)
	copy(h[atLUN:], t.LUN[:])
	h.putU32(atITT, t.ITT)
	h.putU32(atTTT, t.TTT)
	h.putCounters(t.StatSN, t.ExpCmdSN, t.MaxCmdSN)
}
