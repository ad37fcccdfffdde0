package nbd

import (
	"encoding/binary"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// wanted is what a client asks for beside what is always sent.
type wanted struct{ name, description bool }

// parseGo decodes the data of OPT_INFO and OPT_GO: a name with its 32-bit
// length, then a 16-bit count of 16-bit information requests. Unknown requests
// are ignored, as the protocol has it.
func parseGo(b []byte) (name string, wants wanted, ok bool) {
	if len(b) < 4 {
		return "", wants, false
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if n > maxString || uint32(len(b)) < n {
		return "", wants, false
	}
	name, b = string(b[:n]), b[n:]
	if len(b) < 2 {
		return "", wants, false
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if len(b) != 2*count {
		return "", wants, false
	}
	for ; len(b) > 0; b = b[2:] {
		switch binary.BigEndian.Uint16(b) {
		case protocol.NEGOTIATION_TYPE_INFO_NAME:
			wants.name = true
		case protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION:
			wants.description = true
		}
	}
	return name, wants, true
}

// appendInfoExport appends the reply that every INFO and GO gets.
func appendInfoExport(dst []byte, id uint32, size uint64, flags uint16) []byte {
	data := binary.BigEndian.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_EXPORT)
	data = binary.BigEndian.AppendUint64(data, size)
	data = binary.BigEndian.AppendUint16(data, flags)
	return appendOptionReply(dst, id, protocol.NEGOTIATION_TYPE_REPLY_INFO, data...)
}

// appendInfoBlockSize appends the block size constraints. They are sent
// unasked, too, since they are enforced.
func appendInfoBlockSize(dst []byte, id uint32, s blockSizes) []byte {
	data := binary.BigEndian.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE)
	data = binary.BigEndian.AppendUint32(data, s.min)
	data = binary.BigEndian.AppendUint32(data, s.preferred)
	data = binary.BigEndian.AppendUint32(data, s.max)
	return appendOptionReply(dst, id, protocol.NEGOTIATION_TYPE_REPLY_INFO, data...)
}

// appendInfoText appends a name or a description.
func appendInfoText(dst []byte, id uint32, kind uint16, text string) []byte {
	data := binary.BigEndian.AppendUint16(nil, kind)
	data = append(data, text...)
	return appendOptionReply(dst, id, protocol.NEGOTIATION_TYPE_REPLY_INFO, data...)
}
