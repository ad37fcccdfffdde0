package sim

import (
	"encoding/binary"
	"fmt"
)

// The client's half of the NBD protocol (proto.md of the NBD project), written for the
// simulator alone: the product's own codec must not judge itself.
const (
	nbdMagic       = 0x4e42444d41474943
	nbdOption      = 0x49484156454f5054
	nbdOptionReply = 0x3e889045565a9

	nbdOptExportName = 1
	nbdOptGo         = 7
	nbdOptStructured = 8

	nbdRepAck  = 1
	nbdRepInfo = 3

	nbdRepShutdown = 1<<31 | 7

	nbdRequest    = 0x25609513
	nbdSimple     = 0x67446698
	nbdStructured = 0x668e33ef

	nbdFlagFUA    = 1 << 0
	nbdFlagNoHole = 1 << 1

	nbdCanTrim = 1 << 5 // transmission flag SEND_TRIM

	nbdChunkDone   = 1 << 0
	nbdChunkNone   = 0
	nbdChunkData   = 1
	nbdChunkFailed = 1<<15 | 1
)

// nbdTypes are the request types, by opKind.
var nbdTypes = [...]uint16{opRead: 0, opWrite: 1, opFlush: 3, opTrim: 4, opZero: 6, opCache: 5}

func appendOption(b []byte, id uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, nbdOption)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// appendRequest encodes a request; a write's data follow.
func appendRequest(b []byte, r *request, handle uint64, blockSize int) []byte {
	flags := uint16(0)
	if r.fua {
		flags |= nbdFlagFUA
	}
	if r.noHole {
		flags |= nbdFlagNoHole
	}
	bs := uint64(blockSize)
	b = binary.BigEndian.AppendUint32(b, nbdRequest)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, nbdTypes[r.kind])
	b = binary.BigEndian.AppendUint64(b, handle)
	b = binary.BigEndian.AppendUint64(b, r.lba*bs)
	return binary.BigEndian.AppendUint32(b, uint32(r.n*bs))
}

// A reply is one answer: the size of all of it, and what it says.
type reply struct {
	size   int
	handle uint64
	errno  uint32
	text   string // of a failure
	data   []byte
}

// parseReply takes the reply at the beginning of b; ok is false while it is not whole. want
// says how many bytes a read asked for, and where.
func parseReply(b []byte, want func(handle uint64) (off uint64, n int, err error)) (
	r reply, ok bool, err error,
) {
	if len(b) < 16 {
		return r, false, nil
	}
	switch magic := binary.BigEndian.Uint32(b); magic {
	case nbdSimple:
		r.errno, r.handle, r.size = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), 16
		_, n, err := want(r.handle)
		if err != nil {
			return r, false, err
		}
		if r.errno == 0 {
			r.size += n
		}
		if len(b) < r.size {
			return r, false, nil
		}
		r.data = b[16:r.size]
		return r, true, nil
	case nbdStructured:
		return parseChunk(b, want)
	default:
		return r, false, fmt.Errorf("a reply begins with % x", b[:16])
	}
}

func parseChunk(b []byte, want func(handle uint64) (off uint64, n int, err error)) (
	r reply, ok bool, err error,
) {
	if len(b) < 20 {
		return r, false, nil
	}
	flags, kind := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	r.handle = binary.BigEndian.Uint64(b[8:])
	r.size = 20 + int(binary.BigEndian.Uint32(b[16:]))
	off, n, err := want(r.handle)
	switch {
	case err != nil:
		return r, false, err
	case flags != nbdChunkDone:
		return r, false, fmt.Errorf("chunk with flags %#x", flags)
	case r.size > 20+8+n+4096:
		return r, false, fmt.Errorf("chunk of %d bytes", r.size)
	case len(b) < r.size:
		return r, false, nil
	}
	body := b[20:r.size]
	switch kind {
	case nbdChunkNone:
	case nbdChunkData:
		if len(body) < 8 || binary.BigEndian.Uint64(body) != off || len(body) != 8+n {
			return r, false, fmt.Errorf("data chunk does not fit its request")
		}
		r.data = body[8:]
	case nbdChunkFailed:
		if len(body) < 6 || len(body) != 6+int(binary.BigEndian.Uint16(body[4:])) {
			return r, false, fmt.Errorf("malformed error chunk")
		}
		r.errno, r.text = binary.BigEndian.Uint32(body), string(body[6:])
	default:
		return r, false, fmt.Errorf("chunk of type %#x", kind)
	}
	return r, true, nil
}
