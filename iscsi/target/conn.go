package target

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

const (
	stagingBytes  = 128 << 10
	loginData     = 8192      // longest data segment before full feature phase
	maxQueuedPDUs = 256       // beyond it the peer is not read
	maxQueuedData = 1 << 20   // bytes; likewise
	outputBytes   = 256 << 10 // of Data-In queued ahead of the transport
	placeBytes    = 16 << 10  // data segments from here on are received in place
	closeTimeout  = 5 * time.Second
)

// Want is what an engine wants of its socket.
type Want uint8

// Wants.
const (
	WantNothing Want = iota
	WantClose        // an orderly end; all output has been taken
	WantReset        // a reset
)

type connState uint8

const (
	stateLogin   connState = iota
	stateHeld              // login is over but for old tasks that are being aborted
	stateFull              // full feature phase
	stateClosing           // sends what is queued, then ends
	stateGone              // dead to the target; the socket may still be there
)

// Conn is the target's end of one connection. It implements loop.Stream.
type Conn struct {
	t      *Target
	portal int
	state  connState
	reset  bool // stateGone: the socket is to be reset
	silent bool // stateGone: half open: the peer is told nothing
	deaf   bool // something was swallowed: the stream cannot go on

	recv     *pdu.Receiver
	send     *pdu.Sender
	header   pdu.Header // scratch
	releases releaseQueue
	paused   bool
	resumed  bool
	swallow  []byte

	login  loginState
	params login.Params

	session *session
	cid     uint16
	statSN  uint32 // of the next status
	queue   taskQueue
	text    textState

	// Error recovery; level is that of the session.
	level       int
	acked       uint32 // all StatSNs before it are acknowledged
	unacked     answerQueue
	held        int       // bytes of data that are kept
	backlog     taskQueue // commands that wait for acknowledgements
	backlogAsks int       // NOP-Ins since then that did not help
	ackAsked    time.Duration
	ackRequests int // since the initiator was last heard
	failure     failure
	logoutBy    time.Duration // 0: it was not asked to log out

	lastRecv time.Duration
	pinged   time.Duration // when the NOP-In left that waits for an answer
	asked    bool          // there is one
	closeBy  time.Duration
}

func newConn(t *Target, now time.Duration, portal int) *Conn {
	c := &Conn{t: t, portal: portal, send: pdu.NewSender(), lastRecv: now}
	c.recv = pdu.NewReceiver(pdu.ReceiverConfig{
		MaxData: loginData, Placer: (*placer)(c), Buffer: stagingBytes,
	})
	c.login.by = now + t.cfg.LoginTimeout
	c.statSN = t.cfg.Rand.Uint32()
	return c
}

// Portal is the index of the portal at which the connection came in.
func (c *Conn) Portal() int { return c.portal }

// InLogin reports whether its login is not over yet.
func (c *Conn) InLogin() bool { return c.state == stateLogin || c.state == stateHeld }

// Connected is part of loop.Stream; connections of a target are accepted ones.
func (c *Conn) Connected(time.Duration) {}

func (c *Conn) port() *portal { return &c.t.portals[c.portal] }

// swallowing: what comes in is lost.
func (c *Conn) swallowing() bool {
	return c.state == stateGone || c.port().blackhole || c.deaf
}

// RecvBuffers is part of loop.Stream.
func (c *Conn) RecvBuffers(dst [][]byte) [][]byte {
	switch {
	case c.state == stateGone && !c.silent, c.port().stall, c.state == stateClosing:
		return dst
	case c.swallowing():
		if c.swallow == nil {
			c.swallow = make([]byte, 16<<10)
		}
		return append(dst, c.swallow)
	case c.paused, c.state == stateHeld:
		return dst
	}
	return c.recv.Buffers(dst)
}

// Received is part of loop.Stream.
func (c *Conn) Received(now time.Duration, n int) {
	if c.swallowing() {
		c.deaf = c.deaf || n > 0
		return
	}
	c.lastRecv = now
	c.asked, c.ackRequests = false, 0
	c.recv.Received(n)
	c.pump(now)
}

// SendBuffers is part of loop.Stream.
func (c *Conn) SendBuffers(dst [][]byte) [][]byte {
	if !c.HasOutput() {
		return dst
	}
	return c.send.Buffers(dst)
}

// Sent is part of loop.Stream.
func (c *Conn) Sent(now time.Duration, n int) {
	if n == 0 || c.state == stateGone {
		return
	}
	c.send.Sent(n)
	c.releaseSent()
	c.reap()
	c.pump(now)
}

// Closed is part of loop.Stream: the socket is gone.
func (c *Conn) Closed(now time.Duration, err error) {
	if c.state == stateFull {
		level := slog.LevelInfo
		if !errors.Is(err, io.EOF) {
			level = slog.LevelWarn
		}
		c.t.cfg.Log(level, "connection lost", "initiator", c.session.key.initiator,
			"cid", c.cid, "error", err)
	}
	c.lost(now)
	c.Released()
}

// Want is what is to be done with the socket. After WantClose or WantReset was
// done the transport calls Released.
func (c *Conn) Want() Want {
	switch p := c.port(); {
	case p.blackhole || p.stall: // nothing gets through, a reset neither
	case c.state == stateClosing && c.send.Len() == 0:
		return WantClose
	case c.state == stateGone && c.reset:
		return WantReset
	}
	return WantNothing
}

// Released says that the socket does not exist any more.
func (c *Conn) Released() {
	c.t.leave(c)
	c.state, c.reset, c.silent = stateGone, false, false
	c.dropOutput()
	if !c.failure.waits {
		c.forgetAnswers()
	}
	for i, o := range c.t.conns {
		if o == c {
			c.t.conns = append(c.t.conns[:i], c.t.conns[i+1:]...)
			break
		}
	}
}

// dropOutput forgets what was to be sent.
func (c *Conn) dropOutput() {
	c.send.Drop()
	c.releaseSent()
}

// HasOutput reports whether there is something to send now.
func (c *Conn) HasOutput() bool {
	return c.send.Len() > 0 && c.state != stateGone && !c.deaf &&
		!c.port().blackhole && !c.port().stall
}

// Resumed reports, once, that a connection which did not want to read wants to
// again, so that its socket is to be kicked.
func (c *Conn) Resumed() bool {
	r := c.resumed
	c.resumed = false
	return r
}

// pump handles what has been received, as far as there is room for answers, and
// queues Data-In.
func (c *Conn) pump(now time.Duration) {
	for c.state == stateLogin || c.state == stateFull {
		if c.backlogged() {
			c.paused = true
			break
		}
		if c.paused {
			c.paused, c.resumed = false, true
		}
		p, ok, err := c.recv.Next()
		if err != nil {
			c.streamError(now, err)
			break
		}
		if !ok {
			break
		}
		c.handle(now, &p)
	}
	c.fill(now)
}

func (c *Conn) backlogged() bool {
	return c.send.Len() > maxQueuedPDUs || c.send.Payload() > maxQueuedData
}

func (c *Conn) handle(now time.Duration, p *pdu.PDU) {
	if c.state == stateLogin {
		c.handleLogin(now, p)
		return
	}
	if len(c.t.faults.disturbances) > 0 && c.disturbReceived(p) {
		return
	}
	c.handleFull(now, p)
}

// streamError ends a connection whose stream cannot be followed (RFC 7143 section
// 7.8).
func (c *Conn) streamError(now time.Duration, err error) {
	c.t.cfg.Log(slog.LevelWarn, "protocol error", "portal", c.port().Address, "error", err)
	c.fail(now)
}

// fail resets a connection because of what came over it.
func (c *Conn) fail(now time.Duration) {
	c.reset = true
	c.lost(now)
}

// finish ends a connection in order, once what is queued has been sent.
func (c *Conn) finish(now time.Duration) {
	c.state = stateClosing
	c.closeBy = now + closeTimeout
	c.recv.Unplace()
}

// lost says that the connection is dead.
func (c *Conn) lost(now time.Duration) {
	s := c.session
	was := c.state
	c.state = stateGone
	if s != nil && was == stateFull {
		s.connLost(now, c)
	}
	c.t.leave(c)
}

// tick does what is due at now.
func (c *Conn) tick(now time.Duration) {
	switch c.state {
	case stateLogin, stateHeld:
		if now >= c.login.by {
			c.t.cfg.Log(slog.LevelWarn, "login timed out", "portal", c.port().Address)
			c.fail(now)
		}
	case stateClosing:
		if now >= c.closeBy {
			c.state, c.reset = stateGone, true
		}
	case stateFull:
		if c.logoutBy > 0 && now >= c.logoutBy {
			c.drop(now)
			return
		}
		c.tickNop(now)
		if c.state == stateFull {
			c.tickAck(now)
			c.fill(now)
		}
	}
}

func (c *Conn) deadline() time.Duration {
	switch c.state {
	case stateLogin, stateHeld:
		return c.login.by
	case stateClosing:
		return c.closeBy
	case stateFull:
		d := min(c.nopDeadline(), c.ackDeadline())
		if c.logoutBy > 0 {
			d = min(d, c.logoutBy)
		}
		return d
	}
	return Never
}

// placer gives the receiver the buffers of tasks.
type placer Conn

// Place implements pdu.Placer.
func (p *placer) Place(h *pdu.Header) []byte {
	c := (*Conn)(p)
	if c.state != stateFull || h.DataLen() < placeBytes || h.Opcode() != pdu.OpDataOut {
		return nil
	}
	d, err := pdu.ParseDataOut(h)
	if err != nil {
		return nil
	}
	k := c.session.tasks[d.ITT]
	if k == nil || k.conn != c || k.out.buf == nil {
		return nil
	}
	if uint64(d.Offset)+uint64(d.DataLen) > uint64(k.out.limit) {
		return nil
	}
	if c.level > 0 {
		// Only what is expected: data that comes twice is not written over what
		// is there.
		b := k.out.burst(d.TTT)
		if b == nil || d.Offset != b.next || d.DataSN != b.dataSN {
			return nil
		}
	}
	k.out.placing = true
	return k.out.buf.b[d.Offset:][:d.DataLen]
}
