package target

import (
	"log/slog"
	"math"
	"time"

	"braid/iscsi/scsi"
)

// Never is the Deadline of a target that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// Target is one iSCSI target with its portals, sessions and logical units. It is
// an engine: one goroutine calls its methods and those of its connections.
type Target struct {
	cfg     Config
	units   []*unit // by number
	portals []portal
	groups  []portGroup // by tag
	pool    buffers

	conns    []*Conn
	sessions []*session
	nexuses  []*nexus // in order of creation
	lastTSIH uint16
	lastID   uint32 // of nexuses
	lastTTT  uint32

	spare   []*task // free list
	delayed delayQueue
	serial  uint64        // orders what is due at the same time
	waiting []*task       // for a buffer, first come first served
	now     time.Duration // of the latest Tick

	failures int // connections that failed, whose tasks wait

	faults faultState
	script player
	sense  [64]byte // scratch
}

// portal is the state of one portal.
type portal struct {
	PortalConfig
	cut, blackhole, stall bool
	delayOf               Commands
	delayMin, delayMax    time.Duration
}

// New makes a target; an error says what in cfg cannot be.
func New(now time.Duration, cfg Config) (*Target, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := &Target{cfg: cfg}
	t.pool.limit = cfg.BufferBytes
	for _, p := range cfg.Portals {
		t.portals = append(t.portals, portal{PortalConfig: p})
	}
	t.makeGroups()
	if err := t.makeUnits(); err != nil {
		return nil, err
	}
	if cfg.Script != nil {
		t.Play(now, cfg.Script)
	}
	return t, nil
}

// Accept makes the engine's end of a connection that came in at a portal, which
// is an index into Config.Portals. Nil means that the connection is to be reset:
// the portal is cut, the target is down or has too many connections.
func (t *Target) Accept(now time.Duration, portal int) *Conn {
	p := &t.portals[portal]
	switch {
	case p.cut, now < t.faults.downUntil:
		return nil
	case len(t.conns) >= t.cfg.MaxConns:
		t.cfg.Log(slog.LevelWarn, "connection refused: too many", "connections", len(t.conns))
		return nil
	}
	c := newConn(t, now, portal)
	t.conns = append(t.conns, c)
	return c
}

// Conns are the connections whose sockets exist, in the order of acceptance. The
// slice is the target's own and good until the next call.
func (t *Target) Conns() []*Conn { return t.conns }

// Tick does what is due at now.
func (t *Target) Tick(now time.Duration) {
	t.now = now
	t.script.run(t, now)
	t.runDelayed(now)
	t.expire(now)
	for i := 0; i < len(t.conns); i++ {
		t.conns[i].tick(now)
	}
}

// Deadline is when Tick is wanted next.
func (t *Target) Deadline() time.Duration {
	d := min(t.script.deadline(), t.delayed.deadline(), t.expiry())
	for _, c := range t.conns {
		d = min(d, c.deadline())
	}
	return d
}

// A nexusKey names an I_T nexus (RFC 7143 section 4.4.2; the target's name is the
// same for all).
type nexusKey struct {
	initiator string
	isid      [6]byte
	group     int
}

// A nexus is what the target knows about an initiator port. It outlives sessions.
type nexus struct {
	key       nexusKey
	id        uint32
	last      *session     // the latest; it may be over
	attention []attentions // by index of the unit

	// forgotten by a restart: new to the target again. Only a cache that
	// outlived the restart still knows its writes by the id.
	forgotten bool
}

func (t *Target) findNexus(key nexusKey) *nexus {
	for _, n := range t.nexuses {
		if n.key == key {
			return n
		}
	}
	return nil
}

// openNexus gives the nexus of a new session, with its unit attentions.
func (t *Target) openNexus(key nexusKey) *nexus {
	n := t.findNexus(key)
	if n != nil && !n.forgotten {
		if t.cfg.FirstAttention != AttentionNone {
			n.attend(nexusLossOccurred)
		}
		return n
	}
	if n == nil {
		if len(t.nexuses) >= maxNexuses {
			t.forgetNexus()
		}
		t.lastID++
		n = &nexus{key: key, id: t.lastID}
		t.nexuses = append(t.nexuses, n)
	}
	n.forgotten = false
	n.attention = make([]attentions, len(t.units))
	switch {
	case t.faults.restarted || t.cfg.FirstAttention == AttentionPowerOn:
		n.attend(powerOnOccurred)
	case t.cfg.FirstAttention == AttentionReset:
		n.attend(resetOccurred)
	}
	return n
}

// forgetNexus drops the oldest nexus without a session. There is one: sessions
// are fewer than nexuses may be.
func (t *Target) forgetNexus() {
	for i, n := range t.nexuses {
		if n.last == nil || n.last.over && n.last.stored == 0 {
			t.nexuses = append(t.nexuses[:i], t.nexuses[i+1:]...)
			return
		}
	}
}

// asc is an additional sense code with its qualifier.
type asc struct{ code, qualifier uint8 }

var (
	resetOccurred      = asc{0x29, 0x00} // power on, reset, or bus device reset
	powerOnOccurred    = asc{0x29, 0x01}
	unitResetOccurred  = asc{0x29, 0x03} // bus device reset function
	nexusLossOccurred  = asc{0x29, 0x07}
	accessChanged      = asc{0x2a, 0x06} // asymmetric access state
	commandsWereClosed = asc{0x2f, 0x00} // commands cleared by another initiator
)

// attentions are the pending unit attentions of one nexus at one logical unit.
type attentions struct {
	list [4]asc
	n    int
}

// add puts a unit attention last. A power on or reset takes the place of all
// others (SAM-5 section 5.14).
func (a *attentions) add(x asc) {
	if x == resetOccurred || x == powerOnOccurred {
		a.n = 0
	}
	for _, y := range a.list[:a.n] {
		if y == x {
			return
		}
	}
	if a.n < len(a.list) {
		a.list[a.n] = x
		a.n++
	}
}

// take removes the first.
func (a *attentions) take() scsi.Sense {
	x := a.list[0]
	a.n--
	copy(a.list[:], a.list[1:])
	return scsi.Sense{Key: scsi.UnitAttention, ASC: x.code, ASCQ: x.qualifier}
}

// attend adds a unit attention at every logical unit.
func (n *nexus) attend(x asc) {
	for i := range n.attention {
		n.attention[i].add(x)
	}
}

func (t *Target) nextTSIH() uint16 {
	for {
		t.lastTSIH++
		if t.lastTSIH != 0 && t.findSession(t.lastTSIH) == nil {
			return t.lastTSIH
		}
	}
}

func (t *Target) nextTTT() uint32 {
	t.lastTTT++
	if t.lastTTT == 0xffffffff {
		t.lastTTT = 1
	}
	return t.lastTTT
}
