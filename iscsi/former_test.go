package iscsi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// follow makes the session that comes after one which was lost.
func (r *rig) follow(former *Former) {
	cfg := r.s.cfg
	cfg.Former, cfg.Log = former, nil
	r.s, r.peers = New(r.now, cfg), nil
}

// lost is what three connections leave behind.
var lost = &Former{TSIH: 7, CmdSN: 40, CIDs: []uint16{0, 1, 2}}

// say tells what a connection sent that closes others, or logs in.
func say(m message) string {
	switch h := &m.h; h.Opcode() {
	case pdu.OpLoginRequest:
		q, _ := pdu.ParseLoginRequest(h)
		return fmt.Sprintf("login TSIH %d CID %d CmdSN %d", q.TSIH, q.CID, q.CmdSN)
	case pdu.OpLogoutRequest:
		q, _ := pdu.ParseLogoutRequest(h)
		return fmt.Sprintf("logout %d CID %d CmdSN %d", q.Reason, q.CID, q.CmdSN)
	case pdu.OpNopOut:
		return fmt.Sprintf("ping CmdSN %d", h.CmdSN())
	default:
		return h.Opcode().String()
	}
}

// answer lets a target answer what closes connections, and returns what that was.
func (p *peer) answer(response uint8) (heard []string) {
	for _, m := range p.take() {
		heard = append(heard, say(m))
		exp, top := p.window()
		switch m.h.Opcode() {
		case pdu.OpLoginRequest:
			p.answerLogin(m)
		case pdu.OpLogoutRequest:
			p.send(pdu.LogoutResponse{Response: response, ITT: m.h.ITT(), StatSN: p.sn(),
				ExpCmdSN: exp, MaxCmdSN: top}, nil)
		case pdu.OpNopOut:
			p.send(pdu.NopIn{ITT: m.h.ITT(), TTT: pdu.ReservedTag, StatSN: p.sn(),
				ExpCmdSN: exp, MaxCmdSN: top}, nil)
		}
	}
	return heard
}

// A lost session's connections are closed one by one, and only then is it reinstated.
func TestFormer(t *testing.T) {
	r := newUp(t, 3, nil)
	r.peers[1].cut()
	former := r.s.Former()
	if fmt.Sprint(former) != "&{7 1 [0 1 2]}" {
		t.Fatalf("three connections leave %v", former)
	}
	r.follow(lost)
	var heard []string
	carrier := r.accept()[0]
	for carrier.c.state != connDead {
		more := carrier.answer(pdu.LogoutSuccess)
		if len(more) != 1 {
			t.Fatalf("%q at once, after %q", more, heard)
		}
		heard = append(heard, more[0])
	}
	heard = slices.Compact(heard) // a login takes two
	if carrier.c.Want() != WantReset && carrier.c.Want() != WantClose {
		t.Error("the connection that closed the others is not closed")
	}
	lead := r.accept()[0]
	heard = append(heard, lead.answer(0)...)
	want := `login TSIH 7 CID 3 CmdSN 40
logout 1 CID 0 CmdSN 40
ping CmdSN 40
logout 1 CID 1 CmdSN 40
ping CmdSN 40
logout 1 CID 2 CmdSN 40
ping CmdSN 40
login TSIH 0 CID 0 CmdSN 1`
	if got := strings.Join(heard, "\n"); got != want {
		t.Errorf("it went\n%s\nand not\n%s", got, want)
	}
	lead.logIn()
	if !r.s.Up() || r.s.Former() != nil {
		t.Errorf("up: %v, still to be closed: %v", r.s.Up(), r.s.Former())
	}
	if fmt.Sprint(lost.CIDs) != "[0 1 2]" {
		t.Error("what the owner gave was changed")
	}
}

// Whatever goes wrong, the new session logs in, without waiting for long; and what is still
// to be closed is known to the one after it.
func TestFormerFails(t *testing.T) {
	const kept, none = "&{7 40 [0 1 2]}", "<nil>"
	join := func(r *rig) *peer {
		p := r.accept()[0]
		p.logIn()
		return p
	}
	for _, c := range []struct {
		name   string
		do     func(r *rig)
		within time.Duration
		portal string
		left   string // when the new session then fails
	}{
		{"the target knows no such session",
			func(r *rig) { r.reject(login.StatusNoSession) }, 0, "a:1", none},
		{"no room for one more", func(r *rig) { r.reject(login.StatusTooManyConnections) },
			0, "a:1", kept},
		{"the join is moved elsewhere", func(r *rig) { r.reject(login.StatusMovedTemporarily) },
			0, "a:1", kept},
		{"the join is cut", func(r *rig) { r.accept()[0].cut() }, 0, "a:1", kept},
		{"the join is not answered", func(r *rig) { r.accept() }, 5 * second, "a:1", kept},
		{"the join gets another session", func(r *rig) { r.tsih = 8; join(r); r.tsih = 7 },
			0, "a:1", kept},
		{"nobody listens at the first portal", func(r *rig) {
			r.refuse()
			r.reject(login.StatusNoSession)
		}, 0, "b:1", none},
		{"the target closes it", func(r *rig) { join(r).cut() }, 0, "a:1", "&{7 40 [0 1 2 3]}"},
		{"a logout is refused", func(r *rig) { join(r).answer(pdu.LogoutCleanupFailed) },
			0, "a:1", "&{7 40 [0 1 2 3]}"},
		{"a logout is not answered", func(r *rig) { join(r) }, 15 * second, "a:1",
			"&{7 40 [0 1 2 3]}"},
		{"a ping is not answered", func(r *rig) { join(r).answer(pdu.LogoutCIDNotFound) },
			15 * second, "a:1", "&{7 40 [1 2 3]}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 2, func(c *Config, _ *login.TargetConfig) { c.NopInterval = second })
			r.follow(lost)
			c.do(r)
			if c.within > 0 {
				r.sleep(c.within - 1)
				if len(r.peers) != 1 || r.s.Conns()[0].Want() == WantReset {
					t.Fatal("it was given up too early")
				}
				r.sleep(1)
			}
			lead := r.accept()
			if len(lead) != 1 {
				t.Fatalf("%d connections instead of the new session's first", len(lead))
			}
			if got := lead[0].c.Address(); got != c.portal {
				t.Errorf("it leads through %s", got)
			}
			if got := lead[0].take(); say(got[0]) != "login TSIH 0 CID 0 CmdSN 1" {
				t.Errorf("it sent %q", say(got[0]))
			}
			r.s.Kill(r.now, nil)
			if got := fmt.Sprint(r.s.Former()); got != c.left {
				t.Errorf("%s is left, not %s", got, c.left)
			}
		})
	}
}

// A session that cannot reach its target ends as it did without a former one, and leaves that
// to the next.
func TestFormerUnreachable(t *testing.T) {
	r := newUp(t, 3, nil)
	r.follow(lost)
	var tried []string
	for r.s.Err() == nil {
		tried = append(tried, r.refuse()...)
	}
	if got := strings.Join(tried, " "); got != "a:1 b:1 c:1" {
		t.Errorf("tried %s", got)
	}
	if got := fmt.Sprint(r.s.Former()); got != "&{7 40 [0 1 2]}" {
		t.Errorf("%s is left", got)
	}
	if got := r.s.Err().Error(); got != "connection 3 to c:1 (dialing): connection refused" {
		t.Errorf("it ended with %q", got)
	}
}

// What was logged out, and a session of one connection, leaves nothing to be closed.
func TestFormerNone(t *testing.T) {
	r := newUp(t, 1, nil)
	r.peers[0].cut()
	if f := r.s.Former(); f != nil {
		t.Errorf("one connection leaves %v", f)
	}
	r = newUp(t, 3, nil)
	r.s.Logout(r.now)
	r.peers[0].answer(pdu.LogoutSuccess)
	if f := r.s.Former(); r.s.Err() == nil || f != nil {
		t.Errorf("a logout leaves %v", f)
	}
}
