package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A rig is a Session with a scripted target, both driven by hand: no socket, no
// clock, every byte of the wire in the test's hands.
type rig struct {
	t      *testing.T
	s      *Session
	now    time.Duration
	target login.TargetConfig
	tsih   uint16
	peers  []*peer
	exp    uint32 // ExpCmdSN as the target counts it
	room   uint32 // MaxCmdSN - ExpCmdSN + 1
	logged []string
}

// A peer is the target's end of one connection.
type peer struct {
	r      *rig
	c      *Conn
	in     *pdu.Receiver
	out    *pdu.Sender
	login  *login.Target
	statSN uint32
	got    []message // not yet looked at
}

type message struct {
	h    pdu.Header
	data []byte
}

const rigName = "iqn.2026-01.net.example:rig"

// newRig makes a session to portals a:1, b:1, ... with what edit changes.
func newRig(t *testing.T, portals int, edit func(*Config, *login.TargetConfig)) *rig {
	t.Helper()
	r := &rig{t: t, target: login.DefaultTargetConfig(), tsih: 7, exp: firstCmdSN, room: 32}
	r.target.Names = func(name string) bool { return name == rigName }
	r.target.PortalGroup, r.target.ErrorRecoveryLevel = 3, 0
	seed := rand.New(rand.NewPCG(1, 2))
	cfg := Config{
		Offer:    login.DefaultOffer(),
		ISID:     [6]byte{0x80, 0, 0, 0, 0, 1},
		LUN:      scsi.EncodeLUN(5),
		Rand:     seed,
		CHAPRand: byteReader{seed},
		Log: func(level slog.Level, msg string, args ...any) {
			r.logged = append(r.logged, fmt.Sprint(level, " ", msg, " ", args))
		},
	}
	r.target.Rand = byteReader{seed}
	cfg.Offer.InitiatorName = "iqn.2026-01.net.example:initiator"
	cfg.Offer.TargetName = rigName
	cfg.Offer.ErrorRecoveryLevel = 0
	cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = login.DigestNone, login.DigestNone
	for i := range portals {
		cfg.Portals = append(cfg.Portals, string(rune('a'+i))+":1")
	}
	if edit != nil {
		edit(&cfg, &r.target)
	}
	r.s = New(r.now, cfg)
	return r
}

type byteReader struct{ r *rand.Rand }

func (b byteReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.r.Uint32())
	}
	return len(p), nil
}

// newUp makes a session that is up, with all its connections.
func newUp(t *testing.T, portals int, edit func(*Config, *login.TargetConfig)) *rig {
	t.Helper()
	r := newRig(t, portals, edit)
	for range portals {
		for _, p := range r.accept() {
			p.logIn()
		}
	}
	if !r.s.Up() {
		t.Fatalf("not up: %v", r.s.Err())
	}
	return r
}

// accept lets every connection that wants it be established.
func (r *rig) accept() (fresh []*peer) {
	for _, c := range r.s.Conns() {
		if c.Want() != WantDial {
			continue
		}
		c.Dialled()
		p := &peer{r: r, c: c, out: pdu.NewSender(), statSN: 100 * uint32(len(r.peers)+1)}
		p.in = pdu.NewReceiver(pdu.ReceiverConfig{MaxData: pdu.MaxDataLen, Buffer: 1 << 20})
		p.login = login.NewTarget(r.target, c == r.s.leading)
		r.peers = append(r.peers, p)
		fresh = append(fresh, p)
		c.Connected(r.now)
	}
	return fresh
}

// refuse lets every connection that wants to be dialled fail.
func (r *rig) refuse() (addresses []string) {
	for _, c := range r.s.Conns() {
		if c.Want() == WantDial {
			addresses = append(addresses, c.Address())
			c.Dialled()
			c.Closed(r.now, errors.New("connection refused"))
		}
	}
	return addresses
}

// sleep lets time pass, with Ticks when they are due.
func (r *rig) sleep(d time.Duration) {
	end := r.now + d
	for n := 0; ; n++ {
		if n == 100000 {
			r.t.Fatal("Deadline does not move on")
		}
		due := r.s.Deadline()
		if due > end {
			break
		}
		r.now = max(r.now, due)
		r.s.Tick(r.now)
	}
	r.now = end
}

// pull takes at most n bytes that the connection wants to send.
func (p *peer) pull(n int) int {
	taken := 0
	for taken < n && p.c.HasOutput() {
		k := 0
		for _, b := range p.c.SendBuffers(nil) {
			b = b[:min(len(b), n-taken-k)]
			p.put(b)
			k += len(b)
		}
		if k == 0 {
			break
		}
		p.c.Sent(p.r.now, k)
		taken += k
	}
	return taken
}

// put gives bytes to the target's receiver.
func (p *peer) put(b []byte) {
	for len(b) > 0 {
		n := 0
		for _, dst := range p.in.Buffers(nil) {
			k := copy(dst, b)
			b, n = b[k:], n+k
		}
		p.in.Received(n)
		for {
			m, ok, err := p.in.Next()
			if err != nil {
				p.r.t.Fatalf("the session sent: %v", err)
			}
			if !ok {
				break
			}
			if m.DataDigestError {
				p.r.t.Fatal("the session sent a wrong data digest")
			}
			p.got = append(p.got, message{*m.Header, bytes.Clone(m.Data)})
		}
	}
}

// take returns what the session has sent since the last time.
func (p *peer) take() []message {
	p.pull(1 << 30)
	got := p.got
	p.got = nil
	for i := range got {
		h := &got[i].h
		if !h.Immediate() && carriesCmdSN(h.Opcode()) && !pdu.Less(h.CmdSN(), p.r.exp) {
			p.r.exp = h.CmdSN() + 1
		}
	}
	return got
}

func carriesCmdSN(op pdu.Opcode) bool { return op != pdu.OpDataOut && op != pdu.OpSNACK }

// one takes the single PDU that was sent.
func (p *peer) one() message {
	p.r.t.Helper()
	got := p.take()
	if len(got) != 1 {
		p.r.t.Fatalf("%d PDUs were sent, not one:\n%s", len(got), script(got))
	}
	return got[0]
}

// expect compares what was sent with a script, one PDU per line.
func (p *peer) expect(want string) {
	p.r.t.Helper()
	got := strings.TrimSpace(script(p.take()))
	var lines []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if want := strings.Join(lines, "\n"); got != want {
		p.r.t.Errorf("connection %d sent:\n%s\nwanted:\n%s", p.c.cid, got, want)
	}
}

// marshaler is a PDU of the target.
type marshaler interface{ Marshal(*pdu.Header) }

// send lets the target send PDUs with one data segment each, none if data is nil.
func (p *peer) send(m marshaler, data []byte) {
	var h pdu.Header
	m.Marshal(&h)
	p.sendHeader(&h, data)
}

func (p *peer) sendHeader(h *pdu.Header, data []byte) {
	p.out.Push(h, data, pdu.Bulk)
	var wire []byte
	for _, b := range p.out.Buffers(nil) {
		wire = append(wire, b...)
	}
	p.out.Sent(len(wire))
	p.feed(wire)
}

// feed lets bytes arrive.
func (p *peer) feed(wire []byte) {
	for len(wire) > 0 {
		n := 0
		for _, b := range p.c.RecvBuffers(nil) {
			k := copy(b, wire)
			wire, n = wire[k:], n+k
		}
		if n == 0 {
			return
		}
		p.c.Received(p.r.now, n)
	}
}

// sn uses up a status number.
func (p *peer) sn() uint32 {
	p.statSN++
	return p.statSN - 1
}

func (p *peer) window() (exp, max uint32) { return p.r.exp, p.r.exp + p.r.room - 1 }

// answerLogin answers one Login Request; it is true when the login is over.
func (p *peer) answerLogin(m message) bool {
	p.r.t.Helper()
	q, err := pdu.ParseLoginRequest(&m.h)
	if err != nil {
		p.r.t.Fatal(err)
	}
	a, text, done, _ := p.login.Receive(q, m.data)
	a.ISID, a.ITT, a.TSIH, a.DataLen = q.ISID, q.ITT, q.TSIH, len(text)
	if done {
		a.TSIH = p.r.tsih
	}
	a.StatSN = p.sn()
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	if done {
		params := p.login.Params()
		p.in.SetDigests(params.HeaderDigest, params.DataDigest)
	}
	p.send(a, append([]byte(nil), text...))
	if done {
		params := p.login.Params()
		p.out.SetDigests(params.HeaderDigest, params.DataDigest)
	}
	return done
}

// logIn answers until the connection is in the full feature phase, or refused.
func (p *peer) logIn() {
	p.r.t.Helper()
	for range 20 {
		for _, m := range p.take() {
			if p.answerLogin(m) {
				return
			}
		}
		if p.c.state == connDead {
			return
		}
	}
	p.r.t.Fatal("login does not end")
}

// good answers a command with GOOD.
func (p *peer) good(itt uint32) {
	exp, top := p.window()
	p.send(pdu.SCSIResponse{ITT: itt, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top}, nil)
}

// dataIn sends Data-In; with a status if last.
func (p *peer) dataIn(itt, dataSN uint32, offset int, data []byte, last bool) {
	exp, top := p.window()
	d := pdu.DataIn{ITT: itt, TTT: pdu.ReservedTag, Final: last, HasStatus: last, DataSN: dataSN,
		Offset: uint32(offset), ExpCmdSN: exp, MaxCmdSN: top, DataLen: len(data)}
	if last {
		d.StatSN = p.sn()
	}
	p.send(d, data)
}

func (p *peer) r2t(itt, sn uint32, offset, n int, ttt uint32) {
	exp, top := p.window()
	p.send(pdu.R2T{ITT: itt, TTT: ttt, R2TSN: sn, Offset: uint32(offset), DesiredLen: uint32(n),
		StatSN: p.statSN, ExpCmdSN: exp, MaxCmdSN: top}, nil)
}

// submit submits a command of n bytes.
func (r *rig) submit(dir scsi.Direction, n int) *scsi.Command {
	c := &scsi.Command{Dir: dir, Data: make([]byte, n), Timeout: 30 * time.Second}
	for i := range c.Data {
		c.Data[i] = byte(i>>8) ^ byte(i)
	}
	r.s.Submit(r.now, c)
	return c
}

// ended checks that exactly these commands have come back, in this order.
func (r *rig) ended(want ...*scsi.Command) {
	r.t.Helper()
	var got []*scsi.Command
	for c := r.s.Completed(); c != nil; c = r.s.Completed() {
		got = append(got, c)
	}
	if len(got) != len(want) {
		r.t.Fatalf("%d commands came back, %d were wanted (session: %v)",
			len(got), len(want), r.s.Err())
	}
	for i := range want {
		if got[i] != want[i] {
			r.t.Fatalf("command %d of those that came back is another one", i)
		}
	}
}

// dead checks that the session has died of a cause that says what is wanted, and
// that every connection is to be reset.
func (r *rig) dead(want string) {
	r.t.Helper()
	err := r.s.Err()
	if err == nil {
		r.t.Fatalf("alive, wanted dead of %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		r.t.Fatalf("dead of %q, wanted %q", err, want)
	}
	for _, c := range r.s.Conns() {
		if c.attached && c.Want() != WantReset || c.HasOutput() || c.RecvBuffers(nil) != nil {
			r.t.Errorf("connection %d wants %d, output %v", c.cid, c.Want(), c.HasOutput())
		}
		c.Released()
	}
	if n := len(r.s.Conns()); n != 0 {
		r.t.Errorf("%d connections are left", n)
	}
	if n := r.s.tasks.inUse(); n != 0 {
		r.t.Errorf("%d tasks are left", n)
	}
}

// alive checks that nothing has ended the session.
func (r *rig) alive() {
	r.t.Helper()
	if err := r.s.Err(); err != nil {
		r.t.Fatalf("dead of %q", err)
	}
}

// script tells PDUs of the initiator, one per line.
func script(list []message) string {
	var b strings.Builder
	for i := range list {
		fmt.Fprintln(&b, line(&list[i].h))
	}
	return b.String()
}

func line(h *pdu.Header) string {
	flags := ""
	if h.Immediate() {
		flags += " I"
	}
	if h.Final() {
		flags += " F"
	}
	s := fmt.Sprintf("%v%s tag=%x", h.Opcode(), flags, h.ITT())
	switch h.Opcode() {
	case pdu.OpSCSICommand:
		c, _ := pdu.ParseSCSICommand(h)
		s += fmt.Sprintf(" cmdsn=%d expected=%d", c.CmdSN, c.ExpectedLen)
	case pdu.OpDataOut:
		d, _ := pdu.ParseDataOut(h)
		s += fmt.Sprintf(" ttt=%x datasn=%d offset=%d", d.TTT, d.DataSN, d.Offset)
	case pdu.OpNopOut:
		n, _ := pdu.ParseNopOut(h)
		s += fmt.Sprintf(" ttt=%x cmdsn=%d", n.TTT, n.CmdSN)
	case pdu.OpTaskRequest:
		q, _ := pdu.ParseTaskRequest(h)
		s += fmt.Sprintf(" function=%d ref=%x refcmdsn=%d cmdsn=%d", q.Function, q.RefTag,
			q.RefCmdSN, q.CmdSN)
		if q.Function == pdu.TaskReassign {
			s += fmt.Sprintf(" expdatasn=%d", q.ExpDataSN)
		}
	case pdu.OpLogoutRequest:
		q, _ := pdu.ParseLogoutRequest(h)
		s += fmt.Sprintf(" reason=%d cmdsn=%d", q.Reason, q.CmdSN)
		if q.Reason != pdu.LogoutCloseSession {
			s += fmt.Sprintf(" cid=%d", q.CID)
		}
	case pdu.OpSNACK:
		q, _ := pdu.ParseSNACK(h)
		s += fmt.Sprintf(" type=%d begin=%d run=%d acks=%d", q.Type, q.BegRun, q.RunLength,
			q.ExpStatSN)
	case pdu.OpTextRequest:
		q, _ := pdu.ParseTextRequest(h)
		s += fmt.Sprintf(" ttt=%x cmdsn=%d", q.TTT, q.CmdSN)
	}
	if n := h.DataLen(); n > 0 {
		s += fmt.Sprintf(" data=%d", n)
	}
	return s
}

// oneTag is the tag of the single PDU that was sent.
func (p *peer) oneTag() uint32 {
	p.r.t.Helper()
	m := p.one()
	return m.h.ITT()
}
