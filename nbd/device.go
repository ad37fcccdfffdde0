package nbd

import (
	"math/bits"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// A Device is what an export stands for. Its methods are called by the
// goroutine that drives the Server.
type Device interface {
	// Info describes the device as it is now. Its size may change between
	// calls; a client learns it in its handshake, and every request is held
	// against the size of the moment.
	Info() Info

	// Submit hands over a whole, valid request. It belongs to the Device until
	// the Device gives it back, once, through r.Conn().Complete; not within
	// this call. This is so even if the client goes away meanwhile. The request
	// stays the same until then, its data included, except that the Device
	// fills in a read's.
	Submit(now time.Duration, r *Request)
}

// Info is the description of a Device.
type Info struct {
	Size uint64 // bytes

	// MinBlock divides every offset and length: a power of two, at most
	// 64 KiB; 0 means 1. PreferredBlock is a power of two of at least 512; 0
	// means 4096. MaxBlock is the largest READ or WRITE in bytes, at most
	// 64 MiB; 0 means 32 MiB. TRIM, WRITE_ZEROES and CACHE carry no payload
	// and may be as large as their 32-bit length allows. The three are read
	// once, when the Server is made.
	MinBlock, PreferredBlock, MaxBlock uint32

	ReadOnly   bool
	Rotational bool
	Trim       bool // TRIM is worth sending
	ZeroFast   bool // WRITE_ZEROES is faster than writing zeroes
}

// A Pool lends buffers. The Server takes at most MaxInFlightAll bytes of it, a
// buffer counted as the power of two, from 4 KiB, that it fits in. What the
// Device retains comes on top.
type Pool interface {
	Get(n int) []byte // n bytes, at most Chunk; nil if there is none now
	Put(b []byte)     // b is what Get returned, whole
}

// blockSizes are the block size constraints of proto.md as they are sent.
type blockSizes struct {
	min, preferred, max uint32
}

// blockSizes makes what Info says fit the protocol: powers of two in their
// ranges, and a maximum that is a multiple of the minimum.
func (i Info) blockSizes() blockSizes {
	b := blockSizes{
		min:       ceilPower(min(i.MinBlock, 64<<10)),
		preferred: ceilPower(min(i.PreferredBlock, 32<<20)),
		max:       min(i.MaxBlock, ceilingMaxBlock),
	}
	if i.PreferredBlock == 0 {
		b.preferred = 4096
	}
	b.preferred = max(b.preferred, b.min, 512)
	if i.MaxBlock == 0 {
		b.max = defaultMaxBlock
	}
	b.max = max(b.max&^(b.min-1), b.min)
	return b
}

// ceilPower is the least power of two that is not below n.
func ceilPower(n uint32) uint32 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len32(n-1)
}

// TransmissionFlags are the flags that describe the export (proto.md,
// "Transmission flags"), without structured replies: what the kernel is told.
// All connections share the device, whose flush covers them all, so several
// connections are always safe.
func (i Info) TransmissionFlags() uint16 {
	f := protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS | flagSendFlush | flagSendFUA |
		protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN | flagSendCache
	if i.Rotational {
		f |= flagRotational
	}
	if i.ReadOnly {
		return f | flagReadOnly
	}
	if i.Trim {
		f |= flagSendTrim
	}
	return f | flagSendWriteZeroes | flagSendFastZero
}
