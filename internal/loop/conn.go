package loop

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// state is the life of a connection; it only grows.
//
//	dialing --connect--> active --Close(false)--> closing --all sent--> draining
//	   |                   |                         |                     |
//	   +-------------------+-----> closed <----------+---------------------+
type state uint8

const (
	dialing  state = iota // look-up or connect under way
	active                // the stream is served
	closing               // the stream is only asked for what it still has to send
	draining              // our direction is ended; waiting for the peer to end its own
	closed                // no descriptor any more; what is called then does nothing
)

// A Flusher is a Stream that wants to know when an orderly Close has let go of
// it. Flushed is called once after Close(false) of an established connection:
// nothing of the stream is used after that. sent says that the transport took
// all that SendBuffers offered; else the peer went away or did not read in time.
// After Close(true), or Stop without a Close before, it is not called.
type Flusher interface {
	Flushed(now time.Duration, sent bool)
}

// conn is one connection: the Socket its Stream's owner holds. It is never used
// again for another connection, so a stale Socket can do no harm.
type conn struct {
	loop   *Loop
	stream Stream
	fd     int // -1 without a descriptor
	state  state
	tcp    bool

	readable bool   // an edge was seen and nothing since says that all was read
	wantless bool   // the stream wanted nothing when it was last asked
	queued   bool   // is in Loop.ready
	kicked   bool   // is in Loop.kicked
	blocked  bool   // the last write was short; EPOLLOUT will come
	armed    bool   // registered for EPOLLOUT
	ended    bool   // the peer's end of stream was read
	hup      uint32 // EPOLLRDHUP, EPOLLHUP, EPOLLERR seen so far
	cause    error  // a write failed with this

	timer    time.Duration // in Loop.timed if not maxTime
	timerPos int

	dial *dialState // nil unless dialing
}

// dialState is what only a dial needs.
type dialState struct {
	address string
	cancel  context.CancelFunc // of the look-up under way
	addrs   []netip.AddrPort   // not tried yet
	trying  netip.AddrPort
	failed  []error
}

func (l *Loop) newConn(s Stream, st state) *conn {
	return &conn{loop: l, stream: s, fd: -1, state: st, timer: maxTime}
}

// Adopt serves a connected stream socket made elsewhere, a socketpair's end for
// one. The descriptor is the loop's from now on, whatever comes of it. Like an
// accepted one it gets no Connected; if it cannot be served, Closed follows.
func (l *Loop) Adopt(fd int, s Stream) Socket {
	c := l.newConn(s, active)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		c.cause = os.NewSyscallError("fcntl", err)
		c.queue()
		return c
	}
	c.open(fd)
	return c
}

// open takes over a non-blocking descriptor of an established connection. If it
// cannot be watched the stream is told in the next round.
func (c *conn) open(fd int) {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	c.tcp = err == nil && proto == unix.IPPROTO_TCP
	if c.tcp {
		setNoDelay(fd)
	}
	if err := c.loop.register(fd, slot{c: c}, baseEvents); err != nil {
		unix.Close(fd)
		c.cause = err
		c.queue()
		return
	}
	c.fd = fd
	c.loop.conns++
	c.Kick() // the stream may speak first
}

func setNoDelay(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// event takes in what epoll told about the connection.
func (c *conn) event(ev uint32) {
	if c.state == dialing {
		if ev&(unix.EPOLLOUT|hangup) != 0 {
			c.connectEnded()
		}
		return
	}
	if ev&(unix.EPOLLOUT|hangup) != 0 && c.blocked {
		c.blocked = false
		c.pushKicked()
	}
	ends := ev & (hangup | unix.EPOLLRDHUP)
	c.hup |= ends
	if ends != 0 || ev&unix.EPOLLIN != 0 {
		c.readable = true
	}
	if ends != 0 || c.readable && !c.wantless {
		c.queue()
	}
}

// queue puts the connection on the list of those to be read.
func (c *conn) queue() {
	if !c.queued {
		c.queued = true
		c.loop.ready = append(c.loop.ready, c)
	}
}

func (c *conn) pushKicked() {
	if !c.kicked {
		c.kicked = true
		c.loop.kicked = append(c.loop.kicked, c)
	}
}

// Kick implements Socket.
func (c *conn) Kick() {
	if c.state == active {
		c.pushKicked()
	}
}

// Close implements Socket.
func (c *conn) Close(reset bool) {
	switch {
	case c.state == closed:
	case reset:
		c.reset()
	case c.state == dialing, c.fd < 0:
		c.drop()
	case c.state == active:
		c.state = closing
		c.setTimer(c.loop.Now() + c.loop.cfg.CloseTimeout)
		c.pushKicked()
		c.wantless = false // from now on bytes are read away
		if c.hup&hangup != 0 {
			c.blocked = false // no room will be told of; the write tells that all is over
		}
		if c.readable {
			c.queue()
		}
	}
}

// Unacked implements Socket.
func (c *conn) Unacked() int {
	if !c.tcp || c.fd < 0 || c.state == dialing {
		return 0
	}
	return outQueue(c.fd)
}

// reset tears the connection down; TCP tells the peer so.
func (c *conn) reset() {
	if c.tcp && c.fd >= 0 {
		l := unix.Linger{Onoff: 1, Linger: 0}
		unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &l)
	}
	c.drop()
}

// drop lets go of everything and calls nobody.
func (c *conn) drop() {
	c.release()
	c.state = closed
	c.setTimer(maxTime)
	if c.dial != nil {
		if c.dial.cancel != nil {
			c.dial.cancel()
		}
		c.dial = nil
	}
}

// release closes the descriptor, if there is one.
func (c *conn) release() {
	if c.fd >= 0 {
		c.loop.forget(c.fd)
		c.loop.conns--
		c.fd = -1
	}
}

// fail ends the connection and tells the stream.
func (c *conn) fail(err error) {
	if c.state == closing {
		c.flushed(false)
		return
	}
	told := c.state < closing
	c.drop()
	if told {
		c.stream.Closed(c.loop.now, err)
	}
}

// flushed ends the stream's part of an orderly close. What it could not send
// must not look complete to the peer, so the connection is then reset.
func (c *conn) flushed(sent bool) {
	if sent && !c.ended {
		c.state = draining
		unix.Shutdown(c.fd, unix.SHUT_WR)
		c.queue()
	} else if sent {
		c.drop()
	} else {
		c.reset()
	}
	if f, ok := c.stream.(Flusher); ok {
		f.Flushed(c.loop.now, sent)
	}
}

// goneCause is the error for a peer whose end was seen: what a write met, what
// the socket holds, else the end of the stream.
func (c *conn) goneCause() error {
	if c.cause != nil {
		return c.cause
	}
	if err := socketError(c.fd); err != nil && err != unix.EPIPE {
		return fmt.Errorf("connection lost: %w", err)
	}
	return io.EOF
}

// setTimer sets the connection's deadline; maxTime is none.
func (c *conn) setTimer(at time.Duration) {
	l := c.loop
	had := c.timer != maxTime
	has := at != maxTime
	c.timer = at
	switch {
	case has && !had:
		c.timerPos = len(l.timed)
		l.timed = append(l.timed, c)
	case had && !has:
		last := l.timed[len(l.timed)-1]
		l.timed[c.timerPos] = last
		last.timerPos = c.timerPos
		l.timed[len(l.timed)-1] = nil
		l.timed = l.timed[:len(l.timed)-1]
	}
}

// nextTimer is the earliest deadline of the loop's own. Few connections dial or
// close at a time, so a list does.
func (l *Loop) nextTimer() time.Duration {
	next := time.Duration(maxTime)
	for _, c := range l.timed {
		next = min(next, c.timer)
	}
	for _, ln := range l.paused {
		next = min(next, ln.until)
	}
	return next
}

// expire acts on the deadlines that are over.
func (l *Loop) expire() {
	for i := len(l.timed) - 1; i >= 0; i-- {
		if i >= len(l.timed) || l.timed[i].timer > l.now {
			continue
		}
		switch c := l.timed[i]; c.state {
		case dialing:
			c.attemptEnded(unix.ETIMEDOUT)
		case closing:
			c.flushed(false)
		default:
			c.drop()
		}
	}
	for i := len(l.paused) - 1; i >= 0; i-- {
		if ln := l.paused[i]; ln.until <= l.now {
			ln.resume()
		}
	}
}
