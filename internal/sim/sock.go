package sim

import (
	"errors"
	"io"
	"time"

	"braid/internal/loop"
)

type sockState uint8

const (
	sockDialing  sockState = iota
	sockActive             // the stream is served
	sockClosing            // the stream is only asked for what it still has to send
	sockDraining           // our direction is ended; what comes is thrown away
	sockClosed             // what comes is answered with a reset
)

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset by peer")
	errTimeout = errors.New("connection timed out")
)

// A sock is one end of a connection: the kernel's part, between a Stream and the lanes. It
// implements loop.Socket.
type sock struct {
	h      *host
	stream loop.Stream
	state  sockState
	out    *lane // nil until the peer is there

	rx      []byte
	rxCap   int
	from    *lane // fills rx
	connect bool  // established, and the stream does not know yet
	eof     bool
	broken  error // reset, refused

	wantless bool // the stream wanted nothing when it was last asked
	queued   bool
	kicked   bool
	blocked  bool // no room in the send buffer
	tap      *tap // nil: nobody listens
	served   bool // the daemon's end of a socket of the kernel: the stream is not closed
}

const (
	readCalls = 16
	readShare = 1 << 20
	closeTime = 2 * time.Second
)

func (s *sock) queue() {
	if !s.queued && s.state != sockClosed {
		s.queued = true
		s.h.ready = append(s.h.ready, s)
	}
}

// event says that something came for the socket.
func (s *sock) event() {
	if s.wantless && s.broken == nil && !s.eof {
		return
	}
	s.queue()
	s.h.soon()
}

// Kick implements loop.Socket.
func (s *sock) Kick() {
	if !s.kicked && s.state != sockClosed && s.state != sockDraining {
		s.kicked = true
		s.h.kicked = append(s.h.kicked, s)
	}
}

// Unacked implements loop.Socket.
func (s *sock) Unacked() int {
	if s.out == nil {
		return 0
	}
	return s.out.inflight
}

// Close implements loop.Socket.
func (s *sock) Close(reset bool) {
	switch {
	case s.state == sockClosed || s.state == sockDraining:
	case reset:
		s.state = sockClosed
		s.rx = nil
		if s.out != nil {
			s.out.abort()
		}
	case s.state == sockDialing:
		s.state = sockClosed
	case s.state == sockActive:
		s.state = sockClosing
		s.Kick()
		s.h.a.after(closeTime, call(s.closeTimeout))
	}
}

// closeTimeout ends a close that the peer does not go along with.
func (s *sock) closeTimeout() {
	if s.state == sockClosing {
		s.out.abort()
	}
	s.state = sockClosed
}

// vanish forgets the socket without a word to the peer.
func (s *sock) vanish() {
	s.state = sockClosed
	s.rx = nil
	if s.out != nil {
		s.out.truncate()
	}
}

// orphan is what the kernel does with the socket of a process that was killed: what was
// written to it is sent on, an end follows, and what comes is answered with a reset.
func (s *sock) orphan() {
	switch {
	case s.state == sockClosed, s.state == sockDraining:
	case s.out == nil, len(s.rx) == 0:
		if s.out != nil {
			s.out.push(nil, segFIN)
		}
	default:
		s.out.abort() // bytes that nobody read are an error
	}
	s.state, s.rx, s.kicked, s.queued = sockClosed, nil, false, false
	s.roomMade()
}

// fail ends the socket and tells the stream.
func (s *sock) fail(err error) {
	told := s.state < sockClosing
	s.state = sockClosed
	s.rx = nil
	if told {
		s.stream.Closed(s.h.a.now, err)
	}
}

// established says that the dialled connection is there.
func (s *sock) established() {
	if s.state == sockDialing {
		s.state, s.connect = sockActive, true
		s.event()
	}
}

// refuse ends a dial.
func (s *sock) refuse(err error) {
	if s.state == sockDialing {
		s.broken = err
		s.event()
	}
}

// read moves what came into the stream.
func (s *sock) read() {
	switch {
	case s.state == sockDialing && s.broken != nil:
		s.fail(s.broken)
		return
	case s.state == sockClosing || s.state == sockDraining:
		s.rx = s.rx[:0]
		s.roomMade()
		if s.broken != nil || s.eof && s.state == sockDraining {
			s.state = sockClosed
		}
		return
	case s.state != sockActive:
		return
	}
	if s.connect {
		s.connect = false
		s.stream.Connected(s.h.a.now)
		s.Kick()
	}
	total := 0
	for calls := 0; s.state == sockActive && len(s.rx) > 0; calls++ {
		if calls == readCalls || total >= readShare {
			s.queue()
			break
		}
		n := s.readOnce()
		if n == 0 {
			break
		}
		total += n
	}
	s.roomMade()
	if s.state != sockActive || len(s.rx) > 0 && !(s.wantless && s.broken != nil) {
		return
	}
	switch {
	case s.broken != nil:
		s.fail(s.broken)
	case s.eof:
		s.out.push(nil, segFIN)
		s.fail(io.EOF)
	}
}

func (s *sock) readOnce() int {
	bufs := s.stream.RecvBuffers(s.h.bufs[:0])
	defer clear(bufs)
	s.h.bufs = bufs
	s.wantless = len(bufs) == 0
	limit := s.h.portion(len(s.rx))
	n := 0
	for _, b := range bufs {
		k := copy(b, s.rx[n:limit])
		n += k
	}
	if n > 0 {
		if s.tap != nil {
			s.tap.received(s.rx[:n])
		}
		s.rx = s.rx[:copy(s.rx, s.rx[n:])]
		s.stream.Received(s.h.a.now, n)
	}
	return n
}

// roomMade lets the lane that fills rx go on.
func (s *sock) roomMade() {
	if s.from != nil && s.from.waiting && len(s.rx) < s.rxCap {
		s.from.waiting = false
		s.h.a.at(s.h.a.now, s.from)
	}
}

// write moves what the stream has to send into the lane.
func (s *sock) write() {
	if s.state == sockActive && s.wantless {
		s.wantless = false
		s.queue()
	}
	if s.state != sockActive && s.state != sockClosing || s.connect || s.out == nil {
		return
	}
	for calls := 0; calls < readCalls; calls++ {
		bufs := s.stream.SendBuffers(s.h.bufs[:0])
		s.h.bufs = bufs
		n := 0
		for _, b := range bufs {
			n += len(b)
		}
		if n == 0 {
			if s.state == sockClosing {
				s.state = sockDraining
				s.out.push(nil, segFIN)
			}
			return
		}
		room := s.out.capacity - s.out.inflight
		if room <= 0 {
			clear(bufs)
			s.blocked = true
			if s.tap != nil {
				s.tap.blocked = true
			}
			return
		}
		data := s.out.w.take(s.h.portion(min(n, room)))
		for _, b := range bufs {
			data = append(data, b[:min(len(b), cap(data)-len(data))]...)
		}
		clear(bufs)
		if s.tap != nil {
			s.tap.sent(data)
		}
		s.out.push(data, segData)
		s.stream.Sent(s.h.a.now, len(data))
		if s.state != sockActive && s.state != sockClosing {
			return
		}
	}
	s.Kick()
}
