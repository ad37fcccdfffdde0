package iscsi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// The numbers of a login, on the leading connection and on one that joins.
func TestLoginNumbers(t *testing.T) {
	r := newRig(t, 2, nil)
	r.tsih = 0x1234
	lead := r.accept()[0]
	if n := len(r.s.Conns()); n != 1 {
		t.Fatalf("%d connections before the leading one is up", n)
	}
	check := func(p *peer, tsih, cid uint16) {
		t.Helper()
		first := true
		var tag uint32
		for p.c.State() == "login" {
			m := p.one()
			q, err := pdu.ParseLoginRequest(&m.h)
			if err != nil {
				t.Fatal(err)
			}
			if q.TSIH != tsih || q.CID != cid || q.ISID != r.s.cfg.ISID || q.CmdSN != firstCmdSN {
				t.Errorf("%+v", q)
			}
			switch {
			case first:
				tag, first = q.ITT, false
			case q.ITT != tag:
				t.Errorf("the tag changes from %x to %x", tag, q.ITT)
			case q.ExpStatSN != p.statSN:
				t.Errorf("ExpStatSN %d, the target is at %d", q.ExpStatSN, p.statSN)
			}
			p.answerLogin(m)
		}
	}
	check(lead, 0, 0)
	if !r.s.Up() {
		t.Fatal("not up")
	}
	n := r.s.Nexus()
	if n.TSIH != 0x1234 || n.TPGT != 3 || n.ISID != r.s.cfg.ISID || n.Time2Retain != 20*second {
		t.Errorf("%+v", n)
	}
	check(r.accept()[0], 0x1234, 1)
	r.alive()
}

// Commands go to the connection with the least to do; each stays on its own.
func TestSpread(t *testing.T) {
	r := newUp(t, 3, nil)
	for i := range 6 {
		r.submit(scsi.Read, 4096)
		for k, p := range r.peers {
			if n := len(p.take()); (n == 1) != (k == i%3) {
				t.Errorf("command %d: connection %d has %d", i, k, n)
			}
		}
	}
	big := r.submit(scsi.Read, 1<<20) // goes to the first
	tag := r.peers[0].oneTag()
	for range 6 {
		r.submit(scsi.Read, 4096)
	}
	if n := len(r.peers[0].take()); n != 0 {
		t.Error("a loaded connection was chosen")
	}
	for i := range 4 {
		r.peers[0].dataIn(tag, uint32(i), i<<18, make([]byte, 1<<18), i == 3)
	}
	r.ended(big)
	r.submit(scsi.Read, 4096)
	if n := len(r.peers[0].take()); n != 1 {
		t.Error("the connection that has the least to do was not chosen")
	}
	r.s.Kill(r.now, nil)
	r.dead("ended by its owner")
}

// CmdSN is one counter of the session.
func TestCmdSNOverConnections(t *testing.T) {
	r := newUp(t, 2, nil)
	r.submit(scsi.Read, 512)
	r.submit(scsi.Read, 512)
	r.submit(scsi.Read, 512)
	r.peers[0].expect(`
		SCSI Command F tag=2 cmdsn=1 expected=512
		SCSI Command F tag=4 cmdsn=3 expected=512`)
	r.peers[1].expect(`SCSI Command F tag=3 cmdsn=2 expected=512`)
	r.peers[1].dataIn(2, 0, 0, make([]byte, 512), true)
	r.dead("no command has this tag") // allegiance
}

// A lost connection, be it one of several, is the end of the session at level 0.
func TestConnectionLost(t *testing.T) {
	r := newUp(t, 2, nil)
	sent, second := r.submit(scsi.Write, 512), r.submit(scsi.Write, 512)
	r.peers[0].take()
	cause := errors.New("reset by peer")
	r.peers[1].c.Closed(r.now, cause)
	r.s.Kill(r.now, errors.New("later"))
	if !errors.Is(r.s.Err(), cause) {
		t.Errorf("the first cause is not kept: %v", r.s.Err())
	}
	r.dead("connection 1 to b:1 (up): reset by peer")
	r.ended(sent, second)
	if lost, wasSent := scsi.Lost(sent.Err); !lost || !wasSent {
		t.Errorf("a command that was sent: %v", sent.Err)
	}
	if lost, wasSent := scsi.Lost(second.Err); !lost || wasSent {
		t.Errorf("a command that was not sent: %v", second.Err)
	}
	after := r.submit(scsi.Read, 512)
	r.ended(after)
	if lost, wasSent := scsi.Lost(after.Err); !lost || wasSent || !errors.Is(after.Err, cause) {
		t.Errorf("a command after the end: %v", after.Err)
	}
	if r.s.Deadline() < 1<<62 {
		t.Error("a dead session wants Ticks")
	}
}

// The leading connection may be any of the portals.
func TestNextPortalLeads(t *testing.T) {
	r := newRig(t, 3, nil)
	if got := r.refuse(); len(got) != 1 || got[0] != "a:1" {
		t.Fatalf("refused %v", got)
	}
	p := r.accept()[0]
	if p.c.Address() != "b:1" {
		t.Fatalf("then %s", p.c.Address())
	}
	p.logIn()
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
	var rest []string
	for _, p := range r.accept() {
		rest = append(rest, p.c.Address())
	}
	if strings.Join(rest, " ") != "a:1 c:1" {
		t.Errorf("then %v", rest)
	}

	r = newRig(t, 2, nil)
	r.refuse()
	r.refuse()
	r.dead("connection 1 to b:1 (dialing): connection refused")
	if Permanent(r.s.Err()) {
		t.Error("counts as permanent")
	}
}

func TestLoginTimeout(t *testing.T) {
	r := newRig(t, 1, nil)
	r.accept()
	r.sleep(15*second - 1)
	r.alive()
	r.sleep(1)
	r.dead("no connection and login within 15s")
}

func TestRedirects(t *testing.T) {
	r := newRig(t, 1, nil)
	r.target.Redirect = func(string) (string, bool, bool) { return "x:9", false, true }
	for i := range 5 {
		p := r.accept()[0]
		if want := "x:9"; i > 0 && p.c.Address() != want {
			t.Errorf("redirected to %s", p.c.Address())
		}
		p.logIn()
	}
	r.dead("the target has moved temporarily to x:9")

	r = newRig(t, 1, nil)
	r.target.Redirect = func(string) (string, bool, bool) { return "[::1]", false, true }
	r.accept()[0].logIn()
	r.target.Redirect = nil
	p := r.accept()[0]
	p.logIn()
	if !r.s.Up() || p.c.Address() != "[::1]:3260" {
		t.Errorf("%s: %v", p.c.Address(), r.s.Err())
	}
}

func TestLoginRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		edit      func(*Config, *login.TargetConfig)
		want      string
		permanent bool
	}{
		{"no such target", func(c *Config, _ *login.TargetConfig) {
			c.Offer.TargetName += "-not"
		}, "login refused", true},
		{"digest demanded", func(c *Config, tc *login.TargetConfig) {
			c.Offer.DataDigest, tc.DataDigest = login.DigestCRC32C, login.DigestNone
		}, "login", true},
		{"CHAP demanded", func(_ *Config, tc *login.TargetConfig) {
			tc.RequireCHAP = true
			tc.Secrets = func(string) ([]byte, bool) { return nil, false }
		}, "login", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 2, c.edit)
			r.accept()[0].logIn()
			r.dead(c.want)
			if got := Permanent(r.s.Err()); got != c.permanent {
				t.Errorf("permanent is %v: %v", got, r.s.Err())
			}
		})
	}
}

// A target that fails at the list of CHAP algorithms gets MD5 alone.
func TestCHAPFallback(t *testing.T) {
	secret := []byte("a secret of the rig")
	r := newRig(t, 2, func(c *Config, tc *login.TargetConfig) {
		c.Offer.Auth = login.Auth{User: "joe", Secret: secret}
		tc.RequireCHAP = true
		tc.Secrets = func(string) ([]byte, bool) { return secret, true }
	})
	p := r.accept()[0]
	p.answerLogin(p.one())
	p.one()
	p.c.Closed(r.now, nil)
	p = r.accept()[0]
	if p.c.Address() != "a:1" {
		t.Errorf("tried %s", p.c.Address())
	}
	for p.c.State() == "login" {
		m := p.one()
		s := string(m.data)
		if strings.Contains(s, "CHAP_A=") && !strings.Contains(s, "CHAP_A=5\x00") {
			t.Errorf("offered %q", s)
		}
		p.answerLogin(m)
	}
	r.accept()[0].logIn()
	r.alive()
	if n := len(r.s.Conns()); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// What the target answers wrongly in the last Login Response.
func TestLoginBreaches(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*pdu.LoginResponse)
		want string
	}{
		{"TSIH 0", func(a *pdu.LoginResponse) { a.TSIH = 0 }, "no TSIH"},
		{"tag", func(a *pdu.LoginResponse) { a.ITT++ }, "the login's tag"},
		{"StatSN", func(a *pdu.LoginResponse) { a.StatSN++ }, "was due"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1, nil)
			p := r.accept()[0]
			for p.c.State() == "login" {
				m := p.one()
				q, _ := pdu.ParseLoginRequest(&m.h)
				a, text, done, _ := p.login.Receive(q, m.data)
				a.ITT, a.TSIH, a.StatSN, a.DataLen = q.ITT, 7, p.sn(), len(text)
				if done {
					c.edit(&a)
				}
				p.send(a, text)
			}
			r.dead(c.want)
		})
	}
	r := newRig(t, 1, nil)
	p := r.accept()[0]
	p.nopIn(pdu.ReservedTag, 1)
	r.dead("NOP-In")
}

// A connection that cannot join degrades the session and is tried again, later
// and later; one whose answer is final is given up.
func TestJoinRetries(t *testing.T) {
	r := newRig(t, 2, nil)
	r.accept()[0].logIn()
	var waits []time.Duration
	for range 12 {
		start := r.now
		if got := r.refuse(); len(got) != 1 || got[0] != "b:1" {
			t.Fatalf("refused %v", got)
		}
		for r.s.Conns()[len(r.s.Conns())-1].Want() != WantDial {
			r.sleep(10 * time.Millisecond)
			if r.now > start+time.Minute {
				t.Fatal("not tried again")
			}
		}
		waits = append(waits, r.now-start)
	}
	if waits[0] > second || waits[11] < second || waits[11] > 31*second {
		t.Errorf("waits: %v", waits)
	}
	if len(r.logged) != 1 {
		t.Errorf("logged:\n%s", strings.Join(r.logged, "\n"))
	}
	r.accept()[0].logIn()
	r.alive()
	if got := r.s.Conns()[1]; got.State() != "up" || got.CID() != 13 {
		t.Errorf("connection %d is %s", got.CID(), got.State())
	}
}

func TestJoinOfOtherPortalGroup(t *testing.T) {
	r := newRig(t, 2, nil)
	r.accept()[0].logIn()
	r.target.PortalGroup = 4
	p := r.accept()[0]
	p.logIn()
	if p.c.Want() != WantReset {
		t.Errorf("wants %d", p.c.Want())
	}
	p.c.Released()
	r.sleep(time.Hour)
	r.alive()
	if !r.s.Up() || len(r.s.Conns()) != 1 {
		t.Errorf("%d connections", len(r.s.Conns()))
	}
	if last := r.logged[len(r.logged)-1]; !strings.Contains(last, "portal group 4") {
		t.Errorf("logged %s", last)
	}
}

// A join that hangs is given up after LoginTimeout; the session goes on.
func TestJoinTimeout(t *testing.T) {
	r := newRig(t, 2, nil)
	r.accept()[0].logIn()
	p := r.accept()[0]
	r.sleep(15 * second)
	if p.c.Want() != WantReset {
		t.Errorf("wants %d", p.c.Want())
	}
	r.alive()
}

// MaxConnections below the number of portals: the rest are spares.
func TestMaxConnections(t *testing.T) {
	r := newRig(t, 4, func(_ *Config, tc *login.TargetConfig) { tc.MaxConnections = 2 })
	r.accept()[0].logIn()
	if got := r.refuse(); len(got) != 1 || got[0] != "b:1" {
		t.Fatalf("dialled %v", got)
	}
	if got := r.accept(); len(got) != 1 || got[0].c.Address() != "c:1" {
		t.Fatalf("then not c:1")
	} else {
		got[0].logIn()
	}
	r.sleep(time.Hour)
	if n := len(r.s.Conns()); n != 2 {
		t.Errorf("%d connections", n)
	}
	r.alive()
}

// The target drops a connection that is not up yet: no harm.
func TestAsyncAboutAJoin(t *testing.T) {
	r := newRig(t, 2, nil)
	p := r.accept()[0]
	p.logIn()
	q := r.accept()[0]
	p.async(pdu.Async{Event: pdu.AsyncDropConnection, Param1: q.c.CID()}, nil)
	r.alive()
	if q.c.Want() != WantReset || !r.s.Up() {
		t.Errorf("wants %d", q.c.Want())
	}
}

func TestDigests(t *testing.T) {
	digests := func(c *Config, tc *login.TargetConfig) {
		c.Offer.HeaderDigest, tc.HeaderDigest = login.DigestCRC32C, login.DigestCRC32C
		c.Offer.DataDigest, tc.DataDigest = login.DigestCRC32C, login.DigestCRC32C
	}
	for _, c := range []struct {
		name string
		flip int // byte of the PDU that goes wrong
		want string
	}{
		{"none", -1, ""},
		{"header", 30, "header digest error"},
		{"data", 60, "data digest error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 2, digests)
			p := r.peers[0]
			cmd := r.submit(scsi.Read, 510)
			var h pdu.Header
			exp, top := p.window()
			pdu.DataIn{ITT: p.oneTag(), TTT: pdu.ReservedTag, Final: true, HasStatus: true,
				StatSN: p.sn(), ExpCmdSN: exp + 1, MaxCmdSN: top, DataLen: 510}.Marshal(&h)
			p.out.Push(&h, pattern(510), pdu.Bulk)
			var wire []byte
			for _, b := range p.out.Buffers(nil) {
				wire = append(wire, b...)
			}
			if c.flip >= 0 {
				wire[c.flip] ^= 1
			}
			p.feed(wire)
			r.ended(cmd)
			if c.want == "" {
				r.alive()
			} else {
				r.dead(c.want)
			}
		})
	}
}

// Every breach that no other test has: PDUs that a target does not send.
func TestForeignPDUs(t *testing.T) {
	for _, op := range []pdu.Opcode{pdu.OpNopOut, pdu.OpSCSICommand, pdu.OpLoginResponse, 0x3e} {
		r := newUp(t, 1, nil)
		p := r.peers[0]
		h := pdu.Header{0: byte(op)}
		h[24+3] = byte(p.statSN)
		p.sendHeader(&h, nil)
		r.dead("not a PDU of a target")
	}
}

func TestNoPortals(t *testing.T) {
	s := New(0, Config{})
	if s.Err() == nil || s.Up() || s.Conns() != nil {
		t.Error("a session without portals lives")
	}
}
