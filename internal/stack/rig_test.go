package stack

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
	"braid/mpath"
	"braid/nbd"
)

// A rig is a whole device without sockets: an NBD client's bytes, the stack, a target, and
// pipes of memory between them.
type rig struct {
	t      testing.TB
	now    time.Duration
	stack  *Stack
	target *target.Target
	pipes  []*pipe
	client *nbdClient

	closed  map[int]bool // portals at which nobody listens
	refused []loop.Stream
}

// shape is what a rig consists of.
type shape struct {
	sessions    int
	connections int // of each session
	digests     bool
	retain      uint64
	level       int
	vendor      string           // of the LUN
	lost        *mpath.LostNexus // what a former process left in each slot
}

const rigBytes = 16 << 20

func newRig(t testing.TB, s shape) *rig {
	r := &rig{t: t, now: time.Second}
	ram, err := target.NewRAM(rigBytes, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := target.Config{Name: "iqn.2026-01.net.example:t", ErrorRecoveryLevel: s.level,
		DefaultTime2Retain: 20,
		LUNs: []target.LUNConfig{
			{Number: 1, Store: ram, WriteCache: true, Vendor: s.vendor}}}
	digest := login.DigestNone
	if s.digests {
		digest = login.DigestCRC32C
	}
	own := Config{Network: r, Pool: heap{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Device: mpath.Config{NoPath: mpath.Forever, Coherent: true, Retain: s.retain}}
	for i := range s.sessions {
		offer := login.DefaultOffer()
		offer.InitiatorName, offer.TargetName = "iqn.2026-01.net.example:i", cfg.Name
		offer.HeaderDigest, offer.DataDigest = digest, digest
		offer.ErrorRecoveryLevel = s.level
		c := iscsi.Config{Offer: offer, LUN: scsi.EncodeLUN(1), ISID: [6]byte{0x80, 0, 0, 0, 0, byte(i)}}
		for range s.connections {
			address := fmt.Sprintf("192.0.2.1:%d", 3260+len(cfg.Portals))
			cfg.Portals = append(cfg.Portals, target.PortalConfig{Address: address, Group: 1})
			c.Portals = append(c.Portals, address)
		}
		own.Sessions = append(own.Sessions, c)
		own.Device.Slots = append(own.Device.Slots, mpath.SlotConfig{Target: cfg.Name,
			Lost: s.lost})
	}
	if r.target, err = target.New(r.now, cfg); err != nil {
		t.Fatal(err)
	}
	r.stack = New(r.now, own)
	r.until("the device is ready", func() bool {
		up := 0
		for _, p := range r.stack.dev.Status(r.now).Paths {
			if p.State == "active" {
				up++
			}
		}
		return r.stack.server != nil && up == s.sessions
	})
	r.client = newNBDClient(r)
	return r
}

// until runs until something holds; time passes when nothing else happens.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for range 10000 {
		if holds() {
			return
		}
		if !r.step() {
			r.now += time.Millisecond
		}
	}
	r.t.Fatalf("it never came about that %s", what)
}

// step lets everybody do what can be done at once, and reports whether any byte moved.
func (r *rig) step() bool {
	r.stack.Step(r.now)
	r.target.Tick(r.now)
	for _, s := range r.refused {
		s.Closed(r.now, syscall.ECONNREFUSED)
	}
	r.refused = nil
	moved := false
	for _, p := range r.pipes {
		moved = p.move(r.now, p.near, p.far) || moved
		moved = p.move(r.now, p.far, p.near) || moved
	}
	return moved
}

// Dial is the stack's network: the far end is the target's.
func (r *rig) Dial(address string, s loop.Stream) loop.Socket {
	var portal int
	fmt.Sscanf(address, "192.0.2.1:%d", &portal)
	portal -= 3260
	if r.closed[portal] {
		r.refused = append(r.refused, s)
		return &pipe{closed: true}
	}
	p := &pipe{near: s, far: r.target.Accept(r.now, portal), portal: portal}
	r.pipes = append(r.pipes, p)
	s.Connected(r.now)
	return p
}

// A pipe is a connection without a network.
type pipe struct {
	near, far loop.Stream
	from, to  [][]byte
	closed    bool
	portal    int
}

func (p *pipe) Kick()        {}
func (p *pipe) Close(bool)   { p.closed = true }
func (p *pipe) Unacked() int { return 0 }

// move takes to one end what the other has to send.
func (p *pipe) move(now time.Duration, from, to loop.Stream) bool {
	if p.closed {
		return false
	}
	p.from, p.to = from.SendBuffers(p.from[:0]), to.RecvBuffers(p.to[:0])
	moved, i, k := 0, 0, 0
	for i < len(p.from) && k < len(p.to) {
		n := copy(p.to[k], p.from[i])
		moved += n
		if p.from[i] = p.from[i][n:]; len(p.from[i]) == 0 {
			i++
		}
		if p.to[k] = p.to[k][n:]; len(p.to[k]) == 0 {
			k++
		}
	}
	if moved == 0 {
		return false
	}
	from.Sent(now, moved)
	to.Received(now, moved)
	return true
}

// heap is a pool of ordinary memory.
type heap struct{}

var spare [nbd.Chunk/4096 + 1][][]byte

func (heap) Get(n int) []byte {
	k := (n + 4095) / 4096
	if l := spare[k]; len(l) > 0 {
		spare[k] = l[:len(l)-1]
		return l[len(l)-1][:n]
	}
	return make([]byte, k*4096)[:n]
}

func (heap) Put(b []byte) {
	k := cap(b) / 4096
	spare[k] = append(spare[k], b)
}

// An nbdClient speaks NBD's bytes: requests in batches, replies as they come.
type nbdClient struct {
	rig  *rig
	send []byte
	sent int
	recv []byte
	have int
	skip int
	done int
	want int // bytes of payload in a reply
}

func newNBDClient(r *rig) *nbdClient {
	c := &nbdClient{rig: r, recv: make([]byte, 1<<20)}
	p := &pipe{far: c, portal: -1}
	conn := r.stack.Accept(r.now, p)
	if conn == nil {
		r.t.Fatal("the client was turned away")
	}
	p.near = conn
	r.pipes = append(r.pipes, p)
	c.skip = 18 // the greeting
	c.send = binary.BigEndian.AppendUint32(nil, 3)
	c.send = binary.BigEndian.AppendUint64(c.send, protocol.NEGOTIATION_MAGIC_OPTION)
	c.send = binary.BigEndian.AppendUint32(c.send, protocol.NEGOTIATION_ID_OPTION_GO)
	c.send = binary.BigEndian.AppendUint32(c.send, 6)
	c.send = append(c.send, make([]byte, 6)...)
	begun := false
	for range 100 {
		r.step()
		begun = begun || c.have > 0
	}
	if !begun || len(c.send) > 0 {
		r.t.Fatal("the handshake did not end")
	}
	c.have, c.skip = 0, 0
	return c
}

// ask queues one request.
func (c *nbdClient) ask(command uint16, offset uint64, n int) {
	c.send = binary.BigEndian.AppendUint32(c.send, protocol.TRANSMISSION_MAGIC_REQUEST)
	c.send = binary.BigEndian.AppendUint16(c.send, 0)
	c.send = binary.BigEndian.AppendUint16(c.send, command)
	c.send = binary.BigEndian.AppendUint64(c.send, 0)
	c.send = binary.BigEndian.AppendUint64(c.send, offset)
	c.send = binary.BigEndian.AppendUint32(c.send, uint32(n))
	c.want = 0
	switch command {
	case protocol.TRANSMISSION_TYPE_REQUEST_READ:
		c.want = n
	case protocol.TRANSMISSION_TYPE_REQUEST_WRITE:
		c.send = append(c.send, zeroes[:n]...)
	}
}

var zeroes [1 << 20]byte

func (c *nbdClient) Connected(time.Duration)           {}
func (c *nbdClient) Closed(time.Duration, error)       {}
func (c *nbdClient) RecvBuffers(dst [][]byte) [][]byte { return append(dst, c.recv[c.have:]) }
func (c *nbdClient) SendBuffers(dst [][]byte) [][]byte {
	if len(c.send) == 0 {
		return dst
	}
	return append(dst, c.send[c.sent:])
}

func (c *nbdClient) Sent(_ time.Duration, n int) {
	if c.sent += n; c.sent == len(c.send) {
		c.send, c.sent = c.send[:0], 0
	}
}

// Received counts whole replies without an error.
func (c *nbdClient) Received(_ time.Duration, n int) {
	b := c.recv[:c.have+n]
	for {
		k := min(c.skip, len(b))
		c.skip -= k
		if b = b[k:]; c.skip > 0 || len(b) < 16 {
			break
		}
		if binary.BigEndian.Uint32(b) != protocol.TRANSMISSION_MAGIC_REPLY {
			break // the handshake's
		}
		if e := binary.BigEndian.Uint32(b[4:]); e != 0 {
			c.rig.t.Fatalf("a request failed with %d", e)
		}
		b = b[16:]
		c.skip = c.want
		c.done++
	}
	c.have = copy(c.recv, b)
}
