package pdu

// DataOut is the SCSI Data-Out PDU (RFC 7143 section 11.7).
type DataOut struct {
	Final     bool // the last of a sequence
	LUN       [8]byte
	ITT       uint32
	TTT       uint32 // of the R2T answered; ReservedTag in unsolicited data
	ExpStatSN uint32
	DataSN    uint32
	Offset    uint32 // bytes from the start of the command's data
	DataLen   int
}

// ParseDataOut reads a SCSI Data-Out PDU.
func ParseDataOut(h *Header) (DataOut, error) {
	if err := h.expect(OpDataOut); err != nil {
		return DataOut{}, err
	}
	return DataOut{
		Final:     h.Final(),
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		TTT:       h.TTT(),
		ExpStatSN: h.ExpStatSN(),
		DataSN:    h.u32(atDataSN),
		Offset:    h.u32(atOffset),
		DataLen:   h.DataLen(),
	}, nil
}

// Marshal writes the whole header.
func (d DataOut) Marshal(h *Header) {
	h.begin(OpDataOut, flag(d.Final, finalFlag), d.DataLen)
	copy(h[atLUN:], d.LUN[:])
	h.putU32(atITT, d.ITT)
	h.putU32(atTTT, d.TTT)
	h.putU32(atExpStatSN, d.ExpStatSN)
	h.putU32(atDataSN, d.DataSN)
	h.putU32(atOffset, d.Offset)
}

// DataIn is the SCSI Data-In PDU (RFC 7143 section 11.7).
type DataIn struct {
	Final       bool // the last of a sequence
	Acknowledge bool // a DataACK SNACK is asked for, naming TTT and LUN
	// Overflow, Underflow, Status, StatSN and Residual mean something only
	// with HasStatus; without it Parse leaves them zero.
	Overflow  bool
	Underflow bool
	HasStatus bool
	Status    uint8
	LUN       [8]byte
	ITT       uint32
	TTT       uint32
	StatSN    uint32
	ExpCmdSN  uint32
	MaxCmdSN  uint32
	DataSN    uint32
	Offset    uint32 // bytes from the start of the command's data
	Residual  uint32 // bytes
	DataLen   int
}

const (
	acknowledgeFlag  = 0x40
	dataInOverflow   = 0x04
	dataInUnderflow  = 0x02
	dataInStatusFlag = 0x01
)

// ParseDataIn reads a SCSI Data-In PDU.
func ParseDataIn(h *Header) (DataIn, error) {
	if err := h.expect(OpDataIn); err != nil {
		return DataIn{}, err
	}
	d := DataIn{
		Final:       h.Final(),
		Acknowledge: h[1]&acknowledgeFlag != 0,
		HasStatus:   h[1]&dataInStatusFlag != 0,
		LUN:         h.LUN(),
		ITT:         h.ITT(),
		TTT:         h.TTT(),
		ExpCmdSN:    h.ExpCmdSN(),
		MaxCmdSN:    h.MaxCmdSN(),
		DataSN:      h.u32(atDataSN),
		Offset:      h.u32(atOffset),
		DataLen:     h.DataLen(),
	}
	if !d.HasStatus {
		return d, nil
	}
	d.Overflow = h[1]&dataInOverflow != 0
	d.Underflow = h[1]&dataInUnderflow != 0
	d.Status = h[3]
	d.StatSN = h.StatSN()
	d.Residual = h.u32(atResidual)
	switch {
	case !d.Final:
		return d, invalid(h, RejectInvalidField, "status without F")
	case d.Overflow && d.Underflow:
		return d, invalid(h, RejectInvalidField, "overflow and underflow at once")
	}
	return d, nil
}

// Marshal writes the whole header.
func (d DataIn) Marshal(h *Header) {
	flags := flag(d.Final, finalFlag) | flag(d.Acknowledge, acknowledgeFlag)
	if d.HasStatus {
		flags |= dataInStatusFlag | flag(d.Overflow, dataInOverflow) |
			flag(d.Underflow, dataInUnderflow)
	}
	h.begin(OpDataIn, flags, d.DataLen)
	copy(h[atLUN:], d.LUN[:])
	h.putU32(atITT, d.ITT)
	h.putU32(atTTT, d.TTT)
	h.putU32(atExpCmdSN, d.ExpCmdSN)
	h.putU32(atMaxCmdSN, d.MaxCmdSN)
	h.putU32(atDataSN, d.DataSN)
	h.putU32(atOffset, d.Offset)
	if d.HasStatus {
		h[3] = d.Status
		h.putU32(atStatSN, d.StatSN)
		h.putU32(atResidual, d.Residual)
	}
}
