package pdu

import (
	"encoding/binary"
	"fmt"
)

// HeaderLen is the length of the basic header segment in bytes (RFC 7143
// section 11.2.1).
const HeaderLen = 48

// MaxAHSLen is the most that additional header segments can take, in bytes:
// TotalAHSLength has 8 bits and counts words of four bytes.
const MaxAHSLen = 255 * 4

// MaxDataLen is the longest data segment that a header can name, in bytes.
const MaxDataLen = 1<<24 - 1

// ReservedTag is the initiator or target task tag that means "none".
const ReservedTag = 0xffffffff

// Header is a basic header segment as it is on the wire.
type Header [HeaderLen]byte

// Opcode says what a PDU is (RFC 7143 section 11.2.1.2).
type Opcode uint8

// Opcodes of the initiator are below 0x20, those of the target above.
const (
	OpNopOut         Opcode = 0x00
	OpSCSICommand    Opcode = 0x01
	OpTaskRequest    Opcode = 0x02
	OpLoginRequest   Opcode = 0x03
	OpTextRequest    Opcode = 0x04
	OpDataOut        Opcode = 0x05
	OpLogoutRequest  Opcode = 0x06
	OpSNACK          Opcode = 0x10
	OpNopIn          Opcode = 0x20
	OpSCSIResponse   Opcode = 0x21
	OpTaskResponse   Opcode = 0x22
	OpLoginResponse  Opcode = 0x23
	OpTextResponse   Opcode = 0x24
	OpDataIn         Opcode = 0x25
	OpLogoutResponse Opcode = 0x26
	OpR2T            Opcode = 0x31
	OpAsync          Opcode = 0x32
	OpReject         Opcode = 0x3f
)

// String gives the RFC's name of the PDU.
func (o Opcode) String() string {
	switch o {
	case OpNopOut:
		return "NOP-Out"
	case OpSCSICommand:
		return "SCSI Command"
	case OpTaskRequest:
		return "Task Management Function Request"
	case OpLoginRequest:
		return "Login Request"
	case OpTextRequest:
		return "Text Request"
	case OpDataOut:
		return "SCSI Data-Out"
	case OpLogoutRequest:
		return "Logout Request"
	case OpSNACK:
		return "SNACK Request"
	case OpNopIn:
		return "NOP-In"
	case OpSCSIResponse:
		return "SCSI Response"
	case OpTaskResponse:
		return "Task Management Function Response"
	case OpLoginResponse:
		return "Login Response"
	case OpTextResponse:
		return "Text Response"
	case OpDataIn:
		return "SCSI Data-In"
	case OpLogoutResponse:
		return "Logout Response"
	case OpR2T:
		return "R2T"
	case OpAsync:
		return "Asynchronous Message"
	case OpReject:
		return "Reject"
	}
	return fmt.Sprintf("opcode 0x%02x", uint8(o))
}

// Bits of the first two bytes of a header.
const (
	opcodeMask    = 0x3f
	immediateFlag = 0x40
	finalFlag     = 0x80
)

// Offsets of the fields that have the same place in most PDUs.
const (
	atAHSLen    = 4
	atDataLen   = 5
	atLUN       = 8
	atITT       = 16
	atTTT       = 20
	atCmdSN     = 24
	atStatSN    = 24
	atExpStatSN = 28
	atExpCmdSN  = 28
	atMaxCmdSN  = 32
	atDataSN    = 36
	atOffset    = 40
	atResidual  = 44
)

// Opcode tells what PDU it is.
func (h *Header) Opcode() Opcode { return Opcode(h[0] & opcodeMask) }

// Immediate tells whether the I bit is set: a request outside the CmdSN order.
func (h *Header) Immediate() bool { return h[0]&immediateFlag != 0 }

// Final tells whether the F bit is set. In Login PDUs it is the T bit.
func (h *Header) Final() bool { return h[1]&finalFlag != 0 }

// AHSLen is the length of the additional header segments in bytes.
func (h *Header) AHSLen() int { return int(h[atAHSLen]) * 4 }

// DataLen is the length of the data segment in bytes, without padding.
func (h *Header) DataLen() int {
	return int(h[atDataLen])<<16 | int(h[atDataLen+1])<<8 | int(h[atDataLen+2])
}

// LUN is the logical unit number field, in the form of SAM.
func (h *Header) LUN() [8]byte { return [8]byte(h[atLUN : atLUN+8]) }

// ITT is the initiator task tag, which all PDUs have in the same place.
func (h *Header) ITT() uint32 { return h.u32(atITT) }

// TTT is the target transfer tag, in those PDUs that have one.
func (h *Header) TTT() uint32 { return h.u32(atTTT) }

// CmdSN is the command sequence number of a request.
func (h *Header) CmdSN() uint32 { return h.u32(atCmdSN) }

// ExpStatSN is the acknowledgement of status in a PDU of the initiator.
func (h *Header) ExpStatSN() uint32 { return h.u32(atExpStatSN) }

// StatSN is the status sequence number in a PDU of the target.
func (h *Header) StatSN() uint32 { return h.u32(atStatSN) }

// ExpCmdSN is the acknowledgement of commands in a PDU of the target.
func (h *Header) ExpCmdSN() uint32 { return h.u32(atExpCmdSN) }

// MaxCmdSN is the end of the command window in a PDU of the target.
func (h *Header) MaxCmdSN() uint32 { return h.u32(atMaxCmdSN) }

func (h *Header) u16(at int) uint16 { return binary.BigEndian.Uint16(h[at:]) }
func (h *Header) u32(at int) uint32 { return binary.BigEndian.Uint32(h[at:]) }

func (h *Header) putU16(at int, v uint16) { binary.BigEndian.PutUint16(h[at:], v) }
func (h *Header) putU32(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }

// begin clears the header and writes what every PDU has.
func (h *Header) begin(op Opcode, flags uint8, dataLen int) {
	if dataLen < 0 || dataLen > MaxDataLen {
		panic("pdu: data segment length out of range")
	}
	*h = Header{}
	h[0] = uint8(op)
	h[1] = flags
	h[atDataLen] = uint8(dataLen >> 16)
	h[atDataLen+1] = uint8(dataLen >> 8)
	h[atDataLen+2] = uint8(dataLen)
}

func (h *Header) setImmediate(on bool) {
	if on {
		h[0] |= immediateFlag
	}
}

// putCounters writes the three numbers that the target's PDUs share.
func (h *Header) putCounters(statSN, expCmdSN, maxCmdSN uint32) {
	h.putU32(atStatSN, statSN)
	h.putU32(atExpCmdSN, expCmdSN)
	h.putU32(atMaxCmdSN, maxCmdSN)
}

// SetWindow writes anew what a PDU of the target that is sent again tells of the
// command window.
func (h *Header) SetWindow(expCmdSN, maxCmdSN uint32) {
	h.putU32(atExpCmdSN, expCmdSN)
	h.putU32(atMaxCmdSN, maxCmdSN)
}

// expect checks the opcode of a header about to be parsed.
func (h *Header) expect(op Opcode) error {
	if h.Opcode() != op {
		return invalid(h, RejectProtocolError, "not the PDU that was expected: "+op.String())
	}
	return nil
}

// expectBare checks the opcode of a PDU that has no data segment.
func (h *Header) expectBare(op Opcode) error {
	if err := h.expect(op); err != nil {
		return err
	}
	if h.DataLen() != 0 {
		return invalid(h, RejectInvalidField, "data segment in a PDU that has none")
	}
	return nil
}

// flag gives bit if on is set, to build a byte of flags.
func flag(on bool, bit uint8) uint8 {
	if on {
		return bit
	}
	return 0
}
