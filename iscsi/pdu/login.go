package pdu

// Stages of the login phase (RFC 7143 section 11.12.3).
const (
	StageSecurity    uint8 = 0
	StageOperational uint8 = 1
	StageFullFeature uint8 = 3
)

// LoginRequest is the Login Request PDU (RFC 7143 section 11.12). It is always
// immediate.
type LoginRequest struct {
	Transit    bool
	Continue   bool // the text goes on in the next PDU
	CSG        uint8
	NSG        uint8 // meaningful with Transit; zero without
	VersionMax uint8
	VersionMin uint8
	ISID       [6]byte
	TSIH       uint16
	ITT        uint32
	CID        uint16
	CmdSN      uint32
	ExpStatSN  uint32
	DataLen    int
}

const (
	continueFlag = 0x40
	stageMask    = 0x03
	atISID       = 8
	atTSIH       = 14
	atCID        = 20
)

// ParseLoginRequest reads a Login Request PDU.
func ParseLoginRequest(h *Header) (LoginRequest, error) {
	if err := h.expect(OpLoginRequest); err != nil {
		return LoginRequest{}, err
	}
	l := LoginRequest{
		Transit:    h.Final(),
		Continue:   h[1]&continueFlag != 0,
		CSG:        h[1] >> 2 & stageMask,
		VersionMax: h[2],
		VersionMin: h[3],
		ISID:       [6]byte(h[atISID:]),
		TSIH:       h.u16(atTSIH),
		ITT:        h.ITT(),
		CID:        h.u16(atCID),
		CmdSN:      h.CmdSN(),
		ExpStatSN:  h.ExpStatSN(),
		DataLen:    h.DataLen(),
	}
	if l.Transit {
		l.NSG = h[1] & stageMask
	}
	return l, checkStages(h, l.Transit, l.Continue, l.CSG, l.NSG)
}

// checkStages refuses stages that are reserved or go backwards, and a transition
// asked for in the middle of a text.
func checkStages(h *Header, transit, more bool, csg, nsg uint8) error {
	switch {
	case csg != StageSecurity && csg != StageOperational:
		return invalid(h, RejectInvalidField, "no such login stage")
	case !transit:
		return nil
	case more:
		return invalid(h, RejectInvalidField, "T and C both set")
	case nsg != StageOperational && nsg != StageFullFeature || nsg <= csg:
		return invalid(h, RejectInvalidField, "no such transition of login stages")
	}
	return nil
}

// Marshal writes the whole header.
func (l LoginRequest) Marshal(h *Header) {
	h.begin(OpLoginRequest, loginFlags(l.Transit, l.Continue, l.CSG, l.NSG), l.DataLen)
	h.setImmediate(true)
	h[2] = l.VersionMax
	h[3] = l.VersionMin
	copy(h[atISID:], l.ISID[:])
	h.putU16(atTSIH, l.TSIH)
	h.putU32(atITT, l.ITT)
	h.putU16(atCID, l.CID)
	h.putU32(atCmdSN, l.CmdSN)
	h.putU32(atExpStatSN, l.ExpStatSN)
}

func loginFlags(transit, more bool, csg, nsg uint8) uint8 {
	flags := flag(transit, finalFlag) | flag(more, continueFlag) | csg&stageMask<<2
	if transit {
		flags |= nsg & stageMask
	}
	return flags
}

// LoginResponse is the Login Response PDU (RFC 7143 section 11.13).
type LoginResponse struct {
	Transit       bool
	Continue      bool // the text goes on in the next PDU
	CSG           uint8
	NSG           uint8 // meaningful with Transit; zero without
	VersionMax    uint8
	VersionActive uint8
	ISID          [6]byte
	TSIH          uint16
	ITT           uint32
	StatSN        uint32
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	StatusClass   uint8 // 0: success. Else only the status is to be relied on
	StatusDetail  uint8
	DataLen       int
}

const (
	atStatusClass  = 36
	atStatusDetail = 37
)

// ParseLoginResponse reads a Login Response PDU. The stages of a response that
// refuses the login mean nothing and are not checked.
func ParseLoginResponse(h *Header) (LoginResponse, error) {
	if err := h.expect(OpLoginResponse); err != nil {
		return LoginResponse{}, err
	}
	l := LoginResponse{
		Transit:       h.Final(),
		Continue:      h[1]&continueFlag != 0,
		CSG:           h[1] >> 2 & stageMask,
		VersionMax:    h[2],
		VersionActive: h[3],
		ISID:          [6]byte(h[atISID:]),
		TSIH:          h.u16(atTSIH),
		ITT:           h.ITT(),
		StatSN:        h.StatSN(),
		ExpCmdSN:      h.ExpCmdSN(),
		MaxCmdSN:      h.MaxCmdSN(),
		StatusClass:   h[atStatusClass],
		StatusDetail:  h[atStatusDetail],
		DataLen:       h.DataLen(),
	}
	if l.Transit {
		l.NSG = h[1] & stageMask
	}
	if l.StatusClass != 0 {
		return l, nil
	}
	return l, checkStages(h, l.Transit, l.Continue, l.CSG, l.NSG)
}

// Marshal writes the whole header.
func (l LoginResponse) Marshal(h *Header) {
	h.begin(OpLoginResponse, loginFlags(l.Transit, l.Continue, l.CSG, l.NSG), l.DataLen)
	h[2] = l.VersionMax
	h[3] = l.VersionActive
	copy(h[atISID:], l.ISID[:])
	h.putU16(atTSIH, l.TSIH)
	h.putU32(atITT, l.ITT)
	h.putCounters(l.StatSN, l.ExpCmdSN, l.MaxCmdSN)
	h[atStatusClass] = l.StatusClass
	h[atStatusDetail] = l.StatusDetail
}
