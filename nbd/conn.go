package nbd

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"time"
)

// Why a connection was ended, beside *ProtocolError and what the transport
// says.
var (
	ErrHandshakeTimeout = errors.New("nbd: handshake took too long")
	ErrReplyTimeout     = errors.New("nbd: client does not read its replies")
	ErrUnknownExport    = errors.New("nbd: client asked for an unknown export")
	ErrStopping         = errors.New("nbd: server is stopping")
)

// A ProtocolError says what a client sent that ends its connection.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "nbd: protocol violation: " + e.Reason }

// A phase is how far a connection has come:
//
//	clientFlags -> option <-> optionData
//	                  |
//	             transmission <-> payload
//	                  |
//	               leaving -> over -> closed
//
// Every phase may lead to over and to closed.
type phase uint8

const (
	phaseClientFlags  phase = iota // greeting sent, the client's flags awaited
	phaseOption                    // between two options
	phaseOptionData                // in overlong data of an option, thrown away
	phaseTransmission              // between two requests
	phasePayload                   // in the payload of a write
	phaseLeaving                   // the client is done, its replies are not
	phaseOver                      // nothing more to send or receive
	phaseClosed                    // the transport has let go
)

func (p phase) String() string {
	switch p {
	case phaseClientFlags, phaseOption, phaseOptionData:
		return "handshake"
	case phaseTransmission, phasePayload:
		return "transmission"
	case phaseLeaving:
		return "leaving"
	case phaseOver:
		return "over"
	case phaseClosed:
		return "closed"
	}
	return "?"
}

// A Conn is the server's end of one client's byte stream.
type Conn struct {
	server *Server
	id     uint64
	phase  phase
	err    error

	kernel     bool   // see Server.AcceptKernel
	noZeroes   bool   // of NBD_FLAG_C_NO_ZEROES
	structured bool   // structured replies were negotiated
	flags      uint16 // the transmission flags that the client was told

	handshakeBy time.Duration
	options     int    // seen so far
	optionID    uint32 // of phaseOptionData
	optionLeft  uint32

	// Received and not yet parsed is staging[pos:end].
	staging  []byte
	pos, end int
	cur      *Request // in phasePayload
	long     bool     // the last request brought a long payload
	paused   bool     // there is no room for the next request
	resumed  bool

	// To be sent are out[outPos:], of the handshake, and then the replies,
	// of whose first sentOff bytes have left already.
	out          []byte
	outPos       int
	first, last  *Request
	sentOff      uint64
	waitingSince time.Duration // of the output: the last progress

	held     int64 // bytes charged to this client
	requests int   // admitted, their replies not all sent
}

// ID numbers the connections of a server from 1, for logs and status.
func (c *Conn) ID() uint64 { return c.id }

// State is "handshake", "transmission", "leaving", "over" or "closed".
func (c *Conn) State() string { return c.phase.String() }

// Err is why the connection ended; nil while it lives, and after an orderly
// end.
func (c *Conn) Err() error { return c.err }

// Finished reports that there is nothing more to send or to receive. The owner
// then closes the socket, with a reset if Err is not nil, and calls Closed.
func (c *Conn) Finished() bool { return c.phase == phaseOver }

// HasOutput reports whether SendBuffers has something.
func (c *Conn) HasOutput() bool {
	return c.phase < phaseOver && (c.outPos < len(c.out) || c.first != nil)
}

// WantsRead reports whether RecvBuffers has something.
func (c *Conn) WantsRead() bool {
	switch {
	case c.paused, c.phase >= phaseOver, c.kernel && c.server.stopping:
		return false
	case c.phase <= phaseOptionData:
		return !c.handshakeBlocked()
	}
	return true
}

// Resumed reports, once, whether the connection went on after a pause, so that
// its socket is to be read again.
func (c *Conn) Resumed() bool {
	r := c.resumed
	c.resumed = false
	return r
}

// Connected does nothing: clients are accepted, not dialled.
func (c *Conn) Connected(time.Duration) {}

// RecvBuffers appends to dst where the next bytes of the client belong. Nothing
// appended means: do not read now.
func (c *Conn) RecvBuffers(dst [][]byte) [][]byte {
	if !c.WantsRead() {
		return dst
	}
	if c.pos > 0 {
		c.end = copy(c.staging, c.staging[c.pos:c.end])
		c.pos = 0
	}
	if c.direct() {
		r := c.cur
		off, asked := r.Length-r.left, uint64(0)
		for off < r.Length {
			if asked >= recvBatch {
				return dst
			}
			b := r.data(off)
			dst = append(dst, b)
			off += uint64(len(b))
			asked += uint64(len(b))
		}
	}
	end := len(c.staging)
	if c.long && (c.cur == nil || c.direct()) {
		end = min(end, c.end+aheadOfLong)
	}
	return append(dst, c.staging[c.end:end])
}

// direct reports whether the next bytes belong into the buffers of a write.
func (c *Conn) direct() bool { return c.phase == phasePayload && c.cur.Err == 0 }

// Received says that n bytes were put into what RecvBuffers returned.
func (c *Conn) Received(now time.Duration, n int) {
	if n == 0 || !c.WantsRead() {
		return
	}
	if c.direct() {
		take := min(uint64(n), c.cur.left)
		c.cur.left -= take
		n -= int(take)
	}
	c.end += n
	c.parse(now)
}

// parse takes from the staging buffer what is whole.
func (c *Conn) parse(now time.Duration) {
	c.server.info = c.server.dev.Info()
	for more := true; more; {
		switch c.phase {
		case phaseClientFlags:
			more = c.parseClientFlags()
		case phaseOption:
			more = c.parseOption(now)
		case phaseOptionData:
			more = c.skipOption(now)
		case phaseTransmission:
			more = c.parseRequest(now)
		case phasePayload:
			more = c.parsePayload(now)
		case phaseLeaving:
			if c.pos < c.end {
				c.violate("data after the client took its leave")
			}
			more = false
		default:
			more = false
		}
	}
}

// resume tries again what a pause held up, and reports whether it went on.
func (c *Conn) resume(now time.Duration) bool {
	before := c.pos
	c.paused = false
	c.parse(now)
	if c.paused && c.pos == before {
		return false
	}
	c.resumed = true
	return true
}

// violate ends the connection because of what the client sent.
func (c *Conn) violate(reason string) {
	c.server.stats.Violators++
	c.hangUp(&ProtocolError{reason})
}

// hangUp ends the connection at once; nil means in good order.
func (c *Conn) hangUp(err error) {
	if c.phase < phaseOver {
		c.phase, c.err, c.paused = phaseOver, err, false
	}
}

// settle ends a connection whose client has taken its leave and has been
// answered.
func (c *Conn) settle() {
	if c.phase == phaseLeaving && c.requests == 0 && !c.HasOutput() {
		c.hangUp(nil)
	}
}

// Closed says that the socket is gone: the client has ended it, it failed, or
// the owner closed it. Buffers that were lent are no longer looked at. What
// the Device still has of this client it keeps until it completes it.
func (c *Conn) Closed(now time.Duration, err error) {
	if c.phase == phaseClosed {
		return
	}
	if c.phase < phaseOver && !errors.Is(err, io.EOF) {
		c.err = err
	}
	s := c.server
	if r := c.cur; r != nil {
		c.cur = nil
		c.drop(r)
	}
	for c.first != nil {
		c.drop(c.popReply())
	}
	s.leave(c)
	level := slog.LevelInfo
	if c.err != nil {
		level = slog.LevelWarn
	}
	s.cfg.Log(level, "nbd: client gone", "name", s.cfg.Name, "client", c.id,
		"during", c.phase.String(), "abandoned", c.requests, "err", c.err)
	c.phase = phaseClosed
}

// drop frees a request that is answered, or will not be.
func (c *Conn) drop(r *Request) {
	c.server.putBuffers(r)
	c.release(r, r.cost)
	c.requests--
	c.server.freeRequest(r)
}

// release takes n bytes off what r is charged.
func (c *Conn) release(r *Request, n int64) {
	c.server.budget.give(c.held, n, c.phase == phaseClosed)
	c.held -= n
	r.cost -= n
}

// Tick ends the connection if its time is up.
func (c *Conn) Tick(now time.Duration) {
	if now < c.Deadline() {
		return
	}
	if c.HasOutput() && now >= c.waitingSince+replyTimeout {
		c.hangUp(ErrReplyTimeout)
		return
	}
	c.hangUp(ErrHandshakeTimeout)
}

// Deadline is when Tick is wanted; math.MaxInt64 for never.
func (c *Conn) Deadline() time.Duration {
	d := time.Duration(math.MaxInt64)
	if c.phase <= phaseOptionData {
		d = c.handshakeBy
	}
	if c.HasOutput() {
		d = min(d, c.waitingSince+replyTimeout)
	}
	return d
}
