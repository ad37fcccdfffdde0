package iscsi_test

import (
	"errors"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/scsi"
)

// A shell runs one Session over real sockets: it dials, reads in a goroutine per
// socket, and does everything else, blocking writes included, in the test's own.
type shell struct {
	t      *testing.T
	s      *iscsi.Session
	start  time.Time
	socks  map[*iscsi.Conn]net.Conn
	events chan event
}

type event struct {
	c    *iscsi.Conn
	sock net.Conn // dialled
	data []byte
	err  error
}

func newShell(t *testing.T, cfg iscsi.Config) *shell {
	t.Helper()
	sh := &shell{t: t, start: time.Now(), socks: map[*iscsi.Conn]net.Conn{},
		events: make(chan event, 1<<14)}
	sh.s = iscsi.New(0, cfg)
	t.Cleanup(func() {
		sh.s.Kill(sh.now(), errors.New("end of test"))
		sh.reconcile()
	})
	return sh
}

func (sh *shell) now() time.Duration { return time.Since(sh.start) }

// reconcile does what the connections want, and writes what they have.
func (sh *shell) reconcile() {
	for _, c := range sh.s.Conns() {
		switch c.Want() {
		case iscsi.WantDial:
			c.Dialled()
			go sh.dial(c)
		case iscsi.WantClose, iscsi.WantReset:
			if sock := sh.socks[c]; sock != nil {
				sock.Close()
				delete(sh.socks, c)
			}
			c.Released()
		}
	}
	for _, c := range sh.s.Conns() {
		sh.write(c)
	}
}

func (sh *shell) dial(c *iscsi.Conn) {
	sock, err := net.DialTimeout("tcp", c.Address(), 5*time.Second)
	if err != nil {
		sh.events <- event{c: c, err: err}
		return
	}
	sh.events <- event{c: c, sock: sock}
	for {
		b := make([]byte, 64<<10)
		n, err := sock.Read(b)
		if n > 0 {
			sh.events <- event{c: c, data: b[:n]}
		}
		if err != nil {
			sh.events <- event{c: c, err: err}
			return
		}
	}
}

func (sh *shell) write(c *iscsi.Conn) {
	sock := sh.socks[c]
	for sock != nil && c.HasOutput() {
		bufs := net.Buffers(c.SendBuffers(nil))
		if len(bufs) == 0 {
			return
		}
		n, err := bufs.WriteTo(sock)
		c.Sent(sh.now(), int(n))
		if err != nil {
			return // the reader tells
		}
	}
}

func (sh *shell) take(e event) {
	now := sh.now()
	if e.sock != nil {
		if e.c.State() == "dead" {
			e.sock.Close()
			return
		}
		sh.socks[e.c] = e.sock
		e.c.Connected(now)
		return
	}
	if e.err != nil {
		if sock := sh.socks[e.c]; sock != nil {
			sock.Close()
			delete(sh.socks, e.c)
			e.c.Closed(now, e.err)
		} else if !errors.Is(e.err, net.ErrClosed) && e.err != io.EOF {
			e.c.Closed(now, e.err)
		}
		return
	}
	if sh.socks[e.c] == nil {
		return
	}
	for len(e.data) > 0 {
		bufs := e.c.RecvBuffers(nil)
		n := 0
		for _, b := range bufs {
			k := copy(b, e.data)
			e.data = e.data[k:]
			n += k
		}
		if n == 0 {
			return
		}
		e.c.Received(now, n)
	}
}

// until runs the session until done says so; the test fails after a minute.
func (sh *shell) until(what string, done func() bool) {
	sh.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		sh.reconcile()
		if done() {
			return
		}
		var due <-chan time.Time
		if d := sh.s.Deadline(); d != math.MaxInt64 {
			due = time.After(max(0, d-sh.now()))
		}
		select {
		case e := <-sh.events:
			sh.take(e)
		case <-due:
			sh.s.Tick(sh.now())
		case <-limit.C:
			sh.t.Fatalf("in vain: %s (session error: %v)", what, sh.s.Err())
		}
	}
}

func (sh *shell) untilUp() {
	sh.t.Helper()
	sh.until("session up", func() bool { return sh.s.Up() || sh.s.Err() != nil })
	if err := sh.s.Err(); err != nil {
		sh.t.Fatal(err)
	}
}

// do runs commands to their end, at most depth at once.
func (sh *shell) do(depth int, commands ...*scsi.Command) {
	sh.t.Helper()
	out, next, finished := 0, 0, 0
	sh.until("commands done", func() bool {
		for c := sh.s.Completed(); c != nil; c = sh.s.Completed() {
			out--
			finished++
		}
		for next < len(commands) && out < depth {
			sh.s.Submit(sh.now(), commands[next])
			next++
			out++
		}
		for _, c := range sh.s.Conns() {
			sh.write(c)
		}
		return finished == len(commands)
	})
}

// up counts the connections in the full feature phase.
func (sh *shell) up() (n int) {
	for _, c := range sh.s.Conns() {
		if c.State() == "up" {
			n++
		}
	}
	return n
}

// logout ends the session and checks that the target agreed.
func (sh *shell) logout() {
	sh.t.Helper()
	sh.s.Logout(sh.now())
	sh.until("logged out", func() bool { return sh.s.Err() != nil && len(sh.s.Conns()) == 0 })
	if !errors.Is(sh.s.Err(), scsi.ErrLoggedOut) {
		sh.t.Fatalf("ended by %v", sh.s.Err())
	}
}
