package target

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// pair is a session of error recovery level 2 with two connections.
func pair(t *testing.T, cfg Config) (b *bench, one, two *peer) {
	t.Helper()
	cfg.ErrorRecoveryLevel = 2
	if cfg.DefaultTime2Retain == 0 {
		cfg.DefaultTime2Retain = 10
	}
	if cfg.DefaultTime2Wait == 0 {
		cfg.DefaultTime2Wait = 3
	}
	b, one = recovering(t, cfg)
	two = b.recovering("a", 1, one.resp.TSIH, 2)
	return b, one, two
}

func (p *peer) logout(reason uint8, cid uint16) []got {
	p.b.Helper()
	return p.ask(pdu.LogoutRequest{Immediate: true, Reason: reason, ITT: 900, CID: cid,
		CmdSN: p.cmdSN, ExpStatSN: p.stat}, nil)
}

func (p *peer) reassign(itt, expDataSN uint32) []got {
	p.b.Helper()
	return p.ask(pdu.TaskRequest{Immediate: true, Function: pdu.TaskReassign, ITT: 901,
		RefTag: itt, CmdSN: p.cmdSN, ExpStatSN: p.stat, ExpDataSN: expDataSN}, nil)
}

// dies: the connection is gone, from one moment to the next.
func (p *peer) dies() {
	p.c.Closed(p.b.now, nil)
	p.dead = true
}

func TestReassign(t *testing.T) {
	for _, x := range []struct {
		what  string
		begin func(p *peer) uint32 // gives the ITT
		sn    uint32               // ExpDataSN
		want  string
	}{
		{"status was lost", func(p *peer) uint32 {
			c := p.command(scsi.TestUnitReady(), nil, 0)
			p.ask(c, nil)
			return c.ITT
		}, 0, "task response 0 stat 2; status 00 data 0 stat 3"},
		{"sense was lost", func(p *peer) uint32 {
			c := p.command([16]byte{0xff}, nil, 0)
			p.ask(c, nil)
			return c.ITT
		}, 0, "task response 0 stat 2; status 02 data 0 stat 3 sense 5/2000"},
		{"a read of which nothing came", func(p *peer) uint32 {
			c := p.command(scsi.Read16(0, 5, false), nil, 2560)
			p.ask(c, nil)
			return c.ITT
		}, 0, "task response 0 stat 2; in 0: 0+1024; in 1: 1024+1024; in 2: 2048+512 F S stat 3"},
		{"a read of which a part came", func(p *peer) uint32 {
			c := p.command(scsi.Read16(0, 5, false), nil, 2560)
			p.ask(c, nil)
			return c.ITT
		}, 2, "task response 0 stat 2; in 2: 2048+512 F S stat 3"},
		{"a read of which only status is missing", func(p *peer) uint32 {
			c := p.command(scsi.Read16(0, 5, false), nil, 2560)
			p.ask(c, nil)
			return c.ITT
		}, 3, "task response 0 stat 2; status 00 data 3 stat 3"},
		{"ExpDataSN beyond what was sent", func(p *peer) uint32 {
			c := p.command(scsi.Read16(0, 5, false), nil, 2560)
			p.ask(c, nil)
			return c.ITT
		}, 4, "task response 255 stat 2"},
		{"a read in the middle", func(p *peer) uint32 {
			c := p.command(scsi.Read16(0, 600, false), nil, 300<<10)
			p.push(c, nil)
			p.sendOnly() // more than is queued at a time
			return c.ITT
		}, 250, "task response 0 stat 2; in 250: 256000+1024; ... " +
			"in 299: 306176+1024 F S stat 3"},
		{"a write whose R2T was lost", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
			c.DataLen = 0
			p.ask(c, nil)
			return c.ITT
		}, 0, "task response 0 stat 2; R2T 0: 0+2048"},
		{"a write whose data was lost", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
			c.DataLen = 0
			p.ask(c, nil)
			return c.ITT
		}, 1, "task response 0 stat 2; R2T 1: 0+2048"},
		{"a write with a part of its data", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
			c.DataLen = 0
			list := p.ask(c, nil)
			p.pieces(c.ITT, list[0].TTT(), pattern(1, 2048), piece{n: 512})
			return c.ITT
		}, 1, "task response 0 stat 2; R2T 1: 512+1536"},
		{"a write with a gap in its data", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
			c.DataLen = 0
			list := p.ask(c, nil)
			p.pieces(c.ITT, list[0].TTT(), pattern(1, 2048), piece{n: 512},
				piece{sn: 2, offset: 1024, n: 512})
			return c.ITT
		}, 1, "task response 0 stat 2; R2T 1: 512+1536"},
		{"a write with unsolicited data", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
			c.DataLen, c.Final = 512, false
			p.ask(c, pattern(1, 512))
			return c.ITT
		}, 0, "task response 0 stat 2; R2T 0: 512+1536"},
		{"a write that was executed", func(p *peer) uint32 {
			c := p.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
			p.ask(c, pattern(1, 512))
			return c.ITT
		}, 0, "task response 0 stat 2; status 00 data 0 stat 3"},
		{"a task that does not exist", func(p *peer) uint32 { return 555 }, 0,
			"task response 1 stat 2"},
	} {
		t.Run(x.what, func(t *testing.T) {
			_, one, two := pair(t, Config{})
			data := one.fill(5)
			two.cmdSN = one.cmdSN
			itt := x.begin(one)
			one.dies()
			two.cmdSN = one.cmdSN
			list := two.want(two.flush(), "async 2: 1 3 10 stat 0")
			list = two.want(append(list, two.logout(pdu.LogoutRemoveForRecovery, 1)...),
				"async 2: 1 3 10 stat 0; logout response 0 wait 3 retain 10 stat 1")
			two.hear(list)
			list = two.reassign(itt, x.sn)
			from, to, _ := strings.Cut(x.want, " ... ")
			if s := two.notes(list); s != x.want && (to == "" || !strings.HasPrefix(s, from) ||
				!strings.HasSuffix(s, to)) {
				t.Fatalf("\ngot  %s\nwant %s", s, x.want)
			}
			for _, g := range list {
				if g.Opcode() != pdu.OpDataIn {
					continue
				}
				off := int(g.Header[41])<<16 | int(g.Header[42])<<8 | int(g.Header[43])
				if off < len(data) && !bytes.Equal(g.data, data[off:off+len(g.data)]) {
					t.Error("other data at", off)
				}
			}
		})
	}
}

// sendOnly brings what was pushed to the target and takes nothing back.
func (p *peer) sendOnly() {
	var out []byte
	for _, b := range p.send.Buffers(nil) {
		out = append(out, b...)
	}
	n := copy(p.c.RecvBuffers(nil)[0], out)
	p.send.Sent(n)
	p.c.Received(p.b.now, n)
}

// A write goes on where it was, with its data from both connections.
func TestReassignedWriteIsWritten(t *testing.T) {
	b, one, two := pair(t, Config{MaxRecvDataSegmentLength: 4096})
	data := noise(9, 4096)
	c := one.command(scsi.Write16(0, 8, false), data, 0)
	c.DataLen = 0
	list := one.ask(c, nil)
	one.pieces(c.ITT, list[0].TTT(), data, piece{n: 512}, piece{sn: 1, offset: 512, n: 1024})
	one.dies()
	two.cmdSN = one.cmdSN
	two.hear(append(two.flush(), two.logout(pdu.LogoutRemoveForRecovery, 1)...))
	list = two.want(two.reassign(c.ITT, 1), "task response 0 stat 2; R2T 1: 1536+2560")
	two.want(two.pieces(c.ITT, list[1].TTT(), data, piece{offset: 1536, n: 2560, final: true}),
		"status 00 data 2 stat 3")
	back := make([]byte, 4096)
	b.t.units[0].Store.Submit(&Op{Kind: OpRead, Length: 4096, Data: back})
	if !bytes.Equal(back, data) || b.t.sessions[0].counters.Reassigned != 1 {
		t.Error("other data was written")
	}
}

// Who may reassign, and when (RFC 7143 sections 7.2.2 and 11.6.1).
func TestAllegiance(t *testing.T) {
	b, one, two := pair(t, Config{})
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	waits := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	one.ask(waits, pattern(1, 512))
	two.cmdSN = one.cmdSN
	two.want(two.reassign(waits.ITT, 0), "task response 3 stat 0") // the connection lives
	one.dies()
	two.want(two.reassign(waits.ITT, 0), "async 2: 1 3 10 stat 1; task response 3 stat 2")
	two.want(two.logout(pdu.LogoutRemoveForRecovery, 9), "logout response 1 wait 3 retain 10 stat 3")
	two.want(two.logout(pdu.LogoutRemoveForRecovery, 1), "logout response 0 wait 3 retain 10 stat 4")
	r := pdu.TaskRequest{Immediate: true, Function: pdu.TaskReassign, ITT: 901, RefTag: waits.ITT,
		CmdSN: two.cmdSN, LUN: [8]byte{0, 1}}
	two.want(two.ask(r, nil), "task response 2 stat 5")
	b.t.RefuseReassigns(1)
	two.want(two.reassign(waits.ITT, 0), "task response 255 stat 6")
	two.want(two.reassign(waits.ITT, 0), "task response 0 stat 7")
	two.want(two.reassign(waits.ITT, 0), "task response 3 stat 8")
	b.advance(time.Second)
	two.want(two.flush(), "status 00 data 0 stat 9")
	if x := block0(b); x != 1 {
		t.Errorf("block 0 is %d", x)
	}
}

// A task that is executed while it has no connection is answered on the new one.
func TestTasksGoOnWithoutAConnection(t *testing.T) {
	b, one, two := pair(t, Config{})
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	write := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	one.ask(write, pattern(1, 512))
	read := one.command(scsi.Read16(0, 1, false), nil, 512)
	one.ask(read, nil)
	one.dies()
	b.advance(time.Second)
	if x := block0(b); x != 1 {
		t.Errorf("block 0 is %d", x)
	}
	two.cmdSN = one.cmdSN
	two.flush()
	two.want(two.logout(pdu.LogoutRemoveForRecovery, 1), "logout response 0 wait 3 retain 10 stat 1")
	two.want(two.reassign(read.ITT, 0), "task response 0 stat 2; in 0: 0+512 F S stat 3")
	two.want(two.reassign(write.ITT, 0), "task response 0 stat 4; status 00 data 0 stat 5")
}

// What came over the lost connection before its turn is forgotten, so that the
// same commands again fill the gap (RFC 7143 sections 7.2.1 and 11.14).
func TestCommandsThatWereNotDeliveredComeAgain(t *testing.T) {
	b, one, two := pair(t, Config{})
	lost := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	early := one.command(scsi.Write16(0, 1, false), pattern(2, 512), 0)
	one.want(one.ask(early, pattern(2, 512)), "")
	one.dies()
	two.flush()
	two.cmdSN = one.cmdSN
	two.logout(pdu.LogoutRemoveForRecovery, 1)
	two.want(two.reassign(early.ITT, 0), "task response 1 stat 2")
	two.want(two.ask(lost, pattern(1, 512)), "status 00 data 0 stat 3")
	two.want(two.ask(early, pattern(2, 512)), "status 00 data 0 stat 4")
	if x := block0(b); x != 2 {
		t.Errorf("block 0 is %d", x)
	}
}

func TestTimeToRetain(t *testing.T) {
	for _, x := range []struct {
		what   string
		logout bool
		after  time.Duration
		want   string
	}{
		{"in time", false, 12 * time.Second, "task response 3 stat 1"},
		{"too late", false, 13 * time.Second, "task response 1 stat 1"},
		{"in time after a logout", true, 17 * time.Second, "task response 0 stat 2"},
		{"too late after a logout", true, 18 * time.Second, "task response 1 stat 2"},
	} {
		b, one, two := pair(t, Config{AckInterval: time.Hour, DataTimeout: time.Hour})
		c := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
		c.DataLen = 0
		one.ask(c, nil)
		two.cmdSN = one.cmdSN
		one.dies()
		two.flush()
		if b.advance(5 * time.Second); x.logout {
			two.logout(pdu.LogoutRemoveForRecovery, 1)
		}
		b.advance(x.after - 5*time.Second)
		list := two.reassign(c.ITT, 1)
		if got := two.notes(list[:1]); got != x.want {
			t.Errorf("%s: %s, want %s", x.what, got, x.want)
		}
		if b.advance(time.Minute); b.t.failures != 0 || len(b.t.sessions) != 1 {
			t.Errorf("%s: %d failures, %d sessions", x.what, b.t.failures, len(b.t.sessions))
		}
		two.dies()
		if b.advance(time.Minute); len(b.t.sessions) != 0 || b.t.pool.out != 0 {
			t.Errorf("%s: %d sessions, %d bytes", x.what, len(b.t.sessions), b.t.pool.out)
		}
	}
}

// A session whose connections have all failed is continued by a login with its
// TSIH, which logs the connection of that CID out (RFC 7143 section 6.3.4).
func TestConnectionReinstatement(t *testing.T) {
	for _, alive := range []bool{false, true} {
		b, one := recovering(t, Config{ErrorRecoveryLevel: 2, DefaultTime2Retain: 10,
			MaxConnections: 1})
		one.fill(2)
		first := one.command(scsi.Read16(0, 1, false), nil, 512)
		one.hear(one.ask(first, nil)) // acknowledged by the login only
		second := one.command(scsi.Read16(1, 1, false), nil, 512)
		one.ask(second, nil)
		if !alive {
			one.dies()
		}
		p := b.connect(1)
		p.cmdSN, p.stat = one.cmdSN, one.stat
		if err := p.login(offer("a"), 1, one.resp.TSIH, 1); err != nil {
			t.Fatal(err)
		}
		p.first = p.stat
		if alive {
			if one.flush(); !one.dead {
				t.Error("the old connection lives")
			}
		}
		p.want(p.reassign(first.ITT, 0), "task response 1 stat 0")
		p.want(p.reassign(second.ITT, 0), "task response 0 stat 1; in 0: 0+512 F S stat 2")
		p.want(p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil), "status 00 data 0 stat 3")

		// A new session waits for nobody: it aborts what the old one kept.
		p.dies()
		q := b.connect(0)
		if err := q.login(offer("a"), 1, 0, 1); err != nil || len(b.t.sessions) != 1 {
			t.Error(err, len(b.t.sessions))
		}
		r := b.connect(0)
		if r.login(offer("a"), 1, one.resp.TSIH, 1); r.resp.StatusDetail != 0x0a {
			t.Errorf("the old session is still there: %+v", r.resp)
		}
		if b.t.failures != 0 {
			t.Error("a failure is left")
		}
	}
}

func TestLogoutForRecovery(t *testing.T) {
	// Of a connection that still lives, over another one and over itself.
	b, one, two := pair(t, Config{})
	one.want(one.logout(pdu.LogoutRemoveForRecovery, 2), "logout response 0 wait 3 retain 10 stat 0")
	if two.flush(); !two.dead {
		t.Error("not closed")
	}
	c := one.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	c.DataLen = 0
	one.want(one.ask(c, nil), "R2T 0: 0+512")
	one.want(one.logout(pdu.LogoutRemoveForRecovery, 1), "logout response 0 wait 3 retain 10 stat 1")
	if !one.dead || len(b.t.sessions) != 1 {
		t.Error("not closed, or the session ended with it")
	}
	p := b.recovering("a", 0, one.resp.TSIH, 3)
	p.want(p.reassign(c.ITT, 1), "task response 0 stat 0; R2T 1: 0+512")

	// At a lower level there is no recovery, and without Time2Retain nothing is kept.
	_, p = recovering(t, Config{ErrorRecoveryLevel: 1})
	p.want(p.logout(pdu.LogoutRemoveForRecovery, 1), "logout response 2 wait 0 retain 0 stat 0")
	p.want(p.reassign(1, 0), "task response 4 stat 1")
	b, p = recovering(t, Config{ErrorRecoveryLevel: 2})
	if p.dies(); len(b.t.sessions) != 0 {
		t.Error("the session is kept")
	}
}

func TestAsynchronousMessages(t *testing.T) {
	b, one, two := pair(t, Config{AckInterval: time.Hour})
	b.t.AskLogout(b.now, 0, 2500*time.Millisecond)
	one.want(one.flush(), "async 1: 0 0 2 stat 0")
	b.advance(1900 * time.Millisecond)
	one.want(one.flush(), "")
	b.advance(100 * time.Millisecond)
	if one.flush(); !one.dead {
		t.Error("it may stay although it did not log out")
	}
	two.want(two.flush(), "async 2: 1 3 10 stat 0")
	b.t.DropConns(b.now, 1) // the last one hears it itself
	two.want(two.flush(), "async 2: 2 3 10 stat 1")
	if !two.dead || len(b.t.sessions) != 1 {
		t.Error("not dropped, or the session with it")
	}
	for _, level := range []int{0, 2} {
		b, one, two = pair(t, Config{})
		if level == 0 {
			b = newBench(t, Config{FirstAttention: AttentionNone})
			one = b.recovering("a", 0, 0, 1)
			two = b.recovering("a", 1, one.resp.TSIH, 2)
		}
		b.t.DropSessions(b.now, 0)
		for _, p := range []*peer{one, two} {
			list := p.flush()
			if len(list) != 1 || list[0].Header[36] != 3 || !p.dead {
				t.Errorf("level %d: %s, dead %v", level, p.notes(list), p.dead)
			}
		}
		if n := len(b.t.sessions); n != level/2 {
			t.Errorf("level %d: %d sessions", level, n)
		}
	}
	s, err := ParseScript("at 0s async logout 2s all\nat 1s reset cid 2\nat 2s async drop portal 1\n" +
		"at 3s async drop-session all")
	if err != nil {
		t.Fatal(err)
	}
	b, one, two = pair(t, Config{})
	b.t.Play(b.now, s)
	b.advance(1500 * time.Millisecond)
	if two.flush(); !two.dead || one.dead {
		t.Error("the wrong connection was reset")
	}
	b.advance(time.Minute)
	if one.flush(); !one.dead || len(b.t.conns) != 0 || len(b.t.sessions) != 0 {
		t.Error("something is left")
	}
}

// A session that is reinstated while tasks wait for a connection: the login waits
// for the one that the disk has.
func TestReinstatementAbortsWhatWaits(t *testing.T) {
	store := &slowStore{ram: newRAM(t, 1<<20)}
	b, p := recovering(t, Config{ErrorRecoveryLevel: 2, DefaultTime2Retain: 10,
		LUNs: []LUNConfig{{Store: store, WriteCache: true}}})
	p.ask(p.command(scsi.Write16(0, 1, false), pattern(1, 512), 0), pattern(1, 512))
	r2t := p.command(scsi.Write16(8, 1, false), pattern(1, 512), 0)
	r2t.DataLen = 0
	p.ask(r2t, nil)
	p.dies()
	q := b.connect(1)
	if q.startLogin(offer("a"), 1, 0, 1) {
		t.Error("the login does not wait for the disk")
	}
	store.release(b.now)
	list := q.flush()
	if len(list) != 1 || list[0].Opcode() != pdu.OpLoginResponse || len(b.t.sessions) != 1 ||
		b.t.failures != 0 || b.t.pool.out != 0 || len(b.t.delayed.heap) != 0 {
		t.Errorf("%s, %d sessions, %d failures, %d bytes", describe(list), len(b.t.sessions),
			b.t.failures, b.t.pool.out)
	}
}

// A discovery session recovers nothing (RFC 7143 section 7.4).
func TestDiscoveryDoesNotRecover(t *testing.T) {
	b := newBench(t, Config{ErrorRecoveryLevel: 2, DefaultTime2Retain: 10})
	p := b.connect(0)
	o := offer("a")
	o.Discovery = true
	if err := p.login(o, 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	if p.dies(); p.c.level != 0 || len(b.t.sessions) != 0 {
		t.Errorf("level %d, %d sessions", p.c.level, len(b.t.sessions))
	}
}

// However often connections fail, what waits for recovery is bounded.
func TestFailuresAreBounded(t *testing.T) {
	b, p := recovering(t, Config{ErrorRecoveryLevel: 2, DefaultTime2Retain: 10})
	for range 2 * maxFailed {
		p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil)
		q := b.connect(0) // takes the place of the one before it
		q.cmdSN = p.cmdSN
		if err := q.login(offer("a"), 1, p.resp.TSIH, 1); err != nil {
			t.Fatal(err)
		}
		p.flush()
		p = q
	}
	if n := b.t.failures; n != maxFailed || len(b.t.sessions[0].failed) != n {
		t.Errorf("%d failures", n)
	}
	b.t.cfg.MaxConns = 1
	if p.dies(); b.t.failures != 1 || len(b.t.sessions) != 1 {
		t.Errorf("%d failures", b.t.failures)
	}
	b.t.cfg.MaxConns = 8
	q := b.recovering("b", 1, 0, 1)
	b.t.cfg.MaxConns = 1
	if q.dies(); b.t.failures != 1 || len(b.t.sessions) != 1 {
		t.Errorf("%d failures, %d sessions", b.t.failures, len(b.t.sessions))
	}
	b.advance(time.Minute)
	if b.t.failures != 0 || len(b.t.sessions) != 0 || b.t.pool.out != 0 {
		t.Errorf("left: %d failures, %d sessions", b.t.failures, len(b.t.sessions))
	}
}
