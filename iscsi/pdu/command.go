package pdu

import "encoding/binary"

// Task attributes of a SCSI command (RFC 7143 section 11.3.1).
const (
	AttrUntagged    uint8 = 0
	AttrSimple      uint8 = 1
	AttrOrdered     uint8 = 2
	AttrHeadOfQueue uint8 = 3
	AttrACA         uint8 = 4
)

// SCSICommand is the SCSI Command PDU (RFC 7143 section 11.3). Its data segment
// is the immediate data.
type SCSICommand struct {
	Immediate bool
	Final     bool // no unsolicited Data-Out follows
	Read      bool
	Write     bool
	Attr      uint8
	LUN       [8]byte
	ITT       uint32
	// ExpectedLen is the expected data transfer length in bytes.
	ExpectedLen uint32
	CmdSN       uint32
	ExpStatSN   uint32
	CDB         [16]byte
	DataLen     int
}

const (
	commandRead     = 0x40
	commandWrite    = 0x20
	commandAttrMask = 0x07
	atExpectedLen   = 20
	atCDB           = 32
)

// ParseSCSICommand reads a SCSI Command PDU.
func ParseSCSICommand(h *Header) (SCSICommand, error) {
	if err := h.expect(OpSCSICommand); err != nil {
		return SCSICommand{}, err
	}
	c := SCSICommand{
		Immediate:   h.Immediate(),
		Final:       h.Final(),
		Read:        h[1]&commandRead != 0,
		Write:       h[1]&commandWrite != 0,
		Attr:        h[1] & commandAttrMask,
		LUN:         h.LUN(),
		ITT:         h.ITT(),
		ExpectedLen: h.u32(atExpectedLen),
		CmdSN:       h.CmdSN(),
		ExpStatSN:   h.ExpStatSN(),
		CDB:         [16]byte(h[atCDB:]),
		DataLen:     h.DataLen(),
	}
	switch {
	case c.ITT == ReservedTag:
		return c, invalid(h, RejectInvalidField, "reserved task tag")
	case c.Attr > AttrACA:
		return c, invalid(h, RejectInvalidField, "reserved task attribute")
	case !c.Write && !c.Final:
		return c, invalid(h, RejectInvalidField, "neither W nor F set")
	case !c.Read && !c.Write && c.ExpectedLen != 0:
		return c, invalid(h, RejectInvalidField, "data expected, but neither R nor W set")
	case !c.Write && c.DataLen != 0:
		return c, invalid(h, RejectInvalidField, "immediate data without W")
	}
	return c, nil
}

// Marshal writes the whole header.
func (c SCSICommand) Marshal(h *Header) {
	h.begin(OpSCSICommand, flag(c.Final, finalFlag)|flag(c.Read, commandRead)|
		flag(c.Write, commandWrite)|c.Attr&commandAttrMask, c.DataLen)
	h.setImmediate(c.Immediate)
	copy(h[atLUN:], c.LUN[:])
	h.putU32(atITT, c.ITT)
	h.putU32(atExpectedLen, c.ExpectedLen)
	h.putU32(atCmdSN, c.CmdSN)
	h.putU32(atExpStatSN, c.ExpStatSN)
	copy(h[atCDB:], c.CDB[:])
}

// Values of SCSIResponse.Response (RFC 7143 section 11.4.3).
const (
	ResponseCompleted     uint8 = 0 // command completed at target
	ResponseTargetFailure uint8 = 1
)

// SCSIResponse is the SCSI Response PDU (RFC 7143 section 11.4). Its data segment
// is read with SenseData.
type SCSIResponse struct {
	BidiOverflow  bool
	BidiUnderflow bool
	Overflow      bool
	Underflow     bool
	Response      uint8
	Status        uint8 // meaningful if Response is ResponseCompleted
	ITT           uint32
	SNACKTag      uint32
	StatSN        uint32
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	ExpDataSN     uint32 // how many Data-In and R2T PDUs the command had
	BidiResidual  uint32 // bytes
	Residual      uint32 // bytes; meaningful with Overflow or Underflow
	DataLen       int
}

const (
	bidiOverflowFlag  = 0x10
	bidiUnderflowFlag = 0x08
	overflowFlag      = 0x04
	underflowFlag     = 0x02
	atBidiResidual    = 40
)

// ParseSCSIResponse reads a SCSI Response PDU.
func ParseSCSIResponse(h *Header) (SCSIResponse, error) {
	if err := h.expect(OpSCSIResponse); err != nil {
		return SCSIResponse{}, err
	}
	r := SCSIResponse{
		BidiOverflow:  h[1]&bidiOverflowFlag != 0,
		BidiUnderflow: h[1]&bidiUnderflowFlag != 0,
		Overflow:      h[1]&overflowFlag != 0,
		Underflow:     h[1]&underflowFlag != 0,
		Response:      h[2],
		Status:        h[3],
		ITT:           h.ITT(),
		SNACKTag:      h.u32(atTTT),
		StatSN:        h.StatSN(),
		ExpCmdSN:      h.ExpCmdSN(),
		MaxCmdSN:      h.MaxCmdSN(),
		ExpDataSN:     h.u32(atDataSN),
		BidiResidual:  h.u32(atBidiResidual),
		Residual:      h.u32(atResidual),
		DataLen:       h.DataLen(),
	}
	if r.Overflow && r.Underflow || r.BidiOverflow && r.BidiUnderflow {
		return r, invalid(h, RejectInvalidField, "overflow and underflow at once")
	}
	return r, nil
}

// Marshal writes the whole header.
func (r SCSIResponse) Marshal(h *Header) {
	h.begin(OpSCSIResponse, finalFlag|flag(r.BidiOverflow, bidiOverflowFlag)|
		flag(r.BidiUnderflow, bidiUnderflowFlag)|flag(r.Overflow, overflowFlag)|
		flag(r.Underflow, underflowFlag), r.DataLen)
	h[2] = r.Response
	h[3] = r.Status
	h.putU32(atITT, r.ITT)
	h.putU32(atTTT, r.SNACKTag)
	h.putCounters(r.StatSN, r.ExpCmdSN, r.MaxCmdSN)
	h.putU32(atDataSN, r.ExpDataSN)
	h.putU32(atBidiResidual, r.BidiResidual)
	h.putU32(atResidual, r.Residual)
}

// SenseData is the sense data in the data segment of a SCSI Response, behind its
// two bytes of length (RFC 7143 section 11.4.7), and nil if there is none. Sense
// data that is cut short is given as far as it goes.
func SenseData(data []byte) []byte {
	if len(data) < 2 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(data))
	if n == 0 {
		return nil
	}
	return data[2:min(2+n, len(data))]
}

// AppendSense appends the data segment that carries sense to dst.
func AppendSense(dst, sense []byte) []byte {
	if len(sense) > 0xffff {
		panic("pdu: sense data too long")
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(sense)))
	return append(dst, sense...)
}
