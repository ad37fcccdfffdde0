package nbd

import (
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// commands is what is known of each request type (proto.md, "Request types").
var commands = [...]struct {
	known  bool
	op     Op
	writes bool
	flags  uint16 // allowed; FUA is on every command
}{
	protocol.TRANSMISSION_TYPE_REQUEST_READ:  {true, Read, false, commandFlagFUA | commandFlagDF},
	protocol.TRANSMISSION_TYPE_REQUEST_WRITE: {true, Write, true, commandFlagFUA},
	commandFlush:                             {true, Flush, false, commandFlagFUA},
	commandTrim:                              {true, Trim, true, commandFlagFUA},
	commandCache:                             {true, Cache, false, commandFlagFUA},
	commandWriteZeroes: {true, WriteZeroes, true,
		commandFlagFUA | commandFlagNoHole | commandFlagFastZero},
}

// parseRequest takes the header of one request, if there is room for the
// request, and goes as far as can be gone without its payload.
func (c *Conn) parseRequest(now time.Duration) bool {
	if c.end-c.pos < sizeRequest || c.kernel && c.server.stopping {
		return false
	}
	h := parseRequestHeader(c.staging[c.pos:])
	write := h.Type == protocol.TRANSMISSION_TYPE_REQUEST_WRITE
	switch {
	case h.RequestMagic != protocol.TRANSMISSION_MAGIC_REQUEST:
		c.violate("wrong magic of a request")
		return false
	case h.Type == protocol.TRANSMISSION_TYPE_REQUEST_DISC:
		c.pos += sizeRequest
		c.phase = phaseLeaving
		c.settle()
		return true
	case write && h.Length > maxDrain:
		c.violate("absurd length of a write")
		return false
	}
	r := c.admit(&h)
	if r == nil {
		c.paused = true
		return false
	}
	c.pos += sizeRequest
	c.long = write && h.Length >= longPayload
	switch {
	case write && h.Length > 0:
		r.left = uint64(h.Length)
		c.cur = r
		c.phase = phasePayload
	case r.Err != 0 || r.Length == 0 && r.Op != Flush:
		c.reply(now, r)
	default:
		c.submit(now, r)
	}
	return true
}

// admit makes a Request of a header, or returns nil if there is no room for it
// now. One that must fail has its Err set, and no buffers.
func (c *Conn) admit(h *protocol.TransmissionRequestHeader) *Request {
	s := c.server
	if c.requests >= s.cfg.MaxRequests {
		return nil
	}
	errno, why := c.check(h)
	op := Cache
	if int(h.Type) < len(commands) {
		op = commands[h.Type].op
	}
	cost, data := int64(requestCost), errno == 0 && (op == Read || op == Write)
	if data {
		cost += charge(uint64(h.Length))
	}
	if !s.budget.take(c.held, cost) {
		return nil
	}
	c.held += cost
	r := s.newRequest(c, h.Handle)
	r.Op, r.Err, r.Message, r.cost = op, errno, why, cost
	r.FUA = h.CommandFlags&commandFlagFUA != 0 && int(h.Type) < len(commands) &&
		commands[h.Type].writes
	r.NoHole = h.CommandFlags&commandFlagNoHole != 0
	r.FastZero = h.CommandFlags&commandFlagFastZero != 0
	if op != Flush {
		r.Offset, r.Length = h.Offset, uint64(h.Length)
	}
	if data && !s.takeBuffers(r) {
		c.release(r, cost)
		s.freeRequest(r)
		return nil
	}
	c.requests++
	return r
}

// check says why a request must fail, or 0.
func (c *Conn) check(h *protocol.TransmissionRequestHeader) (Errno, string) {
	s := c.server
	if int(h.Type) >= len(commands) || !commands[h.Type].known {
		return EINVAL, "unknown command"
	}
	cmd := &commands[h.Type]
	allowed := cmd.flags
	if c.flags&flagSendDF == 0 {
		allowed &^= commandFlagDF
	}
	switch {
	case s.stopping:
		return ESHUTDOWN, "server is stopping"
	case h.CommandFlags&^allowed != 0:
		return EINVAL, "command flag that is unknown or not for this command"
	case cmd.op == Flush:
		return 0, ""
	case cmd.writes && s.info.ReadOnly:
		return EPERM, "export is read-only"
	case cmd.op == Trim && c.flags&flagSendTrim == 0:
		return EINVAL, "trim was not offered"
	case (h.Offset|uint64(h.Length))&uint64(s.sizes.min-1) != 0:
		return EINVAL, "offset or length is not a multiple of the block size"
	case h.Offset > s.info.Size || uint64(h.Length) > s.info.Size-h.Offset:
		if cmd.op == Write || cmd.op == WriteZeroes {
			return ENOSPC, "write beyond the end of the export"
		}
		return EINVAL, "range is beyond the end of the export"
	case (cmd.op == Read || cmd.op == Write) && h.Length > s.sizes.max:
		if h.CommandFlags&commandFlagDF != 0 {
			return EOVERFLOW, "request is larger than the largest block"
		}
		return EINVAL, "request is larger than the largest block"
	case h.CommandFlags&commandFlagFastZero != 0 && !s.info.ZeroFast:
		return ENOTSUP, "zeroing is not faster than writing"
	}
	return 0, ""
}

// parsePayload moves what is staged of a write's payload to where it belongs:
// its buffers, or nowhere if the write must fail.
func (c *Conn) parsePayload(now time.Duration) bool {
	r := c.cur
	for r.left > 0 && c.pos < c.end {
		staged := c.staging[c.pos:c.end]
		n := min(uint64(len(staged)), r.left)
		if r.Err == 0 {
			n = uint64(copy(r.data(r.Length-r.left), staged[:n]))
		}
		c.pos += int(n)
		r.left -= n
	}
	if r.left > 0 {
		return false
	}
	c.cur = nil
	c.phase = phaseTransmission
	if r.Err != 0 {
		c.reply(now, r)
	} else {
		c.submit(now, r)
	}
	return true
}

// submit hands a request to the Device.
func (c *Conn) submit(now time.Duration, r *Request) {
	s := c.server
	r.state = requestSubmitted
	s.submitted++
	s.stats.Requests[r.Op]++
	s.stats.Bytes[r.Op] += r.Length
	s.dev.Submit(now, r)
}
