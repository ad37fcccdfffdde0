package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience only ends tests that hang.
const patience = 20 * time.Second

// rig runs a Loop; tests look at its state between rounds, on its thread.
type rig struct {
	t      *testing.T
	l      *Loop
	rounds int
	onStep func()
	ended  chan error
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, l: l, ended: make(chan error, 1)}
	go func() { r.ended <- l.Run(r) }()
	t.Cleanup(func() {
		l.Stop()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Error("Run:", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	return r
}

func (r *rig) Step(time.Duration) time.Duration {
	r.rounds++
	if r.onStep != nil {
		r.onStep()
	}
	return maxTime
}

// do runs fn on the loop's thread.
func (r *rig) do(fn func()) {
	r.t.Helper()
	done := make(chan struct{})
	if !r.l.Post(func(time.Duration) { fn(); close(done) }) {
		r.t.Fatal("the loop has ended")
	}
	r.wait(done)
}

// until waits for a condition, which is looked at in round after round.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; {
		ok := false
		r.do(func() { ok = cond() })
		if ok {
			return
		}
		if time.Now().After(end) {
			r.t.Fatal("never happened:", what)
		}
		runtime.Gosched()
	}
}

func (r *rig) wait(ch <-chan struct{}) {
	r.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		r.t.Fatal("nothing happens")
	}
}

// mustSleep checks that the loop's next wait would sleep: no work is left over
// and epoll has nothing to tell.
func (r *rig) mustSleep() {
	r.t.Helper()
	idle := false
	// What the posts themselves cause is over in the second.
	r.do(func() {})
	r.do(func() {
		var ev [8]unix.EpollEvent
		n, _ := pollEvents(r.l.epfd, ev[:], 0)
		idle = n == 0 && len(r.l.ready) == 0 && len(r.l.kicked) == 0 && len(r.l.starting) == 0
	})
	if !idle {
		r.t.Error("the loop does not sleep")
	}
}

// peer is a Stream that a test looks at through rig.do.
type peer struct {
	in        []byte
	out       []byte
	pause     bool
	space     int // bytes offered per read; 0: 64 KiB
	buf       []byte
	connected int
	closed    []error
	flushed   []bool
	echo      bool
	sock      Socket
	onRecv    func(n int)
	onSent    func(n int)
	onClosed  func(err error)
	onBuffers func()
	done      chan struct{} // closed with Closed or Flushed
}

func newPeer() *peer { return &peer{done: make(chan struct{})} }

func (p *peer) Connected(time.Duration) { p.connected++ }

func (p *peer) RecvBuffers(dst [][]byte) [][]byte {
	if p.onBuffers != nil {
		p.onBuffers()
	}
	if p.pause {
		return dst
	}
	if p.space == 0 {
		p.space = 64 << 10
	}
	if p.buf == nil {
		p.buf = make([]byte, p.space)
	}
	half := len(p.buf) / 2
	return append(dst, p.buf[:half], nil, p.buf[half:])
}

func (p *peer) Received(_ time.Duration, n int) {
	if p.echo {
		p.out = append(p.out, p.buf[:n]...)
		p.sock.Kick()
	} else {
		p.in = append(p.in, p.buf[:n]...)
	}
	if p.onRecv != nil {
		p.onRecv(n)
	}
}

func (p *peer) SendBuffers(dst [][]byte) [][]byte {
	third := len(p.out) / 3
	return append(dst, p.out[:third], p.out[third:2*third], p.out[2*third:])
}

func (p *peer) Sent(_ time.Duration, n int) {
	p.out = p.out[n:]
	if p.onSent != nil {
		p.onSent(n)
	}
}

func (p *peer) Closed(_ time.Duration, err error) {
	p.closed = append(p.closed, err)
	if p.onClosed != nil {
		p.onClosed(err)
	}
	close(p.done)
}

func (p *peer) Flushed(_ time.Duration, sent bool) {
	p.flushed = append(p.flushed, sent)
	close(p.done)
}

// pair adopts one end of a socketpair for p and returns the other.
func (r *rig) pair(p *peer) net.Conn {
	r.t.Helper()
	ours, theirs := socketPair(r.t)
	r.do(func() { p.sock = r.l.Adopt(ours, p) })
	return theirs
}

func socketPair(t testing.TB) (int, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "pair")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return fds[0], conn
}

// tcp dials a listener of the test for p and returns the accepted end.
func (r *rig) tcp(p *peer) *net.TCPConn {
	r.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer ln.Close()
	r.do(func() { p.sock = r.l.Dial(ln.Addr().String(), p) })
	conn, err := ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	r.until("connected", func() bool { return p.connected == 1 })
	return conn.(*net.TCPConn)
}

// pattern is n bytes that differ by position.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func mustRead(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes arrived than were sent")
	}
}

func mustEnd(t *testing.T, r io.Reader, want error) {
	t.Helper()
	n, err := r.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("read: %d bytes, %v; want %v", n, err, want)
	}
}

// conn is the loop's side of the peer's socket.
func (p *peer) conn() *conn { return p.sock.(*conn) }
