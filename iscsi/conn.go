package iscsi

import (
	"io"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// Want is what a connection asks the transport to do.
type Want uint8

// Wants. WantClose sends first what SendBuffers still has; WantReset tears the
// connection down so that nothing queued leaves later (SO_LINGER 0).
const (
	WantNothing Want = iota
	WantDial
	WantClose
	WantReset
)

type connState uint8

const (
	connDialing connState = iota
	connLogin
	connUp
	connLogout // the session's logout is on its way
	connDead
)

var connStates = [...]string{"dialing", "login", "up", "logout", "dead"}

// A Conn is one TCP connection of a session, between the transport, which owns
// the socket, and the session. It is dialled once and never again: what replaces
// it is another Conn.
type Conn struct {
	s       *Session
	cid     uint16
	address string
	portal  int // index into Config.Portals
	state   connState

	// replaces is the lost connection whose CID it has; nil once it has logged in.
	replaces *recovery

	want     Want
	attached bool // the transport holds a socket, or dials one
	gone     bool // the transport is done with it

	in  *pdu.Receiver
	out *pdu.Sender

	// params are what its own login agreed on: digests and segment lengths.
	params login.Params

	// expStatSN is the next StatSN expected, RFC 7143 section 4.2.2.2; it
	// acknowledges all before it. stat tells what came beyond it.
	expStatSN uint32
	stat      statuses
	repair    repair

	login  loginPhase
	ping   ping
	pongs  ring[pong]
	abort  abort
	aborts ring[uint32] // tags of commands whose ABORT TASK waits its turn

	load      int          // bytes and commands out, to choose by
	ended     ring[uint32] // tags of tasks in taskEnded
	bursts    ring[uint32] // tags of tasks with unsolicited Data-Out to send
	transfers ring[uint32] // tags of tasks with Data-Out to send that R2Ts asked for

	// scratch is where headers are made; the Sender copies them.
	scratch pdu.Header

	life      time.Duration // when it last showed life
	sentBytes uint64
}

func newConn(s *Session, cid uint16, portal int, address string) *Conn {
	c := &Conn{s: s, cid: cid, portal: portal, address: address, want: WantDial}
	c.in = pdu.NewReceiver(pdu.ReceiverConfig{
		MaxData: max(s.cfg.Offer.MaxRecvDataSegmentLength, loginSegment),
		Placer:  c,
		Buffer:  stagingBytes,
	})
	c.out = pdu.NewSender()
	c.repair.init()
	return c
}

// CID is the connection's identifier within its session.
func (c *Conn) CID() uint16 { return c.cid }

// Address is the HOST:PORT to dial.
func (c *Conn) Address() string { return c.address }

// State is "dialing", "login", "up", "logout" or "dead".
func (c *Conn) State() string { return connStates[c.state] }

// Want says what the transport is to do now.
func (c *Conn) Want() Want { return c.want }

// Dialled says that the transport has begun to dial.
func (c *Conn) Dialled() {
	if c.want == WantDial {
		c.want, c.attached = WantNothing, true
	}
}

// Released says that the transport has closed the socket as it was asked to, or
// will without asking the connection again.
func (c *Conn) Released() {
	c.want, c.attached, c.gone = WantNothing, false, true
}

// Connected says that the dialled connection is established.
func (c *Conn) Connected(now time.Duration) {
	if c.state != connDialing {
		return
	}
	c.life = now
	if c.carries() {
		c.login.timeout = c.s.cfg.LoginTimeout / joinPatience
		c.login.deadline = now + c.login.timeout
	}
	if err := c.startLogin(); err != nil {
		c.s.connLost(now, c, err)
	}
}

// Closed says that the connection is gone; io.EOF means that the target ended it.
func (c *Conn) Closed(now time.Duration, err error) {
	if err == nil || err == io.EOF {
		err = errEndOfStream
	}
	if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() {
		c.life = now // the target, or its host, said so
	}
	c.Released()
	c.s.connLost(now, c, err)
}

// lastLife is when the target last showed life on c; nil was never dialled.
func (c *Conn) lastLife() time.Duration {
	if c == nil {
		return 0
	}
	return c.life
}

// fullFeature says whether the connection is in the full feature phase.
func (c *Conn) fullFeature() bool { return c.state == connUp || c.state == connLogout }

// RecvBuffers appends where received bytes belong.
func (c *Conn) RecvBuffers(dst [][]byte) [][]byte {
	if c.state == connDialing || c.state == connDead {
		return dst
	}
	return c.in.Buffers(dst)
}

// Received says that n bytes were put there.
func (c *Conn) Received(now time.Duration, n int) {
	if c.state == connDialing || c.state == connDead {
		return
	}
	c.life = now
	c.in.Received(n)
	for c.state != connDead {
		p, ok, err := c.in.Next()
		if err == nil && ok {
			err = c.handle(now, &p)
		}
		if err != nil {
			c.s.connLost(now, c, err)
			break
		}
		if !ok {
			break
		}
	}
	c.s.advance(now)
}

// SendBuffers appends the next bytes to send.
func (c *Conn) SendBuffers(dst [][]byte) [][]byte {
	if c.fullFeature() {
		c.fill()
	}
	return c.out.Buffers(dst)
}

// HasOutput says whether SendBuffers has anything.
func (c *Conn) HasOutput() bool {
	return c.out.Len()+c.bursts.len()+c.transfers.len()+c.pongs.len() > 0
}

// Sent says that the transport took n bytes, also after Released if it was asked to
// close in order.
func (c *Conn) Sent(now time.Duration, n int) {
	if n == 0 || c.out.Len() == 0 {
		return
	}
	c.out.Sent(n)
	c.sentBytes += uint64(n)
	c.s.lastSent = now
	c.releaseAll()
	c.s.advance(now)
}

// fill moves what waits for room into the Sender: answers to the target's pings,
// and Data-Out up to sendAhead.
func (c *Conn) fill() {
	for c.pongs.len() > 0 && c.out.Len() < maxSenderPDUs {
		c.sendPong(c.pongs.pop())
	}
	for more := true; more; {
		more = c.hasRoom() && c.sendBurst()
		more = c.hasRoom() && c.sendTurn() || more
	}
}

// maxSenderPDUs is how many PDUs may be queued before answers to pings wait: a
// target that does not read must not fill memory by pinging.
const maxSenderPDUs = 256

// hasRoom says whether more payload may be queued ahead of the transport.
func (c *Conn) hasRoom() bool { return c.out.Payload() < sendAhead }

// end makes the connection dead. With reset nothing more of it is sent.
func (c *Conn) end(reset bool) {
	if c.state == connDead {
		return
	}
	c.state = connDead
	c.bursts, c.transfers, c.pongs = ring[uint32]{}, ring[uint32]{}, ring[pong]{}
	c.ping, c.abort = ping{}, abort{}
	// Payload may be lent by commands that are handed back now, so that it
	// cannot be sent any more.
	reset = reset || c.out.Payload() > 0
	switch {
	case !c.attached:
		c.want, c.gone = WantNothing, true
	case reset:
		c.want = WantReset
	default:
		c.want = WantClose
	}
	if reset || c.gone {
		c.out.Drop()
	}
}
