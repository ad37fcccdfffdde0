//go:build guest

package vmtest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A meddler stands between initiator and target, understands where PDUs begin and end (both
// digests in use), and loses or damages some of them: TCP would repair what a network does.
type meddler struct {
	t        *testing.T
	listener net.Listener
	target   string

	mu    sync.Mutex
	rule  rule
	seen  int // PDUs that the rule is for
	hits  int
	pairs map[*pair]bool
	mute  bool // nothing is passed on
}

type fault int

const (
	lose      fault = iota // the whole PDU
	spoilData              // a bit of the data segment
	spoilHeader
)

// A rule is what happens to each so-many-th PDU with an opcode. An opcode of 0x20 and above
// is the target's.
type rule struct {
	opcode byte
	each   int // 0: none
	what   fault
}

// A pair is the two sockets of one connection.
type pair struct {
	client, server net.Conn
	full           bool // past the login, with digests
}

func newMeddler(t *testing.T, target string) *meddler {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m := &meddler{t: t, listener: listener, target: target, pairs: map[*pair]bool{}}
	go m.serve()
	t.Cleanup(func() { listener.Close(); m.cut() })
	return m
}

func (m *meddler) address() string { return m.listener.Addr().String() }

func (m *meddler) serve() {
	for {
		client, err := m.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", m.target, 5*time.Second)
		if err != nil {
			client.Close()
			continue
		}
		p := &pair{client: client, server: server}
		m.mu.Lock()
		m.pairs[p] = true
		m.mu.Unlock()
		go m.relay(p, client, server)
		go m.relay(p, server, client)
	}
}

// meddle sets the rule and returns what the one before it has hit.
func (m *meddler) meddle(r rule) (hits int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hits = m.hits
	m.rule, m.seen, m.hits = r, 0, 0
	return hits
}

// cut resets all connections.
func (m *meddler) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.pairs {
		for _, c := range []net.Conn{p.client, p.server} {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		delete(m.pairs, p)
	}
}

// swallow has everything swallowed, or passed on again, of connections that are not cut.
func (m *meddler) swallow(on bool) {
	m.mu.Lock()
	m.mute = on
	m.mu.Unlock()
}

func (m *meddler) relay(p *pair, from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		m.mu.Lock()
		delete(m.pairs, p)
		m.mu.Unlock()
	}()
	header := make([]byte, 48)
	for {
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		m.mu.Lock()
		full := p.full
		m.mu.Unlock()
		data := int(binary.BigEndian.Uint32(header[4:]) & 0xffffff)
		rest := 4*int(header[4]) + (data+3)&^3
		begin := 48 + 4*int(header[4]) // of the data segment
		if full {
			rest += 4
			begin += 4
			if data > 0 {
				rest += 4
			}
		}
		pdu := append(make([]byte, 0, 48+rest), header...)[:48+rest]
		if _, err := io.ReadFull(from, pdu[48:]); err != nil {
			return
		}
		if !m.pass(p, pdu, begin, data) {
			continue
		}
		if _, err := to.Write(pdu); err != nil {
			return
		}
	}
}

// pass applies the rule to a PDU; it is false if it is lost.
func (m *meddler) pass(p *pair, pdu []byte, begin, data int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mute {
		return false
	}
	opcode := pdu[0] & 0x3f
	if opcode == 0x23 && pdu[36] == 0 && pdu[1]&0x83 == 0x83 {
		p.full = true // the final Login Response
	}
	r := m.rule
	if !p.full || r.each == 0 || opcode != r.opcode || r.what == spoilData && data == 0 {
		return true
	}
	if m.seen++; m.seen%r.each != 0 {
		return true
	}
	m.hits++
	switch r.what {
	case spoilData:
		pdu[begin+data/2] ^= 0x04
	case spoilHeader:
		pdu[20] ^= 0x40
	default:
		return false
	}
	return true
}
