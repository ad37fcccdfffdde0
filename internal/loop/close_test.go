package loop

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func isErrno(err error, want unix.Errno) bool { return errors.Is(err, want) }

func TestCloseResetSendsRST(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	conn := r.tcp(p)
	r.do(func() {
		p.out = []byte("must not leave")
		p.sock.Kick()
		p.sock.Close(true)
		p.sock.Close(true)
		p.sock.Kick()
	})
	mustEnd(t, conn, unix.ECONNRESET)
	r.do(func() {
		if len(p.closed)+len(p.flushed) != 0 || p.sock.Unacked() != 0 || r.l.conns != 0 {
			t.Error("the stream was called after Close, or the descriptor is still there")
		}
	})
}

// All bytes arrive although far more is queued than the socket takes, and
// although the peer itself is sending what nobody reads.
func TestOrderlyClose(t *testing.T) {
	r := newRig(t, Config{CloseTimeout: patience})
	p := newPeer()
	p.pause = true
	conn := r.tcp(p)
	data := pattern(12 << 20)
	noise := make(chan struct{})
	go func() {
		conn.Write(make([]byte, 12<<20))
		close(noise)
	}()
	r.do(func() {
		p.out = bytes.Clone(data)
		p.sock.Close(false)
	})
	mustRead(t, conn, data)
	mustEnd(t, conn, io.EOF)
	r.wait(noise)
	r.wait(p.done)
	conn.Close()
	r.until("descriptor closed", func() bool { return r.l.conns == 0 })
	r.do(func() {
		if len(p.closed) != 0 || len(p.flushed) != 1 || !p.flushed[0] {
			t.Errorf("closed %v, flushed %v", p.closed, p.flushed)
		}
		if len(p.in) != 0 || len(r.l.timed) != 0 {
			t.Error("the stream was given bytes after Close, or a timer is left")
		}
	})
}

func TestOrderlyCloseWithNothingToSend(t *testing.T) {
	r := newRig(t, Config{CloseTimeout: patience})
	p := newPeer()
	conn := r.pair(p)
	r.do(func() { p.sock.Close(false) })
	mustEnd(t, conn, io.EOF)
	conn.Close()
	r.until("descriptor closed", func() bool { return r.l.conns == 0 })
}

// A peer that does not read cannot hold the connection; it must not take the cut
// for an ordinary end.
func TestOrderlyCloseIsBounded(t *testing.T) {
	r := newRig(t, Config{CloseTimeout: time.Millisecond})
	p := newPeer()
	conn := r.tcp(p)
	r.do(func() {
		p.out = make([]byte, 64<<20)
		p.sock.Close(false)
	})
	r.wait(p.done)
	r.do(func() {
		if len(p.flushed) != 1 || p.flushed[0] || r.l.conns != 0 || len(r.l.timed) != 0 {
			t.Errorf("flushed %v, %d descriptors", p.flushed, r.l.conns)
		}
	})
	if _, err := io.Copy(io.Discard, conn); !isErrno(err, unix.ECONNRESET) {
		t.Errorf("the peer's stream ends with %v", err)
	}
}

func TestOrderlyCloseOfDeadPeer(t *testing.T) {
	r := newRig(t, Config{CloseTimeout: patience})
	p := newPeer()
	conn := r.pair(p)
	r.do(func() {
		p.out = make([]byte, 8<<20)
		p.sock.Close(false)
	})
	conn.Close()
	r.wait(p.done)
	r.do(func() {
		if len(p.flushed) != 1 || p.flushed[0] || len(p.closed) != 0 || r.l.conns != 0 {
			t.Errorf("flushed %v, closed %v", p.flushed, p.closed)
		}
	})
}

// Close between a failed write and the reads that follow it: there is nobody to
// wait for.
func TestOrderlyCloseAfterWriteError(t *testing.T) {
	for _, left := range []string{"", "more"} {
		r := newRig(t, Config{CloseTimeout: patience})
		p := newPeer()
		p.pause = true
		conn := r.pair(p)
		p.onRecv = func(int) { p.out = []byte(left); p.sock.Close(false) }
		r.do(func() {
			conn.Write([]byte("reason"))
			conn.Close()
			p.pause = false
			p.out = []byte("too late")
			p.sock.Kick()
			r.l.flush()
		})
		r.wait(p.done)
		r.until("descriptor closed", func() bool { return r.l.conns == 0 })
		r.do(func() {
			if len(p.closed) != 0 || len(p.flushed) != 1 || p.flushed[0] != (left == "") {
				t.Errorf("closed %v, flushed %v", p.closed, p.flushed)
			}
		})
	}
}

// Reset after an orderly Close that is under way wins.
func TestResetDuringOrderlyClose(t *testing.T) {
	r := newRig(t, Config{CloseTimeout: patience})
	p := newPeer()
	conn := r.tcp(p)
	r.do(func() { p.out = make([]byte, 64<<20); p.sock.Close(false) })
	r.until("blocked", func() bool { return p.conn().blocked })
	r.do(func() { p.sock.Close(true) })
	if _, err := io.Copy(io.Discard, conn); !isErrno(err, unix.ECONNRESET) {
		t.Errorf("the peer's stream ends with %v", err)
	}
	r.do(func() {
		if len(p.flushed)+len(p.closed) != 0 || r.l.conns != 0 {
			t.Error("the stream was called after Close(true)")
		}
	})
}

// Close from inside every callback, both ways.
func TestCloseInCallbacks(t *testing.T) {
	hooks := map[string]func(p *peer, fn func()){
		"RecvBuffers": func(p *peer, fn func()) { p.onBuffers = fn },
		"Received":    func(p *peer, fn func()) { p.onRecv = func(int) { fn() } },
		"Sent":        func(p *peer, fn func()) { p.onSent = func(int) { fn() } },
		"Closed":      func(p *peer, fn func()) { p.onClosed = func(error) { fn() } },
	}
	for name, hook := range hooks {
		for _, reset := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Config{CloseTimeout: patience})
				p, other := newPeer(), newPeer()
				conn, otherConn := r.pair(p), r.pair(other)
				called := 0
				r.do(func() {
					hook(p, func() {
						called++
						p.sock.Close(reset)
						other.sock.Close(reset)
					})
					p.out = []byte("out")
					p.sock.Kick()
				})
				conn.Write([]byte("in"))
				otherConn.Write([]byte("in"))
				if name == "Closed" {
					conn.Close()
				}
				r.until("called", func() bool { return called > 0 })
				conn.Close()
				otherConn.Close()
				r.until("all closed", func() bool { return r.l.conns == 0 })
				r.do(func() {
					if called != 1 {
						t.Errorf("called %d times", called)
					}
					if name != "Closed" && len(p.closed) != 0 {
						t.Error("Closed was called after Close")
					}
				})
				r.mustSleep()
			})
		}
	}
}

// Of two sockets that are ready in one batch, the first closes the second, whose
// descriptor number is reused at once: the stale event must reach nobody.
func TestStaleEvent(t *testing.T) {
	r := newRig(t, Config{})
	old := newPeer()
	r.pair(old)
	fresh := newPeer()
	ours, _ := socketPair(t)
	r.do(func() {
		c := old.conn()
		stale := unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLHUP, Fd: int32(c.fd), Pad: r.l.slots[c.fd].gen,
		}
		number := c.fd
		old.sock.Close(true)
		if err := unix.Dup3(ours, number, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Close(ours)
		fresh.sock = r.l.Adopt(number, fresh)
		r.l.event(&stale)
		if n := fresh.conn(); n.hup != 0 || n.readable || n.queued {
			t.Error("an event of the closed socket reached its successor")
		}
	})
}

func TestAdoptOfNoSocket(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	r.do(func() { p.sock = r.l.Adopt(1<<20, p) })
	r.wait(p.done)
	r.do(func() {
		if len(p.closed) != 1 || !isErrno(p.closed[0], unix.EBADF) {
			t.Errorf("closed with %v", p.closed)
		}
	})
}
