package nbd

import (
	"encoding/binary"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// Handshake constants of proto.md, "Values", that package protocol lacks.
const (
	handshakeFlagNoZeroes = uint16(1 << 1)

	clientFlagFixedNewstyle = uint32(1 << 0)
	clientFlagNoZeroes      = uint32(1 << 1)

	optionExportName      = uint32(1)
	optionStructuredReply = uint32(8)

	replyErrInvalid  = uint32(3 | 1<<31)
	replyErrShutdown = uint32(7 | 1<<31)
	replyErrTooBig   = uint32(9 | 1<<31)

	// maxString is the longest string of the protocol ("Conventions").
	maxString = 4096

	// exportNameZeroes pad the answer to EXPORT_NAME unless the client knows
	// better.
	exportNameZeroes = 124
)

// Transmission flags.
const (
	flagReadOnly        = uint16(1 << 1)
	flagSendFlush       = uint16(1 << 2)
	flagSendFUA         = uint16(1 << 3)
	flagRotational      = uint16(1 << 4)
	flagSendTrim        = uint16(1 << 5)
	flagSendWriteZeroes = uint16(1 << 6)
	flagSendDF          = uint16(1 << 7)
	flagSendCache       = uint16(1 << 10)
	flagSendFastZero    = uint16(1 << 11)
)

// Requests.
const (
	commandFlush       = uint16(3)
	commandTrim        = uint16(4)
	commandCache       = uint16(5)
	commandWriteZeroes = uint16(6)

	commandFlagFUA      = uint16(1 << 0)
	commandFlagNoHole   = uint16(1 << 1)
	commandFlagDF       = uint16(1 << 2)
	commandFlagFastZero = uint16(1 << 4)
)

// Structured replies.
const (
	magicStructuredReply = uint32(0x668e33ef)

	replyFlagDone = uint16(1 << 0)

	chunkNone       = uint16(0)
	chunkOffsetData = uint16(1)
	chunkError      = uint16(1<<15 | 1)
)

// Sizes on the wire, in bytes.
const (
	sizeGreeting         = 18
	sizeClientFlags      = 4
	sizeOptionHeader     = 16
	sizeRequest          = 28
	sizeSimpleReply      = 16
	sizeStructuredHeader = 20
	sizeOffset           = 8
	sizeErrorHeader      = 6 // error and message length of an error chunk
)

// parseRequestHeader decodes the first sizeRequest bytes of b (proto.md,
// "Request message"). The magic is for the caller to check.
func parseRequestHeader(b []byte) protocol.TransmissionRequestHeader {
	_ = b[sizeRequest-1]
	return protocol.TransmissionRequestHeader{
		RequestMagic: binary.BigEndian.Uint32(b[0:]),
		CommandFlags: binary.BigEndian.Uint16(b[4:]),
		Type:         binary.BigEndian.Uint16(b[6:]),
		Handle:       binary.BigEndian.Uint64(b[8:]),
		Offset:       binary.BigEndian.Uint64(b[16:]),
		Length:       binary.BigEndian.Uint32(b[24:]),
	}
}

// parseOptionHeader decodes the first sizeOptionHeader bytes of b (proto.md,
// "Newstyle negotiation").
func parseOptionHeader(b []byte) protocol.NegotiationOptionHeader {
	_ = b[sizeOptionHeader-1]
	return protocol.NegotiationOptionHeader{
		OptionMagic: binary.BigEndian.Uint64(b[0:]),
		ID:          binary.BigEndian.Uint32(b[8:]),
		Length:      binary.BigEndian.Uint32(b[12:]),
	}
}

// appendOptionReply appends the header of an answer to option id and then its
// data (proto.md, "Fixed newstyle negotiation").
func appendOptionReply(dst []byte, id, kind uint32, data ...byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, protocol.NEGOTIATION_MAGIC_REPLY)
	dst = binary.BigEndian.AppendUint32(dst, id)
	dst = binary.BigEndian.AppendUint32(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	return append(dst, data...)
}
