package conformance

import (
	"encoding/binary"
	"hash/crc32"
)

// Opcodes of RFC 7143 section 11.2.1.2.
const (
	NopOut     = 0x00
	SCSI       = 0x01
	TaskReq    = 0x02
	LoginReq   = 0x03
	TextReq    = 0x04
	DataOut    = 0x05
	LogoutReq  = 0x06
	SNACK      = 0x10
	NopIn      = 0x20
	SCSIResp   = 0x21
	TaskResp   = 0x22
	LoginResp  = 0x23
	TextResp   = 0x24
	DataIn     = 0x25
	LogoutResp = 0x26
	R2T        = 0x31
	Async      = 0x32
	Reject     = 0x3f
)

var opNames = map[byte]string{
	NopOut: "NOP-Out", SCSI: "SCSI Command", TaskReq: "Task Management Request",
	LoginReq: "Login Request", TextReq: "Text Request", DataOut: "Data-Out",
	LogoutReq: "Logout Request", SNACK: "SNACK", NopIn: "NOP-In", SCSIResp: "SCSI Response",
	TaskResp: "Task Management Response", LoginResp: "Login Response",
	TextResp: "Text Response", DataIn: "Data-In", LogoutResp: "Logout Response",
	R2T: "R2T", Async: "Asynchronous Message", Reject: "Reject",
}

// None is the reserved value of a task tag.
const None = 0xffffffff

// Where fields are that several PDUs have in the same place.
const (
	atLUN       = 8
	atITT       = 16
	atTTT       = 20 // of Data-Out, R2T, NOP, Text; the referenced tag of task management
	atEDTL      = 20
	atStatSN    = 24 // of a target's PDUs
	atCmdSN     = 24 // of an initiator's PDUs
	atExpStatSN = 28 // of an initiator's PDUs
	atExpCmdSN  = 28 // of a target's PDUs
	atMaxCmdSN  = 32
	atRefCmdSN  = 32
	atDataSN    = 36 // also R2TSN, ExpDataSN
	atOffset    = 40
	atBegRun    = 40
	atLength    = 44 // desired length, residual count, run length
)

// A PDU is one unit as it was on the wire.
type PDU struct {
	H    [48]byte
	AHS  []byte
	Data []byte // without padding
	Pad  []byte

	BadHeaderDigest, BadDataDigest bool

	Wire []byte // all of it, as it was received
}

// Op is the opcode.
func (p *PDU) Op() byte { return p.H[0] & 0x3f }

// Immediate is the I bit.
func (p *PDU) Immediate() bool { return p.H[0]&0x40 != 0 }

// Final is the first bit of byte 1: F, or T of a login.
func (p *PDU) Final() bool { return p.H[1]&0x80 != 0 }

// U16, U32 and U64 are big-endian numbers at an offset of the header.
func (p *PDU) U16(at int) uint16 { return binary.BigEndian.Uint16(p.H[at:]) }
func (p *PDU) U32(at int) uint32 { return binary.BigEndian.Uint32(p.H[at:]) }
func (p *PDU) U64(at int) uint64 { return binary.BigEndian.Uint64(p.H[at:]) }

// ITT, TTT, CmdSN, ExpStatSN, DataSN, Offset are fields where most PDUs have them.
func (p *PDU) ITT() uint32       { return p.U32(atITT) }
func (p *PDU) TTT() uint32       { return p.U32(atTTT) }
func (p *PDU) CmdSN() uint32     { return p.U32(atCmdSN) }
func (p *PDU) ExpStatSN() uint32 { return p.U32(atExpStatSN) }
func (p *PDU) DataSN() uint32    { return p.U32(atDataSN) }
func (p *PDU) Offset() uint32    { return p.U32(atOffset) }

func dataLen(h []byte) int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// Set puts a number of width bytes into the header.
func (p *PDU) Set(at, width int, v uint64) *PDU {
	for i := range width {
		p.H[at+width-1-i] = byte(v >> (8 * i))
	}
	return p
}

// New makes a PDU with these first two bytes and this data.
func New(op, flags byte, data []byte) *PDU {
	p := &PDU{Data: data}
	p.H[0], p.H[1] = op, flags
	p.Set(5, 3, uint64(len(data)))
	return p
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digest is CRC32C as it goes on the wire, RFC 7143 section 13.1: least
// significant byte first.
func digest(parts ...[]byte) (d [4]byte) {
	var sum uint32
	for _, b := range parts {
		sum = crc32.Update(sum, castagnoli, b)
	}
	binary.LittleEndian.PutUint32(d[:], sum)
	return d
}

// Bytes is the PDU as it goes on the wire.
func (p *PDU) Bytes(headerDigest, dataDigest bool) []byte {
	wire := append(append([]byte(nil), p.H[:]...), p.AHS...)
	if headerDigest {
		d := digest(wire)
		if p.BadHeaderDigest {
			d[0] ^= 1
		}
		wire = append(wire, d[:]...)
	}
	if len(p.Data) == 0 {
		return wire
	}
	padded := append([]byte(nil), p.Data...)
	for len(padded)%4 != 0 {
		padded = append(padded, 0)
	}
	wire = append(wire, padded...)
	if dataDigest {
		d := digest(padded)
		if p.BadDataDigest {
			d[0] ^= 1
		}
		wire = append(wire, d[:]...)
	}
	return wire
}

// cut takes one whole PDU off the front of a stream.
func cut(b []byte, headerDigest, dataDigest bool) (p *PDU, rest []byte) {
	if len(b) < 48 {
		return nil, b
	}
	p = &PDU{}
	copy(p.H[:], b)
	at := 48 + 4*int(b[4])
	n := dataLen(b)
	padded := (n + 3) &^ 3
	whole := at + padded
	if headerDigest {
		whole += 4
	}
	if dataDigest && n > 0 {
		whole += 4
	}
	if len(b) < whole {
		return nil, b
	}
	p.Wire, p.AHS = b[:whole:whole], b[48:at]
	if headerDigest {
		p.BadHeaderDigest = digest(b[:at]) != [4]byte(b[at:at+4])
		at += 4
	}
	p.Data, p.Pad = b[at:at+n:at+n], b[at+n:at+padded]
	if dataDigest && n > 0 {
		p.BadDataDigest = digest(b[at:at+padded]) != [4]byte(b[at+padded:whole])
	}
	return p, b[whole:]
}

// less compares serial numbers, RFC 1982.
func less(a, b uint32) bool { return int32(a-b) < 0 }
