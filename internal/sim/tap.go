package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// A tap listens to what the initiator sends and receives on one connection, with a decoder
// of its own, and holds it against RFC 7143: numbers are not used twice, what is
// acknowledged has come, and what has come is acknowledged soon. It knows PDUs, and no engine.
type tap struct {
	w       *world
	near    *sock
	digests bool // of headers and data, once the login is over
	full    bool // full feature phase
	deaf    bool // the stream cannot be followed any more
	session *tapSession
	cid     uint16

	in, out []byte // of a PDU that is not whole yet
	statSN  uint32 // of the last status that was taken in
	counted bool   // there was one
	acked   uint32 // the last ExpStatSN
	since   time.Duration
	blocked bool // since then the socket took nothing for a while
}

// A tapSession is what the connections of a session share.
type tapSession struct {
	used  map[uint32]uint32 // CmdSN -> ITT
	conns map[uint16]*tap   // CID -> the last connection that had it
	max   uint32            // MaxCmdSN
	blind bool              // one of its connections is not listened to any more
}

const (
	tapHeader   = 48
	tapLogin    = 0x23 // Login Response
	tapData     = 0x25 // Data-In
	tapR2T      = 0x31
	tapNopIn    = 0x20
	tapLogout   = 0x06
	tapSNACK    = 0x10
	tapSoon     = 10 * time.Millisecond
	tapReserved = 0xffffffff
)

// stop ends the listening: a bit is to be wrong, and the stream cannot be followed then.
func (t *tap) stop() {
	t.deaf = true
	if t.session != nil {
		t.session.blind = true
	}
}

// whole takes PDUs off b and gives each to do; the rest is returned.
func (t *tap) whole(b []byte, do func(h, data []byte)) []byte {
	for len(b) >= tapHeader && !t.deaf {
		n := tapHeader + 4*int(b[4])
		size := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
		digest := 0
		if t.full && t.digests {
			digest = 4
		}
		n += digest
		total := n + (size+3)&^3
		if size > 0 {
			total += digest
		}
		if len(b) < total {
			break
		}
		do(b[:tapHeader], b[n:n+size])
		b = b[total:]
	}
	return b
}

// received takes in what the initiator has just read.
func (t *tap) received(data []byte) {
	if !t.deaf {
		rest := t.whole(append(t.in, data...), t.response)
		t.in = append(t.in[:0], rest...)
	}
}

// sent takes in what the initiator has just written.
func (t *tap) sent(data []byte) {
	if !t.deaf {
		rest := t.whole(append(t.out, data...), t.request)
		t.out = append(t.out[:0], rest...)
	}
}

func (t *tap) response(h, _ []byte) {
	op := h[0] & 0x3f
	switch {
	case op == tapLogin:
		t.loggedIn(h)
	case op == tapR2T, op == tapNopIn && binary.BigEndian.Uint32(h[16:]) == tapReserved:
		// They have a StatSN that does not advance.
	case op != tapData || h[1]&1 != 0:
		// One that was asked for again comes after newer ones.
		if sn := binary.BigEndian.Uint32(h[24:]); int32(sn-t.statSN) > 0 {
			t.statSN = sn
		}
		t.since, t.blocked = t.w.agenda.now, false
	}
	if s := t.session; s != nil {
		if m := binary.BigEndian.Uint32(h[32:]); int32(m-s.max) > 0 {
			s.max = m
		}
	}
}

// loggedIn looks whether a Login Response is the last one.
func (t *tap) loggedIn(h []byte) {
	t.statSN, t.counted = binary.BigEndian.Uint32(h[24:]), true
	t.since, t.blocked = t.w.agenda.now, false
	if h[36] != 0 || h[1]&0x80 == 0 || h[1]&3 != 3 {
		return
	}
	t.full = true
	key := fmt.Sprint(binary.BigEndian.Uint16(h[14:]), " of ", t.near.from.w.far.name)
	t.session = t.w.taps[key]
	if t.session == nil {
		t.session = &tapSession{used: map[uint32]uint32{}, conns: map[uint16]*tap{},
			max: binary.BigEndian.Uint32(h[32:])}
		t.w.taps[key] = t.session
	}
	t.session.conns[t.cid] = t
	t.acked = t.statSN + 1
}

var poisonRun = bytes.Repeat([]byte{poison}, 32)

func (t *tap) request(h, data []byte) {
	if !t.full {
		t.cid = binary.BigEndian.Uint16(h[20:])
		return
	}
	find := t.w.audit.find
	op, itt := h[0]&0x3f, binary.BigEndian.Uint32(h[16:])
	if bytes.Contains(data, poisonRun) {
		find("a PDU of opcode %#02x, ITT %#x, carries memory that was given back", op, itt)
	}
	t.acknowledges(op, itt, h)
	if op == 0x05 || op == tapSNACK || h[0]&0x40 != 0 { // Data-Out has no CmdSN
		return
	}
	sn := binary.BigEndian.Uint32(h[24:])
	if was, used := t.session.used[sn]; used && was != itt {
		find("CmdSN %d is used for ITT %#x, and was for %#x", sn, itt, was)
	}
	t.session.used[sn] = itt
	if int32(sn-t.session.max) > 0 && !t.session.blind {
		find("CmdSN %d is beyond MaxCmdSN %d", sn, t.session.max)
	}
}

// acknowledges holds ExpStatSN of a request against what has come.
func (t *tap) acknowledges(op byte, itt uint32, h []byte) {
	find := t.w.audit.find
	acks, of := binary.BigEndian.Uint32(h[28:]), t.acknowledged(op, h)
	late := !t.blocked && t.w.agenda.now-t.since > tapSoon && t.w.cfg.Level*t.w.cfg.TargetLevel == 0
	switch {
	case op == tapSNACK, of == nil, !of.counted:
	case int32(acks-of.statSN-1) > 0:
		find("opcode %#02x, ITT %#x: ExpStatSN %d acknowledges what has not come: the last is %d",
			op, itt, acks, of.statSN)
	case of != t && int32(acks-of.acked) < 0:
		find("opcode %#02x, ITT %#x: ExpStatSN %d of a connection that acknowledged %d before",
			op, itt, acks, of.acked)
	case late && acks != of.statSN+1:
		find("opcode %#02x, ITT %#x: ExpStatSN is %d, %v after status %d has come", op, itt, acks,
			t.w.agenda.now-t.since, of.statSN)
	}
	if of == t && int32(acks-t.acked) > 0 {
		t.acked = acks
	}
}

// acknowledged is the connection that ExpStatSN of a request is about: of a Logout that names
// another CID it is that one (RFC 7143 section 11.14.4). nil if that cannot be told.
func (t *tap) acknowledged(op byte, h []byte) *tap {
	cid := binary.BigEndian.Uint16(h[20:])
	if op != tapLogout || h[1]&0x7f == 0 || cid == t.cid {
		return t
	}
	if of := t.session.conns[cid]; of != nil && !of.deaf {
		return of
	}
	return nil
}
