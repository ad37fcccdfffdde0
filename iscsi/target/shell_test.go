package target

import (
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A shell runs a target on real sockets of the loopback network, so that other
// people's initiators can judge it. It is for tests: plain rather than fast.
type shell struct {
	t     *Target
	start time.Time
	inbox chan func(now time.Duration)
	quit  chan struct{}
	wg    sync.WaitGroup
	lns   []net.Listener
	addrs []string
	socks map[*Conn]*shellConn
}

type shellConn struct {
	c       *Conn
	nc      net.Conn
	pending []byte // received, not yet taken
	acks    chan struct{}
	out     chan []byte
	busy    bool // a write is under way
	closed  bool
}

func (s *shell) post(f func(now time.Duration)) {
	select {
	case s.inbox <- f:
	case <-s.quit:
	}
}

// newShell listens for n portals; make_ finds their addresses in the shell.
func newShell(tb testing.TB, n int, make_ func(s *shell) *Target) *shell {
	tb.Helper()
	s := &shell{
		start: time.Now(), inbox: make(chan func(time.Duration), 64),
		quit: make(chan struct{}), socks: map[*Conn]*shellConn{},
	}
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		s.lns = append(s.lns, ln)
		s.addrs = append(s.addrs, ln.Addr().String())
	}
	s.t = make_(s)
	for i, ln := range s.lns {
		s.wg.Go(func() { s.accept(i, ln) })
	}
	s.wg.Go(s.run)
	tb.Cleanup(func() {
		close(s.quit)
		for _, ln := range s.lns {
			ln.Close()
		}
		s.wg.Wait()
	})
	return s
}

func (s *shell) accept(portal int, ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		s.post(func(now time.Duration) {
			c := s.t.Accept(now, portal)
			if c == nil {
				nc.(*net.TCPConn).SetLinger(0)
				nc.Close()
				return
			}
			x := &shellConn{c: c, nc: nc, acks: make(chan struct{}, 1), out: make(chan []byte, 1)}
			s.socks[c] = x
			s.wg.Go(func() { s.read(x) })
			s.wg.Go(func() { s.write(x) })
		})
	}
}

func (s *shell) read(x *shellConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := x.nc.Read(buf)
		if n > 0 {
			s.post(func(now time.Duration) {
				x.pending = append(x.pending, buf[:n]...)
				s.feed(now, x)
				x.acks <- struct{}{}
			})
			select {
			case <-x.acks:
			case <-s.quit:
				return
			}
		}
		if err != nil {
			s.post(func(now time.Duration) {
				if !x.closed {
					x.closed = true
					x.c.Closed(now, err)
					s.drop(x)
				}
			})
			return
		}
	}
}

// feed gives the connection what it takes.
func (s *shell) feed(now time.Duration, x *shellConn) {
	for len(x.pending) > 0 && !x.closed {
		n := 0
		for _, b := range x.c.RecvBuffers(nil) {
			n += copy(b, x.pending[n:])
		}
		if n == 0 {
			return
		}
		x.pending = x.pending[n:]
		x.c.Received(now, n)
	}
}

func (s *shell) write(x *shellConn) {
	for b := range x.out {
		n, err := x.nc.Write(b)
		s.post(func(now time.Duration) {
			x.busy = false
			if err == nil && !x.closed {
				x.c.Sent(now, n)
			}
		})
	}
}

func (s *shell) drop(x *shellConn) {
	x.nc.Close()
	delete(s.socks, x.c)
	close(x.out)
}

func (s *shell) run() {
	for {
		wait := time.Hour
		if d := s.t.Deadline(); d != Never {
			wait = max(d-time.Since(s.start), 0)
		}
		timer := time.NewTimer(wait)
		select {
		case f := <-s.inbox:
			f(time.Since(s.start))
		case <-timer.C:
		case <-s.quit:
			for _, x := range s.socks {
				s.drop(x)
			}
			return
		}
		timer.Stop()
		now := time.Since(s.start)
		s.t.Tick(now)
		s.reconcile(now)
	}
}

func (s *shell) reconcile(now time.Duration) {
	for _, c := range append([]*Conn(nil), s.t.Conns()...) {
		x := s.socks[c]
		if x == nil {
			continue
		}
		s.feed(now, x)
		if c.HasOutput() && !x.busy {
			var b []byte
			for _, v := range c.SendBuffers(nil) {
				b = append(b, v...)
			}
			x.busy = true
			x.out <- b
		}
		switch c.Want() {
		case WantReset:
			x.nc.(*net.TCPConn).SetLinger(0)
			fallthrough
		case WantClose:
			x.closed = true
			c.Released()
			s.drop(x)
		}
	}
}

// tool finds a program, or skips the test aloud.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed", name)
	}
	return path
}
