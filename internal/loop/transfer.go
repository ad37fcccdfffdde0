package loop

import (
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// read serves each connection on the ready list once. Those with more to read
// than their share are at the end of the next list.
func (l *Loop) read() {
	list := l.ready
	l.ready = l.spare[:0]
	for i, c := range list {
		list[i] = nil
		c.queued = false
		switch c.state {
		case active:
			c.read()
		case closing, draining:
			c.readAway()
		}
	}
	l.spare = list[:0]
}

// flush serves each connection on the kicked list once.
func (l *Loop) flush() {
	list := l.kicked
	l.kicked = l.spare[:0]
	for i, c := range list {
		list[i] = nil
		c.kicked = false
		if (c.state == active || c.state == closing) && !c.blocked && c.fd >= 0 {
			c.write()
		}
		if c.state == active && c.wantless {
			c.wantless = false
			if c.readable {
				c.queue()
			}
		}
	}
	l.spare = list[:0]
}

// gatherIovecs makes iovecs of bufs, at most limit bytes, without allocation.
func (l *Loop) gatherIovecs(bufs [][]byte, limit int) (iov []unix.Iovec, total int) {
	n := 0
	for _, b := range bufs {
		if n == len(l.iov) || total == limit {
			break
		}
		if len(b) == 0 {
			continue
		}
		size := min(len(b), limit-total)
		l.iov[n].Base = unsafe.SliceData(b)
		l.iov[n].SetLen(size)
		total += size
		n++
	}
	return l.iov[:n], total
}

// letGo drops the loop's references to the engines' buffers.
func (l *Loop) letGo(bufs [][]byte, iov []unix.Iovec) {
	clear(bufs)
	clear(iov)
	if cap(bufs) >= cap(l.bufs) {
		l.bufs = bufs[:0]
	}
}

// read moves what the peer sent into the stream, up to the share of a round.
func (c *conn) read() {
	if c.fd < 0 {
		c.fail(c.cause) // Adopt could not serve it
		return
	}
	l := c.loop
	left := readShare
	for calls := 0; calls < readCalls && left > 0; calls++ {
		bufs := c.stream.RecvBuffers(l.bufs)
		if c.state != active {
			l.letGo(bufs, nil)
			return
		}
		iov, want := l.gatherIovecs(bufs, left)
		if want == 0 {
			l.letGo(bufs, nil)
			c.wantless = true
			c.checkGone()
			return
		}
		n, errno := recv(c.fd, iov)
		l.letGo(bufs, iov)
		c.wantless = false
		switch {
		case errno == unix.EAGAIN:
			c.readable = false
			if c.hup&hangup != 0 {
				c.fail(c.goneCause())
			}
			return
		case errno != 0:
			c.fail(fmt.Errorf("read: %w", errno))
			return
		case n == 0:
			c.readEnd()
			return
		}
		left -= n
		c.stream.Received(l.now, n)
		if c.state != active {
			return
		}
		if n < want && c.hup == 0 {
			// The socket is empty; what comes later makes a new edge.
			c.readable = false
			return
		}
	}
	c.queue()
}

// readEnd acts on the end of the peer's stream, everything before it being read.
func (c *conn) readEnd() {
	c.ended = true
	if c.cause != nil {
		c.fail(c.cause)
		return
	}
	c.fail(io.EOF)
}

// checkGone looks after the peer of a stream that wants no reading.
func (c *conn) checkGone() {
	if c.hup == 0 {
		return
	}
	if c.hup&hangup != 0 {
		c.fail(c.goneCause())
		return
	}
	switch n, errno := peek(c.fd, c.loop.scratch()); {
	case errno == 0 && n == 0:
		c.readEnd()
	case errno != 0 && errno != unix.EAGAIN:
		c.fail(fmt.Errorf("read: %w", errno))
	}
}

// readAway takes what the peer of a closing connection still sends, so that it
// is neither kept from reading by its own full buffers nor answered with a reset
// that would destroy what it has not read yet.
func (c *conn) readAway() {
	l := c.loop
	for calls := 0; calls < readCalls; calls++ {
		b := l.scratch()
		l.iov[0].Base = unsafe.SliceData(b)
		l.iov[0].SetLen(len(b))
		n, errno := recv(c.fd, l.iov[:1])
		l.iov[0] = unix.Iovec{}
		switch {
		case errno == unix.EAGAIN:
			c.readable = false
			return
		case errno != 0:
			c.fail(errno)
			return
		case n == 0:
			c.readable = false
			c.ended = true
			if c.state == draining {
				c.drop()
			}
			return
		}
	}
	c.queue()
}

func (l *Loop) scratch() []byte {
	if l.discard == nil {
		l.discard = make([]byte, discardSize)
	}
	return l.discard
}

// write sends what the stream has, up to the share of a round.
func (c *conn) write() {
	l := c.loop
	st := c.state
	left := writeShare
	for calls := 0; calls < writeCalls && left > 0; calls++ {
		bufs := c.stream.SendBuffers(l.bufs)
		if c.state != st {
			l.letGo(bufs, nil)
			return
		}
		iov, want := l.gatherIovecs(bufs, left)
		if want == 0 {
			l.letGo(bufs, nil)
			c.allSent()
			return
		}
		n, errno := send(c.fd, iov, &l.msg)
		l.msg.Iov = nil
		l.letGo(bufs, iov)
		switch {
		case errno == unix.EAGAIN:
			c.block()
			return
		case errno != 0:
			c.writeFailed(errno)
			return
		}
		left -= n
		c.stream.Sent(l.now, n)
		if c.state != st {
			return
		}
		if n < want {
			c.block()
			return
		}
	}
	c.pushKicked()
}

// allSent ends a backlog, or the sending part of an orderly close.
func (c *conn) allSent() {
	if c.armed {
		c.armed = false
		if err := c.loop.modify(c.fd, baseEvents); err != nil {
			panic("loop: " + err.Error())
		}
	}
	if c.state == closing {
		c.flushed(true)
	}
}

// block waits for the socket to take more. While a backlog lasts EPOLLOUT stays
// armed: the short write before it makes the kernel tell of the next room.
func (c *conn) block() {
	c.blocked = true
	if c.armed {
		return
	}
	c.armed = true
	if err := c.loop.modify(c.fd, baseEvents|unix.EPOLLOUT); err != nil {
		panic("loop: " + err.Error())
	}
}

// writeFailed leaves the connection to the next round's reads: what the peer
// said before it went away still counts.
func (c *conn) writeFailed(errno unix.Errno) {
	if c.state == closing {
		c.flushed(false)
		return
	}
	if errno != unix.EPIPE {
		c.cause = fmt.Errorf("write: %w", errno)
	}
	c.hup |= unix.EPOLLHUP
	c.blocked = true // nothing more is written
	c.readable = true
	c.queue()
}
