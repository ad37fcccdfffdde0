package target

import (
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// join adds a connection to the session that lead began.
func (b *bench) join(lead *peer, initiator string, portal int, isid byte, cid uint16) *peer {
	b.Helper()
	p := b.connect(portal)
	p.cmdSN = lead.cmdSN
	if err := p.login(offer(initiator), isid, lead.resp.TSIH, cid); err != nil {
		b.Fatal(err)
	}
	return p
}

func TestCommandsAreExecutedInOrderAcrossConnections(t *testing.T) {
	b := newBench(t, Config{})
	one := b.session("a", 0, 1)
	two := b.join(one, "a", 1, 1, 2)

	first := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	two.itt, two.cmdSN = one.itt, one.cmdSN
	second := two.command(scsi.Write16(0, 1, false), pattern(2, 512), 0)
	third := two.command(scsi.Read16(0, 1, false), nil, 512)

	// The later two come first, in the wrong order, over the other connection.
	two.push(third, nil)
	two.push(second, pattern(2, 512))
	if list := two.flush(); len(list) != 0 {
		t.Fatalf("answered before their turn: %s", describe(list))
	}
	if r := results(t, one.ask(first, pattern(1, 512)))[first.ITT]; r.status != scsi.Good {
		t.Fatal(r)
	}
	all := results(t, two.flush())
	if r := all[third.ITT]; len(r.data) != 512 || r.data[0] != 2 {
		t.Errorf("the read came before the write: %v %v", r, r.data)
	}
	if c := b.t.Sessions()[0]; c.Counters != (Counters{
		Reads: 1, Writes: 2, ReadBytes: 512, WriteBytes: 1024,
	}) || len(c.Portals) != 2 || c.TSIH != one.resp.TSIH {
		t.Errorf("%+v", c)
	}
	if s := one.c.session; s.expCmdSN != third.CmdSN+1 {
		t.Errorf("ExpCmdSN %d, want %d", s.expCmdSN, third.CmdSN+1)
	}
}

func TestWindowBoundsWhatIsTaken(t *testing.T) {
	b := newBench(t, Config{QueueDepth: 4})
	p := b.session("a", 0, 1)
	base := p.cmdSN
	tur := func(cmdSN uint32) pdu.SCSICommand {
		c := p.command(scsi.TestUnitReady(), nil, 0)
		c.CmdSN = cmdSN
		return c
	}
	for _, c := range []struct {
		what  string
		cmdSN uint32
		want  int
	}{
		{"behind the window", base - 1, 0},
		{"beyond the window", base + 4, 0},
		{"early, kept", base + 3, 0},
		{"twice", base + 3, 0},
		{"early, kept", base + 1, 0},
		{"its turn, and the next one's", base, 2},
		{"the hole", base + 2, 2},
		{"the window has moved", base + 4, 1},
	} {
		if list := p.ask(tur(c.cmdSN), nil); len(list) != c.want {
			t.Errorf("%s: %d answers, want %d", c.what, len(list), c.want)
		}
	}
}

func TestWindowClosesWhileCommandsWait(t *testing.T) {
	b := newBench(t, Config{QueueDepth: 2})
	p := b.session("a", 0, 1)
	b.t.Delay(0, AnyCommand, 1000, 1000)
	for range 3 { // the third is outside
		p.push(p.command(scsi.TestUnitReady(), nil, 0), nil)
	}
	p.flush()
	s := p.c.session
	if s.active != 2 || s.maxCmdSN != s.expCmdSN-1 {
		t.Errorf("active %d, ExpCmdSN %d, MaxCmdSN %d", s.active, s.expCmdSN, s.maxCmdSN)
	}
	b.advance(1000)
	list := p.flush()
	if len(list) != 2 {
		t.Fatalf("%d answers", len(list))
	}
	if m := list[1].MaxCmdSN(); m != s.expCmdSN+1 {
		t.Errorf("MaxCmdSN %d, want %d", m, s.expCmdSN+1)
	}
}

func TestJoining(t *testing.T) {
	b := newBench(t, Config{MaxConnections: 2})
	lead := b.session("a", 0, 1)
	for _, c := range []struct {
		what      string
		initiator string
		portal    int
		isid      byte
		tsih      uint16
		cid       uint16
		want      uint16
	}{
		{"another ISID", "a", 1, 2, lead.resp.TSIH, 2, login.StatusNoSession},
		{"another initiator", "b", 1, 1, lead.resp.TSIH, 2, login.StatusNoSession},
		{"another portal group", "a", 2, 1, lead.resp.TSIH, 2, login.StatusNoSession},
		{"no such session", "a", 1, 1, lead.resp.TSIH + 9, 2, login.StatusNoSession},
		{"the same portal group", "a", 1, 1, lead.resp.TSIH, 2, login.StatusSuccess},
		{"one too many", "a", 1, 1, lead.resp.TSIH, 3, login.StatusTooManyConnections},
		{"the same CID again", "a", 1, 1, lead.resp.TSIH, 2, login.StatusSuccess},
	} {
		p := b.connect(c.portal)
		p.cmdSN = lead.cmdSN
		p.login(offer(c.initiator), c.isid, c.tsih, c.cid)
		if got := uint16(p.resp.StatusClass)<<8 | uint16(p.resp.StatusDetail); got != c.want {
			t.Errorf("%s: status %04x, want %04x", c.what, got, c.want)
		}
	}
	if n := len(lead.c.session.conns); n != 2 {
		t.Errorf("%d connections", n)
	}
	if r := lead.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
}

func TestLosingAConnectionEndsItsSession(t *testing.T) {
	b := newBench(t, Config{})
	one := b.session("a", 0, 1)
	two := b.join(one, "a", 1, 1, 2)
	other := b.session("b", 0, 1)
	two.c.Closed(b.now, nil)
	one.flush()
	if !one.dead {
		t.Error("the other connection of the session lives")
	}
	if r := other.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
	if len(b.t.Conns()) != 1 || len(b.t.sessions) != 1 {
		t.Errorf("%d connections, %d sessions", len(b.t.Conns()), len(b.t.sessions))
	}
}

func TestLogout(t *testing.T) {
	b := newBench(t, Config{})
	one := b.session("a", 0, 1)
	two := b.join(one, "a", 1, 1, 2)
	logout := func(p *peer, reason uint8, cid uint16) uint8 {
		list := p.ask(pdu.LogoutRequest{
			Reason: reason, CID: cid, ITT: 99, CmdSN: one.cmdSN, ExpStatSN: p.stat,
		}, nil)
		one.cmdSN++
		if len(list) != 1 {
			t.Fatalf("%d answers", len(list))
		}
		r, err := pdu.ParseLogoutResponse(&list[0].Header)
		if err != nil {
			t.Fatal(err)
		}
		return r.Response
	}
	if r := logout(one, pdu.LogoutRemoveForRecovery, 2); r != pdu.LogoutRecoveryNotSupported {
		t.Error("remove for recovery:", r)
	}
	if r := logout(one, pdu.LogoutCloseConnection, 7); r != pdu.LogoutCIDNotFound {
		t.Error("unknown CID:", r)
	}
	if r := logout(one, pdu.LogoutCloseConnection, 2); r != pdu.LogoutSuccess {
		t.Error("close connection:", r)
	}
	if two.flush(); !two.dead {
		t.Error("the connection that was logged out lives")
	}
	if r := one.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
	if r := logout(one, pdu.LogoutCloseSession, 0); r != pdu.LogoutSuccess || !one.dead {
		t.Error("close session:", r, one.dead)
	}
	if len(b.t.sessions) != 0 || len(b.t.Conns()) != 0 {
		t.Errorf("%d sessions, %d connections", len(b.t.sessions), len(b.t.Conns()))
	}
}
