package target

import (
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// slowWrite has a write of x to block 0 received but not executed.
func slowWrite(p *peer, x byte) {
	p.b.Helper()
	c := p.command(scsi.Write16(0, 1, false), pattern(x, 512), 0)
	if list := p.ask(c, pattern(x, 512)); len(list) != 0 {
		p.b.Fatalf("not delayed: %s", describe(list))
	}
}

func block0(b *bench) byte {
	data := make([]byte, 512)
	b.t.units[0].Store.Submit(&Op{Kind: OpRead, Length: 512, Data: data})
	return data[0]
}

func TestGhosts(t *testing.T) {
	again := func(isid byte) func(*bench) {
		return func(b *bench) { b.session("a", 1, isid) }
	}
	for _, c := range []struct {
		what   string
		late   bool
		then   func(b *bench)
		lands  bool
		before func(b *bench)
	}{
		{"the nexus is lost, nothing more", false, nil, false, nil},
		{"execute late", true, nil, true, nil},
		{"execute late, another ISID logs in", true, again(2), true, nil},
		{"execute late, reinstated", true, again(1), false, nil},
		{"execute late, reinstated, but that does not abort", true, again(1), true,
			func(b *bench) { b.t.NoAbort(true) }},
		{"execute late, same ISID at another portal group", true,
			func(b *bench) { b.session("a", 2, 1) }, true, nil},
		{"execute late, restart", true,
			func(b *bench) { b.t.Restart(b.now, Restart{}) }, false, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newBench(t, Config{})
			p := b.session("a", 0, 1)
			b.t.Delay(0, AnyCommand, time.Second, time.Second)
			b.t.ExecuteLate(c.late, 5*time.Second, 9*time.Second)
			slowWrite(p, 7)
			if c.before != nil {
				c.before(b)
			}
			b.t.Cut(b.now, 0, true)
			p.flush()
			if !p.dead {
				t.Fatal("the connection lives")
			}
			b.advance(2 * time.Second)
			if x := block0(b); x != 0 {
				t.Fatalf("executed early: %d", x)
			}
			if c.then != nil {
				c.then(b)
			}
			b.advance(10 * time.Second)
			if landed := block0(b) == 7; landed != c.lands {
				t.Errorf("landed: %v, want %v", landed, c.lands)
			}
			if n := b.t.Ghosts(); n != 0 {
				t.Errorf("%d ghosts left", n)
			}
		})
	}
}

func TestReinstatementThatDoesNotAbort(t *testing.T) {
	b := newBench(t, Config{})
	old := b.session("a", 0, 1)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	b.t.NoAbort(true)
	slowWrite(old, 7)
	b.session("a", 1, 1)
	if n := b.t.Ghosts(); n != 1 {
		t.Errorf("%d ghosts", n)
	}
	b.advance(time.Second)
	if x := block0(b); x != 7 {
		t.Errorf("the old write was not executed: %d", x)
	}
}

func TestReinstatementAbortsWhileTheOldConnectionLives(t *testing.T) {
	b := newBench(t, Config{})
	old := b.session("a", 0, 1)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(old, 7)
	p := b.session("a", 1, 1)
	if old.flush(); !old.dead {
		t.Error("the old connection lives")
	}
	b.advance(5 * time.Second)
	if x := block0(b); x != 0 {
		t.Errorf("the old write was executed: %d", x)
	}
	if len(b.t.sessions) != 1 || p.resp.TSIH == old.resp.TSIH {
		t.Errorf("%d sessions, TSIH %d and %d", len(b.t.sessions), old.resp.TSIH, p.resp.TSIH)
	}
}

// slowStore leaves writes pending until release.
type slowStore struct {
	ram  *RAM
	held []*Op
}

func (s *slowStore) Size() uint64 { return s.ram.Size() }

func (s *slowStore) Submit(op *Op) bool {
	if op.Kind == OpRead {
		return s.ram.Submit(op)
	}
	s.held = append(s.held, op)
	return false
}

func (s *slowStore) release(now time.Duration) {
	held := s.held
	s.held = nil
	for _, op := range held {
		s.ram.Submit(op)
		op.Done(now)
	}
}

func slowBench(t *testing.T) (*bench, *slowStore) {
	s := &slowStore{ram: newRAM(t, 1<<20)}
	return newBench(t, Config{LUNs: []LUNConfig{{Store: s, WriteCache: true, Thin: true}}}), s
}

func TestReinstatementWaitsForTheStore(t *testing.T) {
	for _, c := range []struct {
		what string
		then func(b *bench, old *peer)
	}{
		{"the old connection lives", func(*bench, *peer) {}},
		{"the old connection is lost", func(b *bench, old *peer) { old.c.Closed(b.now, nil) }},
		{"a login that gave up waiting", func(b *bench, old *peer) {
			p := b.connect(1)
			p.startLogin(offer("a"), 1, 0, 1)
			p.c.Closed(b.now, nil)
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b, store := slowBench(t)
			old := b.session("a", 0, 1)
			slowWrite(old, 7)
			c.then(b, old)
			p := b.connect(1)
			if p.startLogin(offer("a"), 1, 0, 1) {
				t.Fatal("the login was answered while an old write was on its way to the medium")
			}
			store.release(b.now)
			if list := p.flush(); len(list) != 1 || p.c.state != stateFull {
				t.Fatalf("%d answers, state %d", len(list), p.c.state)
			}
			if x := block0(b); x != 7 {
				t.Errorf("block 0 is %d", x)
			}
		})
	}
}

func TestReinstatementNeedNotWaitIfTheFaultSaysSo(t *testing.T) {
	b, store := slowBench(t)
	old := b.session("a", 0, 1)
	slowWrite(old, 7)
	b.t.NoAbort(true)
	p := b.connect(1)
	if !p.startLogin(offer("a"), 1, 0, 1) {
		t.Fatal("held")
	}
	store.release(b.now) // nobody is told, nothing breaks
	if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.ASC != 0x29 || r.sense.ASCQ != 7 {
		t.Error(r)
	}
}

func TestUnitAttentions(t *testing.T) {
	b := newBench(t, Config{})
	p := b.connect(0)
	if err := p.login(offer("a"), 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	expect := func(p *peer, what string, ascq ...uint8) {
		t.Helper()
		for _, q := range ascq {
			if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.ASC != 0x29 || r.sense.ASCQ != q {
				t.Errorf("%s: %v, want 29h/%02Xh", what, r, q)
			}
		}
		if r := p.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
			t.Errorf("%s: %v, want GOOD", what, r)
		}
	}
	if r := p.result(scsi.Inquiry(false, 0, 96), nil, 96); r.status != scsi.Good {
		t.Error("INQUIRY reports a unit attention:", r)
	}
	expect(p, "new nexus", 0)
	p.c.Closed(b.now, nil)
	p = b.connect(0)
	p.login(offer("a"), 1, 0, 1)
	expect(p, "known nexus", 7)

	b.t.LoseCache(nil)
	r := p.result(scsi.RequestSense(18), nil, 18)
	if s, ok := scsi.ParseSense(r.data); !ok || s.ASC != 0x29 || s.ASCQ != 1 {
		t.Errorf("REQUEST SENSE after a loss of cache: %v", s)
	}
	expect(p, "after REQUEST SENSE")

	b.t.Restart(b.now, Restart{})
	p.flush()
	p = b.connect(0)
	p.login(offer("a"), 1, 0, 1)
	expect(p, "after a restart", 1)
}
