package main

import (
	"sync"
	"time"

	"braid/internal/loop"
	"braid/iscsi/target"
)

const name = "iqn.2026-01.net.braid:storm"

// A gate is a target behind a limit of logins at a time. It is the loop's Driver.
type gate struct {
	settings
	loop      *loop.Loop
	target    *target.Target
	addresses []string
	backAt    time.Duration
	knocks    []*knock

	mu   sync.Mutex
	view view
	// when connections came in after the target was back, within the last second
	recent []time.Duration
}

// A view is what the gate has seen since the target went away.
type view struct {
	sessions   int
	knocksAway int
	logins     int
	refused    int
	peak       int
	perSecond  int
}

func newGate(l *loop.Loop, s settings) (*gate, error) {
	g := &gate{settings: s, loop: l}
	ram, err := target.NewRAM(64<<20, 64<<10)
	if err != nil {
		return nil, err
	}
	cfg := target.Config{
		Name: name, MaxConns: 4 * s.daemons * s.sessions, BufferBytes: 64 << 20,
		LUNs: []target.LUNConfig{{Number: 1, Store: ram}},
	}
	for i := range s.sessions {
		ln, err := l.Listen("tcp", "127.0.0.1:0", g.acceptor(i))
		if err != nil {
			return nil, err
		}
		g.addresses = append(g.addresses, ln.Address())
		cfg.Portals = append(cfg.Portals, target.PortalConfig{Address: ln.Address(), Group: 1})
	}
	g.target, err = target.New(l.Now(), cfg)
	return g, err
}

// acceptor lets a connection in, unless too many are in their login phase.
func (g *gate) acceptor(portal int) loop.Acceptor {
	return func(now time.Duration, sock loop.Socket) loop.Stream {
		g.mu.Lock()
		defer g.mu.Unlock()
		if now < g.backAt {
			g.view.knocksAway++
			sock.Close(true)
			return nil
		}
		g.count(now)
		wanted := g.inLogin() + 1
		g.view.peak = max(g.view.peak, wanted+g.refusedNow(now))
		if wanted > g.settings.logins {
			g.view.refused++
			sock.Close(true)
			return nil
		}
		g.view.logins++
		k := &knock{Conn: g.target.Accept(now, portal), gate: g, sock: sock, from: now + g.loginTime}
		if k.Conn == nil {
			sock.Close(true)
			return nil
		}
		g.knocks = append(g.knocks, k)
		return k
	}
}

// count keeps the connections of the last second.
func (g *gate) count(now time.Duration) {
	g.recent = append(g.recent, now)
	for len(g.recent) > 0 && g.recent[0] <= now-time.Second {
		g.recent = g.recent[1:]
	}
	g.view.perSecond = max(g.view.perSecond, len(g.recent))
}

// refusedNow is how many of those that came in within one login's time found no place:
// they wanted to log in at the same time as those that are let in.
func (g *gate) refusedNow(now time.Duration) int {
	n := 0
	for i := len(g.recent) - 1; i >= 0 && g.recent[i] > now-g.loginTime; i-- {
		n++
	}
	return max(0, n-g.inLogin()-1)
}

func (g *gate) inLogin() int {
	n := 0
	for _, k := range g.knocks {
		if k.InLogin() {
			n++
		}
	}
	return n
}

// takeAway ends every connection and lets nobody in for so long.
func (g *gate) takeAway(d time.Duration) {
	done := make(chan struct{})
	g.loop.Post(func(now time.Duration) {
		g.mu.Lock()
		g.backAt, g.view, g.recent = now+d, view{}, nil
		g.mu.Unlock()
		g.target.Restart(now, target.Restart{Down: d})
		close(done)
	})
	<-done
}

func (g *gate) look() view {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.view
}

// Step is the loop's.
func (g *gate) Step(now time.Duration) time.Duration {
	g.target.Tick(now)
	next := g.target.Deadline()
	kept := g.knocks[:0]
	for _, k := range g.knocks {
		if k.closed {
			continue
		}
		switch want := k.Want(); {
		case want != target.WantNothing:
			k.sock.Close(want == target.WantReset)
			k.Released()
			continue
		case !k.open && now >= k.from:
			k.open = true
			k.sock.Kick()
		case k.HasOutput(), k.Resumed():
			k.sock.Kick()
		}
		if !k.open {
			next = min(next, k.from)
		}
		kept = append(kept, k)
	}
	clear(g.knocks[len(kept):])
	g.knocks = kept
	g.mu.Lock()
	g.view.sessions = len(g.target.Sessions())
	g.mu.Unlock()
	return next
}

// A knock is a connection that is not read before its login may have been worked on.
type knock struct {
	*target.Conn
	gate   *gate
	sock   loop.Socket
	from   time.Duration
	open   bool
	closed bool
}

// RecvBuffers is part of loop.Stream.
func (k *knock) RecvBuffers(dst [][]byte) [][]byte {
	if !k.open {
		return dst
	}
	return k.Conn.RecvBuffers(dst)
}

// Closed is part of loop.Stream.
func (k *knock) Closed(now time.Duration, err error) {
	k.closed = true
	k.Conn.Closed(now, err)
}
