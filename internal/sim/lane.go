package sim

import (
	"time"

	"braid/iscsi"
)

type segKind uint8

const (
	segData segKind = iota
	segSYN          // answers a dial
	segFIN
	segRST
)

// A seg is what one packet train carries.
type seg struct {
	kind segKind
	data []byte
	buf  []byte // all of what data was taken off
	at   time.Duration
}

// A lane is one direction of a connection: bytes that the sender's kernel has taken and
// the receiver's has not acknowledged. Its order is kept; its time is the wire's.
type lane struct {
	w        *wire
	way      way
	from, to *sock
	capacity int // bytes: the send buffer

	segs     []seg
	last     time.Duration // arrival of the newest
	inflight int           // bytes not acknowledged
	unacked  int           // bytes that arrived, whose acknowledgement did not
	waiting  bool          // for room in the receiver's buffer
	held     bool          // the wire is dark
	dead     bool          // reset: nothing more comes
	flips    int           // so many of the next segments get a wrong bit
}

// push puts something on its way.
func (l *lane) push(data []byte, kind segKind) {
	l.inflight += len(data)
	if l.dead {
		return // nobody acknowledges it
	}
	if l.flips > 0 && len(data) > 0 && l.protected() {
		l.flips--
		data[l.w.rng.IntN(len(data))] ^= 1 << l.w.rng.IntN(8)
		for _, s := range []*sock{l.from, l.to} {
			if s.tap != nil {
				s.tap.stop()
			}
		}
	}
	l.last = max(l.last, l.w.a.now+l.w.latency())
	l.segs = append(l.segs, seg{kind, data, data, l.last})
	l.w.a.at(l.last, l)
}

// protected reports whether what is sent from now on has digests: the login is over.
func (l *lane) protected() bool {
	for _, s := range []*sock{l.from, l.to} {
		if c, ok := s.stream.(*iscsi.Conn); ok {
			return c.State() == "up"
		}
	}
	return false
}

// act delivers what has arrived.
func (l *lane) act() {
	for len(l.segs) > 0 && !l.waiting && !l.held {
		s := &l.segs[0]
		switch {
		case s.at > l.w.a.now:
			l.w.a.at(s.at, l)
			return
		case l.w.dark[l.way] || l.to.h.off:
			if s.kind != segRST { // nobody sends a reset again
				l.held = true
				l.w.held = append(l.w.held, l)
				return
			}
		case l.to.state == sockClosed:
			l.bounce()
			return
		case !l.deliver(s):
			return
		}
		l.w.giveBack(s.buf)
		l.segs[0] = seg{}
		l.segs = l.segs[1:]
	}
}

// deliver gives one segment to the receiver; it is false if not all of it had room.
func (l *lane) deliver(s *seg) bool {
	switch s.kind {
	case segSYN:
		l.to.established()
		return true
	case segFIN:
		l.to.eof = true
		l.to.event()
		return true
	case segRST:
		l.to.broken = errReset
		if l.w.rng.IntN(2) == 0 && l.to.state == sockActive {
			l.to.rx = l.to.rx[:0] // what was not read yet is gone, or not
		}
		l.to.event()
		return true
	}
	n := min(len(s.data), l.to.rxCap-len(l.to.rx))
	if n > 0 {
		l.to.rx = append(l.to.rx, s.data[:n]...)
		l.acknowledge(n)
		l.to.event()
	}
	if s.data = s.data[n:]; len(s.data) > 0 {
		l.waiting = true
		return false
	}
	return true
}

// acknowledge frees the sender's buffer, when the sender hears of it.
func (l *lane) acknowledge(n int) {
	if l.w.dark[l.way.back()] {
		if l.unacked == 0 {
			l.w.silent = append(l.w.silent, l)
		}
		l.unacked += n
		return
	}
	l.inflight -= n
	if f := l.from; f.blocked {
		f.blocked = false
		f.Kick()
		f.h.soon()
	}
}

// bounce answers what came for a socket that is not there with a reset.
func (l *lane) bounce() {
	l.segs, l.dead = nil, true
	if !l.w.dark[l.way.back()] && l.from.state != sockClosed {
		l.w.a.after(l.w.latency(), call(func() {
			if l.from.state != sockClosed {
				l.from.broken = errReset
				l.from.event()
			}
		}))
	}
}

// abort ends the lane from its sender's side: what has not left is thrown away, and a
// reset follows what has.
func (l *lane) abort() {
	l.truncate()
	if !l.w.dark[l.way] {
		l.push(nil, segRST)
	}
	l.dead = true
}

// truncate throws away what has not left the sender; chance says how much that is.
func (l *lane) truncate() {
	if l.w.dark[l.way] || l.held {
		l.segs = nil
	} else if n := len(l.segs); n > 0 {
		l.segs = l.segs[:l.w.rng.IntN(n+1)]
	}
}

// sever ends the lane from the middle: a box on the way, or a kernel, gave up.
func (l *lane) sever() {
	l.truncate()
	l.push(nil, segRST)
	l.dead = true
}

// lit lets the lane go on after darkness.
func (l *lane) lit() {
	if l.held && !l.w.dark[l.way] && !l.to.h.off {
		l.held = false
		l.act()
	}
	if n := l.unacked; n > 0 && !l.w.dark[l.way.back()] {
		l.unacked = 0
		l.acknowledge(n)
	}
}
