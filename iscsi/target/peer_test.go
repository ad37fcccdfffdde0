package target

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A bench is a target with its clock, and what initiators did to it.
type bench struct {
	testing.TB
	t   *Target
	now time.Duration
}

func newBench(tb testing.TB, cfg Config) *bench {
	tb.Helper()
	if cfg.Name == "" {
		cfg.Name = testName
	}
	if cfg.Portals == nil {
		cfg.Portals = []PortalConfig{{Address: "127.0.0.1:3260", Group: 1},
			{Address: "127.0.0.2:3260", Group: 1}, {Address: "127.0.0.3:3260", Group: 2}}
	}
	if cfg.LUNs == nil {
		cfg.LUNs = []LUNConfig{{Store: newRAM(tb, 1<<20), WriteCache: true, Thin: true}}
	}
	t, err := New(0, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return &bench{TB: tb, t: t}
}

func newRAM(tb testing.TB, size uint64) *RAM {
	tb.Helper()
	r, err := NewRAM(size, minPageSize)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// advance lets the time pass, with all ticks on the way.
func (b *bench) advance(d time.Duration) {
	end := b.now + d
	for b.t.Deadline() <= end {
		b.now = max(b.now, b.t.Deadline())
		b.t.Tick(b.now)
	}
	b.now = end
	b.t.Tick(b.now)
}

// A peer is an initiator's end of one connection, made of raw PDUs.
type peer struct {
	b     *bench
	c     *Conn
	send  *pdu.Sender
	recv  *pdu.Receiver
	resp  pdu.LoginResponse // the last
	par   login.Params
	cmdSN uint32
	stat  uint32 // StatSN expected next
	first uint32 // StatSN from which a test counts
	itt   uint32
	dead  bool

	damaged bool // data digest errors are counted in damage, not fatal
	damage  int
}

// A got is one PDU from the target.
type got struct {
	pdu.Header
	data []byte
}

func (b *bench) connect(portal int) *peer {
	b.Helper()
	c := b.t.Accept(b.now, portal)
	if c == nil {
		b.Fatal("connection refused")
	}
	return &peer{
		b: b, c: c, send: pdu.NewSender(), cmdSN: 100,
		recv: pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 256 << 10, Buffer: 64 << 10}),
	}
}

// flush moves bytes both ways until nothing moves, and gives what came back.
func (p *peer) flush() []got {
	p.b.Helper()
	var list []got
	for moved := true; moved; {
		moved = false
		var out []byte
		for _, b := range p.send.Buffers(nil) {
			out = append(out, b...)
		}
		room := 0
		for _, b := range p.c.RecvBuffers(nil) {
			n := copy(b, out[room:])
			room += n
		}
		if room > 0 {
			p.send.Sent(room)
			p.c.Received(p.b.now, room)
			moved = true
		}
		n := 0
		for _, b := range p.c.SendBuffers(nil) {
			for len(b) > 0 {
				to := p.recv.Buffers(nil)
				k := copy(to[0], b)
				p.recv.Received(k)
				b, n = b[k:], n+k
				list = append(list, p.drain()...)
			}
		}
		if n > 0 {
			p.c.Sent(p.b.now, n)
			moved = true
		}
	}
	switch p.c.Want() {
	case WantClose, WantReset:
		p.c.Released()
		p.dead = true
	}
	return list
}

func (p *peer) drain() []got {
	var list []got
	for {
		u, ok, err := p.recv.Next()
		if err != nil {
			p.b.Fatal(err)
		}
		if !ok {
			return list
		}
		switch {
		case u.DataDigestError && !p.damaged:
			p.b.Fatal("data digest error from the target")
		case u.DataDigestError:
			p.damage++
			continue
		}
		list = append(list, got{*u.Header, append([]byte(nil), u.Data...)})
	}
}

type marshaler interface{ Marshal(h *pdu.Header) }

func (p *peer) push(m marshaler, data []byte) {
	var h pdu.Header
	m.Marshal(&h)
	p.send.Push(&h, data, pdu.Bulk)
}

// ask sends one PDU and gives what comes back.
func (p *peer) ask(m marshaler, data []byte) []got {
	p.b.Helper()
	p.push(m, data)
	return p.flush()
}

// login logs in with the real stepper; false if the target refused.
func (p *peer) login(o login.Offer, isid byte, tsih, cid uint16) error {
	p.b.Helper()
	if !p.startLogin(o, isid, tsih, cid) {
		return fmt.Errorf("login held")
	}
	if p.resp.StatusClass != 0 {
		return &login.StatusError{Class: p.resp.StatusClass, Detail: p.resp.StatusDetail}
	}
	return nil
}

func (p *peer) startLogin(o login.Offer, isid byte, tsih, cid uint16) bool {
	p.b.Helper()
	in := login.NewInitiator(o, tsih == 0, rand.Reader)
	for {
		r, data := in.Next()
		r.ISID, r.TSIH, r.CID, r.ITT = [6]byte{0x80, 0, 0, 0, 0, isid}, tsih, cid, 7
		r.CmdSN, r.DataLen = p.cmdSN, len(data)
		list := p.ask(r, data)
		if len(list) == 0 {
			return false
		}
		if len(list) != 1 {
			p.b.Fatalf("%d answers to a Login Request", len(list))
		}
		resp, err := pdu.ParseLoginResponse(&list[0].Header)
		if err != nil {
			p.b.Fatal(err)
		}
		p.resp, p.stat = resp, resp.StatSN+1
		if resp.StatusClass != 0 {
			return true
		}
		done, err := in.Receive(resp, list[0].data)
		if err != nil {
			p.b.Fatal(err)
		}
		if done {
			p.par = in.Params()
			p.send.SetDigests(p.par.HeaderDigest, p.par.DataDigest)
			p.recv.SetDigests(p.par.HeaderDigest, p.par.DataDigest)
			return true
		}
	}
}

func offer(initiator string) login.Offer {
	o := login.DefaultOffer()
	o.InitiatorName = "iqn.2026-01.test.braid:" + initiator
	o.TargetName = testName
	o.MaxConnections = 4
	return o
}

// session logs in at a portal and takes the first unit attention away.
func (b *bench) session(initiator string, portal int, isid byte) *peer {
	b.Helper()
	p := b.connect(portal)
	if err := p.login(offer(initiator), isid, 0, 1); err != nil {
		b.Fatal(err)
	}
	p.result(scsi.TestUnitReady(), nil, 0)
	return p
}

// command makes a command PDU with the next numbers.
func (p *peer) command(cdb [16]byte, write []byte, read int) pdu.SCSICommand {
	c := pdu.SCSICommand{
		Final: true, Attr: pdu.AttrSimple, ITT: p.itt, CmdSN: p.cmdSN, ExpStatSN: p.stat,
		CDB: cdb, Read: read > 0, Write: len(write) > 0,
		ExpectedLen: uint32(read + len(write)), DataLen: len(write),
	}
	p.itt++
	p.cmdSN++
	return c
}

// A result is how a command ended.
type result struct {
	status scsi.Status
	sense  scsi.Sense
	data   []byte
}

func (r result) String() string {
	if r.status == scsi.CheckCondition {
		return fmt.Sprintf("%v: %v", r.status, r.sense)
	}
	return r.status.String()
}

// result does a whole command with immediate data.
func (p *peer) result(cdb [16]byte, write []byte, read int) result {
	p.b.Helper()
	c := p.command(cdb, write, read)
	list := p.ask(c, write)
	p.hear(list)
	r, ok := results(p.b, list)[c.ITT]
	if !ok {
		p.b.Fatalf("no answer to %s; %s", scsi.CommandName(&cdb), describe(list))
	}
	return r
}

// results sorts answers by task.
func results(tb testing.TB, list []got) map[uint32]result {
	tb.Helper()
	all := map[uint32]result{}
	data := map[uint32][]byte{}
	for _, g := range list {
		switch g.Opcode() {
		case pdu.OpDataIn:
			d, err := pdu.ParseDataIn(&g.Header)
			if err != nil {
				tb.Fatal(err)
			}
			if int(d.Offset) != len(data[d.ITT]) {
				tb.Fatalf("Data-In at %d after %d bytes", d.Offset, len(data[d.ITT]))
			}
			data[d.ITT] = append(data[d.ITT], g.data...)
			if d.HasStatus {
				all[d.ITT] = result{status: scsi.Status(d.Status), data: data[d.ITT]}
			}
		case pdu.OpSCSIResponse:
			r, err := pdu.ParseSCSIResponse(&g.Header)
			if err != nil {
				tb.Fatal(err)
			}
			x := result{status: scsi.Status(r.Status), data: data[r.ITT]}
			x.sense, _ = scsi.ParseSense(pdu.SenseData(g.data))
			all[r.ITT] = x
		}
	}
	return all
}

// describe makes a readable line of PDUs.
func describe(list []got) string {
	var s []string
	for i := range list {
		s = append(s, list[i].Opcode().String())
	}
	return strings.Join(s, ", ")
}

func pattern(x byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = x
	}
	return b
}
