package nbd

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// Complete answers a request that the Device was given: with r.Err, and for a
// READ that succeeded with r.Data. From here on r and its buffers, unless they
// are Retained, are the connection's. If the client has gone away nobody is
// answered. It panics if the Device does not have r.
func (c *Conn) Complete(now time.Duration, r *Request) {
	if r.state != requestSubmitted || r.conn != c {
		panic("nbd: Complete of a request that the device does not have")
	}
	s := c.server
	s.submitted--
	switch {
	case r.Retained:
		if r.Op != Write {
			panic("nbd: Retained set on a " + r.Op.String())
		}
		r.forgetBuffers()
	case r.Op == Write || r.Err != 0:
		s.putBuffers(r)
	}
	if c.phase == phaseClosed || c.kernel && s.stopping && r.Err == ESHUTDOWN {
		c.drop(r)
		c.settle()
		return
	}
	if len(r.Data) == 0 {
		c.release(r, r.cost-requestCost)
	}
	c.reply(now, r)
}

// reply queues the answer to r.
func (c *Conn) reply(now time.Duration, r *Request) {
	s := c.server
	if r.Err != 0 {
		s.stats.Errors++
	}
	r.state = requestReplying
	r.encode(c.structured)
	if !c.HasOutput() {
		c.waitingSince = now
	}
	if c.last == nil {
		c.first = r
	} else {
		c.last.next = r
	}
	c.last = r
	s.queued++
}

// encode writes the head of the reply (proto.md, "Simple reply message" and
// "Structured reply chunk message"). Where structured replies are in use, a
// read's data and every error come in a chunk, which is the only one of its
// reply; for the rest a simple reply says the same in fewer bytes.
func (r *Request) encode(structured bool) {
	h := r.head[:0]
	data := uint64(0)
	if r.Err == 0 && r.Op == Read {
		data = r.Length
	}
	switch {
	case structured && r.Err != 0:
		text := strings.ToValidUTF8(r.Message[:min(len(r.Message), maxMessage)], "")
		h = appendChunkHeader(h, chunkError, r.handle, sizeErrorHeader+len(text))
		h = binary.BigEndian.AppendUint32(h, uint32(r.Err.wire()))
		h = binary.BigEndian.AppendUint16(h, uint16(len(text)))
		h = append(h, text...)
	case structured && data > 0:
		h = appendChunkHeader(h, chunkOffsetData, r.handle, sizeOffset+int(data))
		h = binary.BigEndian.AppendUint64(h, r.Offset)
	case structured && r.Op == Read:
		h = appendChunkHeader(h, chunkNone, r.handle, 0)
	default:
		h = binary.BigEndian.AppendUint32(h, protocol.TRANSMISSION_MAGIC_REPLY)
		h = binary.BigEndian.AppendUint32(h, uint32(r.Err.wire()))
		h = binary.BigEndian.AppendUint64(h, r.handle)
	}
	r.headed = uint64(len(h))
	r.size = r.headed + data
}

// appendChunkHeader appends the header of the last, and only, chunk of a reply.
func appendChunkHeader(h []byte, kind uint16, handle uint64, length int) []byte {
	h = binary.BigEndian.AppendUint32(h, magicStructuredReply)
	h = binary.BigEndian.AppendUint16(h, replyFlagDone)
	h = binary.BigEndian.AppendUint16(h, kind)
	h = binary.BigEndian.AppendUint64(h, handle)
	return binary.BigEndian.AppendUint32(h, uint32(length))
}

// SendBuffers appends to dst the next bytes for the client. They stay as they
// are until the next Sent or Closed.
func (c *Conn) SendBuffers(dst [][]byte) [][]byte {
	if !c.HasOutput() {
		return dst
	}
	lent, most := uint64(0), len(dst)+sendVectors
	if c.outPos < len(c.out) {
		dst = append(dst, c.out[c.outPos:])
	}
	off := c.sentOff
	for r := c.first; r != nil; r = r.next {
		for off < r.size {
			if lent >= sendBatch || len(dst) >= most {
				return dst
			}
			b := r.reply(off)
			dst = append(dst, b)
			off += uint64(len(b))
			lent += uint64(len(b))
		}
		off = 0
	}
	return dst
}

// reply returns the part of the reply that starts off bytes into it, as far as
// it lies in one piece.
func (r *Request) reply(off uint64) []byte {
	if off < r.headed {
		return r.head[off:r.headed]
	}
	return r.data(off - r.headed)
}

// Sent says that the first n bytes of what SendBuffers returned have left.
func (c *Conn) Sent(now time.Duration, n int) {
	if n == 0 || !c.HasOutput() {
		return
	}
	c.waitingSince = now
	k := min(n, len(c.out)-c.outPos)
	c.outPos += k
	blocked := c.phase <= phaseOptionData
	if c.outPos == len(c.out) {
		c.out, c.outPos = c.out[:0], 0
	}
	c.sentOff += uint64(n - k)
	for c.first != nil && c.sentOff >= c.first.size {
		c.sentOff -= c.first.size
		c.drop(c.popReply())
	}
	if c.first == nil && c.sentOff > 0 {
		panic("nbd: more bytes sent than were lent")
	}
	if blocked && c.pos < c.end {
		c.parse(now)
	}
	c.settle()
}

// popReply takes the first reply off the queue.
func (c *Conn) popReply() *Request {
	r := c.first
	c.first = r.next
	if c.first == nil {
		c.last = nil
	}
	r.next = nil
	c.server.queued--
	return r
}
