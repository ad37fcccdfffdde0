package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

type clientState uint8

const (
	clientDown    clientState = iota // no connection
	clientHello                      // connecting, up to the server's greeting
	clientOptions                    // waits for answers to its options
	clientReady
	clientGone // takes its leave
)

// handshake is how a client comes to its export.
type handshake uint8

const (
	byGo      handshake = iota
	byReplies           // GO, with structured replies
	byName              // EXPORT_NAME
	byKernel            // it is Linux, and a socket is handed to it: there is none
)

// A client is an NBD client with at most one connection at a time.
type client struct {
	w      *world
	index  int
	style  handshake
	sock   *sock
	link   *link
	state  clientState
	daemon int    // which one it is connected to
	turn   uint64 // counts its connections
	trying bool   // and was not served since
	anew   bool   // the daemon is another one, of which nothing was asked yet

	out     []byte
	size    uint64
	flags   uint16
	waiting []*request          // to be sent when it is ready
	pending map[uint32]*request // sent
}

func (c *client) connect() {
	c.state, c.out = clientHello, nil
	c.link = &link{c: c}
	c.anew = c.anew || c.daemon != c.w.daemon.number
	c.daemon = c.w.daemon.number
	c.turn++
	if !c.trying {
		c.w.logf("client %d connects", c.index)
	}
	c.trying = true
	if c.style == byKernel {
		c.sock = c.w.kerWire.dial(c.link)
		return
	}
	c.sock = c.w.nbdWire.dial(c.link)
}

// reconnect connects after a while.
func (c *client) reconnect(d time.Duration) {
	c.state = clientDown
	c.w.agenda.after(d, call(func() {
		switch {
		case c.state != clientDown:
		case c.served():
			c.reconnect(d)
		default:
			c.connect()
		}
	}))
}

// served reports whether the daemon still reads the kernel's old socket. It makes a new one
// only when that is over.
func (c *client) served() bool {
	if c.style != byKernel || c.w.daemon.dead {
		return false
	}
	far := c.w.kerWire.other(c.sock)
	return far != nil && far.served
}

// drop ends the connection: nobody waits for what is under way any more.
func (c *client) drop(reset bool) {
	if c.state == clientDown || c.state == clientGone {
		return
	}
	c.w.logf("client %d drops its connection, %d requests open", c.index, len(c.pending))
	c.link = nil
	c.sock.Close(reset)
	c.w.clients.soon()
	c.forget()
	c.reconnect(time.Duration(1+c.w.work.rng.IntN(500)) * time.Millisecond)
}

// forget gives up what is under way. The kernel does not: it asks again on its next socket.
func (c *client) forget() {
	if c.style == byKernel {
		return
	}
	for id := range uint32(len(c.w.audit.ops)) {
		if r := c.pending[id]; r != nil {
			delete(c.pending, id)
			c.w.logf("client %d lost %v", c.index, r)
			c.w.audit.lost(r)
			c.w.work.freed(c)
		}
	}
}

// send sends a request, or keeps it until it can be sent.
func (c *client) send(r *request) {
	if c.state != clientReady {
		c.waiting = append(c.waiting, r)
		return
	}
	if r.kind == opTrim && c.flags&nbdCanTrim == 0 {
		r.kind = opZero
	}
	r.started, r.client = c.w.agenda.now, c.index
	c.w.audit.begin(r)
	c.pending[r.id] = r
	c.w.logf("client %d sends %v", c.index, r)
	c.put(r)
}

// put puts a request on the connection.
func (c *client) put(r *request) {
	r.daemon = c.daemon
	bs := c.w.cfg.BlockSize
	c.out = appendRequest(c.out, r, c.handle(r), bs)
	if r.kind == opWrite {
		c.out = slices.Grow(c.out, int(r.n)*bs)
		for lba := r.lba; lba < r.lba+r.n; lba++ {
			n := len(c.out)
			c.out = c.out[:n+bs]
			stamp(c.out[n:], r.id, lba)
		}
	}
	c.sock.Kick()
	c.w.clients.soon()
}

// handle is another one each time that a request is sent.
func (c *client) handle(r *request) uint64 { return uint64(r.id) | c.turn<<40 }

// leave takes an orderly leave.
func (c *client) leave() {
	if c.state != clientReady {
		return
	}
	b := make([]byte, 28)
	binary.BigEndian.PutUint32(b, nbdRequest)
	binary.BigEndian.PutUint16(b[6:], 2) // NBD_CMD_DISC
	c.out = append(c.out, b...)
	c.state = clientGone
	c.sock.Kick()
	c.w.clients.soon()
}

// A link is one connection of a client; an old one goes on to exist while its socket is
// being closed, and then has nothing to say. It implements loop.Stream.
type link struct {
	c  *client
	in []byte
}

func (l *link) old() bool { return l.c.link != l }

// Connected implements loop.Stream.
func (l *link) Connected(time.Duration) {
	if c := l.c; !l.old() && c.style == byKernel {
		c.resume()
	}
}

// resume is what the kernel does with a new socket: what was not answered on the old one
// is asked again, in any order, before anything else.
func (c *client) resume() {
	info := c.w.daemon.stack.Info()
	c.flags, c.size = info.TransmissionFlags(), info.Size
	var again []*request
	for id := range uint32(len(c.w.audit.ops)) {
		if r := c.pending[id]; r != nil {
			again = append(again, r)
		}
	}
	c.w.clients.rng.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
	for _, r := range again {
		c.w.logf("client %d sends %v again", c.index, r)
		c.w.audit.again(r)
		c.put(r)
	}
	c.w.resent += len(again)
	c.serve()
}

// RecvBuffers implements loop.Stream.
func (l *link) RecvBuffers(dst [][]byte) [][]byte {
	n := len(l.in)
	if cap(l.in)-n < 4<<10 {
		grown := make([]byte, n, 2*n+64<<10)
		copy(grown, l.in)
		l.in = grown
	}
	return append(dst, l.in[n:cap(l.in)])
}

// Received implements loop.Stream.
func (l *link) Received(_ time.Duration, n int) {
	l.in = l.in[:len(l.in)+n]
	at := 0
	for !l.old() {
		k, err := l.c.parse(l.in[at:])
		if err != nil {
			l.c.w.audit.find("client %d: %v", l.c.index, err)
		}
		if err != nil || k == 0 {
			break
		}
		at += k
	}
	l.in = l.in[:copy(l.in, l.in[at:])]
}

// SendBuffers implements loop.Stream.
func (l *link) SendBuffers(dst [][]byte) [][]byte {
	if !l.old() && len(l.c.out) > 0 {
		dst = append(dst, l.c.out)
	}
	return dst
}

// Sent implements loop.Stream.
func (l *link) Sent(_ time.Duration, n int) {
	if l.c.out = l.c.out[n:]; len(l.c.out) == 0 {
		l.c.out = nil
	}
}

// Closed implements loop.Stream.
func (l *link) Closed(_ time.Duration, err error) {
	c := l.c
	if l.old() || c.state == clientGone {
		return
	}
	if c.state != clientHello && c.daemon == c.w.daemon.number &&
		!c.w.daemon.dead && !c.w.daemon.stopping {
		c.w.audit.find("client %d: the server ended the connection: %v", c.index, err)
	}
	c.link = nil
	c.forget()
	c.reconnect(100 * time.Millisecond)
}

// parse takes one thing that the server said off b and returns its length, 0 if it is not
// whole yet.
func (c *client) parse(b []byte) (int, error) {
	switch c.state {
	case clientHello:
		return c.parseGreeting(b)
	case clientOptions:
		return c.parseOptionReply(b)
	case clientReady:
		return c.parseReply(b)
	}
	return 0, nil
}

func (c *client) parseGreeting(b []byte) (int, error) {
	if len(b) < 18 {
		return 0, nil
	}
	if binary.BigEndian.Uint64(b) != nbdMagic || binary.BigEndian.Uint64(b[8:]) != nbdOption ||
		binary.BigEndian.Uint16(b[16:])&1 == 0 {
		return 0, fmt.Errorf("greeting is % x", b[:18])
	}
	c.out = append(c.out, 0, 0, 0, 3) // fixed newstyle, no zeroes
	if c.style == byReplies {
		c.out = appendOption(c.out, nbdOptStructured, nil)
	}
	if c.style == byName {
		c.out = appendOption(c.out, nbdOptExportName, []byte("disk"))
	} else {
		c.out = appendOption(c.out, nbdOptGo, append([]byte{0, 0, 0, 4}, "disk\x00\x00"...))
	}
	c.sock.Kick()
	c.state = clientOptions
	return 18, nil
}

func (c *client) parseOptionReply(b []byte) (int, error) {
	if c.style == byName {
		if len(b) < 10 {
			return 0, nil
		}
		c.ready(b)
		return 10, nil
	}
	if len(b) < 20 {
		return 0, nil
	}
	n := 20 + int(binary.BigEndian.Uint32(b[16:]))
	if binary.BigEndian.Uint64(b) != nbdOptionReply || n > 4096 {
		return 0, fmt.Errorf("answer to an option is % x", b[:20])
	}
	if len(b) < n {
		return 0, nil
	}
	option, kind := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	switch {
	case kind == nbdRepInfo && option == nbdOptGo:
		if binary.BigEndian.Uint16(b[20:]) == 0 { // NBD_INFO_EXPORT
			c.size, c.flags = binary.BigEndian.Uint64(b[22:]), binary.BigEndian.Uint16(b[30:])
		}
	case kind == nbdRepAck && option == nbdOptGo:
		c.ready(nil)
	case kind == nbdRepShutdown && c.w.daemon.stopping:
	case kind != nbdRepAck:
		return 0, fmt.Errorf("option %d is answered with %#x", option, kind)
	}
	return n, nil
}

// ready begins transmission.
func (c *client) ready(export []byte) {
	if export != nil {
		c.size, c.flags = binary.BigEndian.Uint64(export), binary.BigEndian.Uint16(export[8:])
	}
	bs, cfg := uint64(c.w.cfg.BlockSize), &c.w.cfg
	if n := c.size / bs; n < cfg.Blocks-cfg.Growth || n > cfg.Blocks-c.w.growth {
		c.w.audit.find("client %d: the export has %d blocks", c.index, n)
	}
	c.serve()
}

// serve sends what waited for the connection.
func (c *client) serve() {
	c.state, c.trying = clientReady, false
	c.w.audit.crash.arrived(c.index, c.w.audit.moment, c.style == byKernel)
	waiting := c.waiting
	c.waiting = nil
	for _, r := range waiting {
		c.send(r)
	}
}

func (c *client) parseReply(b []byte) (int, error) {
	r, ok, err := parseReply(b, func(handle uint64) (uint64, int, error) {
		q := c.pending[uint32(handle)]
		if q == nil || handle != c.handle(q) {
			return 0, 0, fmt.Errorf("answer to request %#x, which is not open", handle)
		}
		bs := uint64(c.w.cfg.BlockSize)
		if q.kind != opRead {
			return q.lba * bs, 0, nil
		}
		return q.lba * bs, int(q.n * bs), nil
	})
	if !ok || err != nil {
		return 0, err
	}
	q := c.pending[uint32(r.handle)]
	delete(c.pending, q.id)
	c.w.logf("client %d gets %v: %d %s%s", c.index, q, r.errno, r.text, c.w.describe(q, r.data))
	c.w.audit.end(q, r.errno, r.data)
	c.w.work.freed(c)
	return r.size, nil
}
