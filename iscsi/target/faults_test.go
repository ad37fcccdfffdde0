package target

import (
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

func good(t *testing.T, p *peer) {
	t.Helper()
	if r := p.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
}

func TestCut(t *testing.T) {
	b := newBench(t, Config{})
	one, two := b.session("a", 0, 1), b.session("a", 1, 2)
	b.t.Cut(b.now, 0, true)
	if one.flush(); !one.dead {
		t.Error("not cut")
	}
	good(t, two)
	if b.t.Accept(b.now, 0) != nil {
		t.Error("a connection to a cut portal")
	}
	b.t.Cut(b.now, 0, false)
	b.session("a", 0, 1)
}

func TestBlackhole(t *testing.T) {
	b := newBench(t, Config{NopInterval: time.Second, NopTimeout: time.Second})
	one, two := b.session("a", 0, 1), b.session("b", 0, 1)
	b.t.Blackhole(b.now, 0, true)
	c := one.command(scsi.Write16(0, 1, false), pattern(7, 512), 0)
	if list := one.ask(c, pattern(7, 512)); len(list) != 0 {
		t.Error(describe(list))
	}
	three := b.connect(0)
	if three.startLogin(offer("c"), 1, 0, 1) {
		t.Error("a login through a blackhole")
	}
	b.t.Blackhole(b.now, 0, false)
	if one.flush(); !one.dead {
		t.Error("the connection lost bytes and lives")
	}
	good(t, two) // nothing of it was lost
	if x := block0(b); x != 0 {
		t.Error("the swallowed write was executed")
	}
	// The target gives up a silent initiator, but not even that gets through.
	b.t.Blackhole(b.now, 0, true)
	b.advance(5 * time.Second)
	if two.flush(); two.dead || len(b.t.sessions) != 0 {
		t.Errorf("dead: %v, %d sessions", two.dead, len(b.t.sessions))
	}
	b.t.Blackhole(b.now, 0, false)
	if two.flush(); !two.dead {
		t.Error("not reset")
	}
}

func TestStall(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	b.t.Stall(0, true)
	c := p.command(scsi.TestUnitReady(), nil, 0)
	if list := p.ask(c, nil); len(list) != 0 {
		t.Error(describe(list))
	}
	b.t.Stall(0, false)
	if !p.c.Resumed() || p.c.Resumed() {
		t.Error("the transport is not told, once, to read again")
	}
	if r := results(t, p.flush())[c.ITT]; r.status != scsi.Good {
		t.Error(r)
	}
}

func TestRefusedLogins(t *testing.T) {
	b := newBench(t, Config{})
	b.t.RefuseLogins(1, false)
	for _, want := range []uint16{login.StatusUnavailable, login.StatusSuccess} {
		p := b.connect(0)
		p.login(offer("a"), 1, 0, 1)
		if got := uint16(p.resp.StatusClass)<<8 | uint16(p.resp.StatusDetail); got != want {
			t.Errorf("%04x, want %04x", got, want)
		}
	}
	b.t.RefuseLogins(1, true)
	p := b.connect(0)
	p.login(offer("a"), 1, 0, 1)
	if p.resp.StatusClass != 3 || p.resp.StatusDetail != 2 || !p.dead {
		t.Errorf("%+v", p.resp)
	}
}

func volatileBench(t *testing.T, per Volatility) (*bench, *Volatile) {
	v, err := NewVolatile(newRAM(t, 1<<20), 512, per)
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, Config{LUNs: []LUNConfig{{Store: v, WriteCache: true}}}), v
}

func TestRestartLosesWhatWasNotFlushed(t *testing.T) {
	for _, c := range []struct {
		what    string
		per     Volatility
		restart Restart
		want    [3]byte // what one flushed, what one did not, what two wrote before one's flush
	}{
		{"cache kept", PerNexus, Restart{}, [3]byte{1, 2, 3}},
		{"cache of a LUN lost", PerLUN, Restart{Cache: CacheLost}, [3]byte{1, 0, 3}},
		{"caches of nexuses lost", PerNexus, Restart{Cache: CacheLost}, [3]byte{1, 0, 0}},
		{"chosen", PerNexus, Restart{Choose: func(_ uint16, lba uint64, versions int) int {
			if lba == 1 {
				return versions
			}
			return 0
		}}, [3]byte{1, 2, 0}},
		{"half open", PerLUN, Restart{Cache: CacheLost, HalfOpen: true}, [3]byte{1, 0, 3}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b, v := volatileBench(t, c.per)
			one, two := b.session("a", 0, 1), b.session("a", 1, 2)
			one.result(scsi.Write16(0, 1, false), pattern(1, 512), 0)
			two.result(scsi.Write16(2, 1, false), pattern(3, 512), 0)
			if r := one.result(scsi.SynchronizeCache16(0, 0), nil, 0); r.status != scsi.Good {
				t.Fatal(r)
			}
			one.result(scsi.Write16(1, 1, false), pattern(2, 512), 0)
			c.restart.Down = time.Second
			b.t.Restart(b.now, c.restart)
			one.flush()
			if one.dead == c.restart.HalfOpen {
				t.Errorf("connection reset: %v", one.dead)
			}
			if c.restart.HalfOpen && len(one.ask(one.command(scsi.TestUnitReady(), nil, 0), nil)) != 0 {
				t.Error("an answer from the dead")
			}
			if b.t.Accept(b.now, 0) != nil {
				t.Error("accepted while down")
			}
			b.advance(time.Second)
			p := b.session("a", 0, 1)
			for i, want := range c.want {
				if r := p.result(scsi.Read16(uint64(i), 1, false), nil, 512); r.data[0] != want {
					t.Errorf("block %d is %d, want %d", i, r.data[0], want)
				}
			}
			if c.restart.Cache == CacheKept && c.restart.Choose == nil {
				// The same initiator port is the same nexus to the cache.
				p.result(scsi.SynchronizeCache16(0, 0), nil, 0)
				if v.Unstable() != 1 {
					t.Errorf("%d blocks are unstable, want that of the other nexus", v.Unstable())
				}
			}
		})
	}
}

func TestWriteThrough(t *testing.T) {
	v := newVolatile(t, PerLUN)
	b := newBench(t, Config{LUNs: []LUNConfig{{Store: v}}}) // WCE=0
	p := b.session("a", 0, 1)
	p.result(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	if v.Unstable() != 0 {
		t.Error("a write is unstable although there is no write cache")
	}
	b.t.LoseCache(nil)
	if x := block0(b); x != 1 {
		t.Error("it was lost")
	}
}

func TestDelayIsWithinItsBounds(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	b.t.Delay(0, AnyCommand, 10*time.Millisecond, 20*time.Millisecond)
	for range 20 {
		p.push(p.command(scsi.TestUnitReady(), nil, 0), nil)
	}
	if n := len(p.flush()); n != 0 {
		t.Fatalf("%d at once", n)
	}
	b.advance(9 * time.Millisecond)
	if n := len(p.flush()); n != 0 {
		t.Errorf("%d too early", n)
	}
	b.advance(11 * time.Millisecond)
	list := p.flush()
	if len(list) != 20 {
		t.Fatalf("%d in time", len(list))
	}
	inOrder := true
	for i := 1; i < len(list); i++ {
		inOrder = inOrder && list[i-1].ITT() < list[i].ITT()
		if list[i].StatSN() != list[i-1].StatSN()+1 {
			t.Error("StatSN is out of order")
		}
	}
	if inOrder {
		t.Error("chance decided nothing")
	}
}

// TestDelayOfOneKind: a script delays flushes, and nothing else.
func TestDelayOfOneKind(t *testing.T) {
	s, err := ParseScript("at 0s delay all 2ms flushes")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	b.t.Play(b.now, s)
	b.advance(0)
	flush := p.command(scsi.SynchronizeCache16(0, 0), nil, 0)
	p.push(flush, nil)
	p.push(p.command(scsi.TestUnitReady(), nil, 0), nil)
	p.push(p.command(scsi.TestUnitReady(), nil, 0), nil)
	if list := p.flush(); len(list) != 2 || list[0].ITT() == flush.ITT || list[1].ITT() == flush.ITT {
		t.Errorf("at once: %s", describe(list))
	}
	b.advance(2 * time.Millisecond)
	if list := p.flush(); len(list) != 1 || list[0].ITT() != flush.ITT {
		t.Errorf("after its time: %s", describe(list))
	}
}

func TestNop(t *testing.T) {
	b := newBench(t, Config{NopInterval: time.Second, NopTimeout: 500 * time.Millisecond})
	p := b.session("a", 0, 1)
	b.advance(time.Second)
	list := p.flush()
	if len(list) != 1 || list[0].TTT() == 0xffffffff || list[0].ITT() != 0xffffffff {
		t.Fatal(describe(list))
	}
	b.advance(400 * time.Millisecond)
	good(t, p) // anything will do as an answer
	b.advance(900 * time.Millisecond)
	if list := p.flush(); len(list) != 0 {
		t.Error("asked too early:", describe(list))
	}
	b.advance(590 * time.Millisecond)
	if p.flush(); p.dead {
		t.Error("given up too early")
	}
	b.advance(10 * time.Millisecond)
	if p.flush(); !p.dead {
		t.Error("not given up")
	}
}

func TestLoginTimeout(t *testing.T) {
	b := newBench(t, Config{LoginTimeout: time.Second})
	p := b.connect(0)
	b.advance(999 * time.Millisecond)
	if p.flush(); p.dead {
		t.Error("too early")
	}
	b.advance(time.Millisecond)
	if p.flush(); !p.dead {
		t.Error("a connection without login lives")
	}
}
