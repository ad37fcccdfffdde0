package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEcho(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.echo = true
	conn := r.pair(p)
	for _, n := range []int{1, 48, 4096, 65536, 65537, 1 << 20, 5 << 20} {
		data := pattern(n)
		go conn.Write(data)
		mustRead(t, conn, data)
	}
	r.mustSleep()
}

func TestTCPEcho(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.echo = true
	conn := r.tcp(p)
	data := pattern(6 << 20)
	go conn.Write(data)
	mustRead(t, conn, data)
	r.mustSleep()
}

// A stream may speak first, without being kicked by anybody.
func TestSpeaksFirst(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.out = []byte("greeting")
	mustRead(t, r.pair(p), []byte("greeting"))
	q := newPeer()
	q.out = []byte("login")
	mustRead(t, r.tcp(q), []byte("login"))
}

func TestHalfWrittenOutputResumes(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := newRig(t, Config{})
			p := newPeer()
			var conn net.Conn
			if network == "unix" {
				conn = r.pair(p)
			} else {
				conn = r.tcp(p)
			}
			data := pattern(24 << 20)
			r.do(func() { p.out = bytes.Clone(data); p.sock.Kick() })
			c := p.conn()
			r.until("blocked", func() bool { return c.blocked })
			r.mustSleep()
			r.do(func() {
				if !c.armed || len(p.out) == 0 {
					t.Error("a blocked socket has nothing left, or no EPOLLOUT")
				}
				if got := p.sock.Unacked(); (got > 0) != (network == "tcp") {
					t.Errorf("Unacked is %d", got)
				}
				p.sock.Kick() // must not write again
			})
			mustRead(t, conn, data)
			r.mustSleep()
			r.do(func() {
				if c.armed || c.blocked || len(p.out) != 0 {
					t.Error("the backlog did not end")
				}
			})
		})
	}
}

func TestBackpressure(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.pause = true
	conn := r.pair(p)
	data := pattern(4 << 20)
	wrote := make(chan error, 1)
	go func() { _, err := conn.Write(data); wrote <- err }()
	c := p.conn()
	r.until("readable", func() bool { return c.readable && c.wantless })
	r.do(func() {
		if len(p.in) != 0 {
			t.Error("read although the stream wanted nothing")
		}
		p.pause = false
		p.sock.Kick()
	})
	r.until("all is read", func() bool { return len(p.in) == len(data) })
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	r.do(func() {
		if !bytes.Equal(p.in, data) {
			t.Error("other bytes arrived than were sent")
		}
	})
}

// A pause that is lifted while nothing is there to read must not lose the edge
// of what comes later.
func TestPauseLiftedWhileEmpty(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.pause = true
	conn := r.pair(p)
	r.do(func() { p.sock.Kick() })
	r.mustSleep()
	r.do(func() { p.pause = false; p.sock.Kick() })
	r.mustSleep()
	conn.Write([]byte("later"))
	r.until("read", func() bool { return string(p.in) == "later" })
}

// Two sockets full to the brim are read in turn, each its share per round.
func TestFairness(t *testing.T) {
	r := newRig(t, Config{})
	var order []string
	var peers [2]*peer
	for i := range peers {
		p := newPeer()
		p.pause = true
		p.space = 4096
		p.onRecv = func(n int) { order = append(order, fmt.Sprintf("%c%d", 'a'+i, r.rounds)) }
		peers[i] = p
		conn := r.pair(p)
		data := pattern(160 << 10)
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	r.do(func() {
		for _, p := range peers {
			p.pause = false
			p.sock.Kick()
		}
	})
	r.until("all is read", func() bool {
		return len(peers[0].in)+len(peers[1].in) == 320<<10
	})
	r.do(func() {
		runs := runLengths(order)
		want := []string{"16", "16", "16", "16", "8", "8"}
		if !slices.Equal(runs, want) {
			t.Errorf("reads in turn: %v, want %v", runs, want)
		}
	})
}

// runLengths counts equal neighbours.
func runLengths(s []string) []string {
	var runs []string
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == s[i] {
			j++
		}
		runs = append(runs, fmt.Sprint(j-i))
		i = j
	}
	return runs
}

// A flood takes no more than its share of a round, and small talk beside it is
// served in every round.
func TestFloodBound(t *testing.T) {
	r := newRig(t, Config{})
	flood, talk := newPeer(), newPeer()
	flood.space = 1 << 20
	perRound := map[int]int{}
	flood.onRecv = func(n int) { perRound[r.rounds] += n; flood.in = flood.in[:0] }
	talk.echo = true
	fc, tc := r.pair(flood), r.pair(talk)
	stop := make(chan struct{})
	go func() {
		b := make([]byte, 1<<20)
		for {
			if _, err := fc.Write(b); err != nil {
				close(stop)
				return
			}
		}
	}()
	for range 200 {
		tc.Write([]byte("ping"))
		mustRead(t, tc, []byte("ping"))
	}
	fc.Close()
	r.wait(stop)
	r.wait(flood.done)
	for round, n := range perRound {
		if n > readShare {
			t.Fatalf("%d bytes in round %d", n, round)
		}
	}
}

func TestWriteShare(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	conn := r.tcp(p)
	data := pattern(8 << 20)
	perRound := map[int]int{}
	p.onSent = func(n int) { perRound[r.rounds] += n }
	r.do(func() { p.out = bytes.Clone(data); p.sock.Kick() })
	mustRead(t, conn, data)
	r.do(func() {
		for round, n := range perRound {
			if n > writeShare {
				t.Errorf("%d bytes in round %d", n, round)
			}
		}
	})
}

// A kick during the flush makes another Step before the loop sleeps.
func TestKickInFlush(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	conn := r.pair(p)
	sent, stepped := false, make(chan struct{})
	p.onSent = func(int) { sent = true; p.sock.Kick() }
	r.do(func() {
		r.onStep = func() {
			if sent {
				r.onStep = nil
				close(stepped)
			}
		}
		p.out = []byte("x")
		p.sock.Kick()
	})
	r.wait(stepped)
	mustRead(t, conn, []byte("x"))
	r.mustSleep()
}

func TestManyBuffers(t *testing.T) {
	r := newRig(t, Config{})
	s := &scattered{peer: newPeer(), left: 3000}
	ours, conn := socketPair(t)
	r.do(func() { s.sock = r.l.Adopt(ours, s) })
	mustRead(t, conn, []byte(strings.Repeat("ab", 1500)))
}

// scattered offers one byte per buffer, more of them than one call takes.
type scattered struct {
	*peer
	left int
	sent int
}

func (s *scattered) SendBuffers(dst [][]byte) [][]byte {
	for i := range s.left {
		dst = append(dst, []byte("ab")[(s.sent+i)%2:][:1])
	}
	return dst
}

func (s *scattered) Received(_ time.Duration, n int) {}
func (s *scattered) Sent(_ time.Duration, n int)     { s.left -= n; s.sent += n }

func TestPeerEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause bool
		data  string
	}{
		{"reading", false, ""},
		{"reading, after data", false, "last words"},
		{"paused", true, ""},
		{"paused, data unread", true, "never read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{})
			p := newPeer()
			p.pause = tt.pause
			conn := r.pair(p)
			conn.Write([]byte(tt.data))
			conn.Close()
			r.wait(p.done)
			r.do(func() {
				if len(p.closed) != 1 || p.closed[0] != io.EOF {
					t.Errorf("closed with %v", p.closed)
				}
				if !tt.pause && string(p.in) != tt.data {
					t.Errorf("read %q", p.in)
				}
			})
			r.mustSleep()
		})
	}
}

// A peer that only ended its sending still takes replies: a paused stream with
// unread data is left alone, without spinning, until it reads on.
func TestHalfCloseWhilePaused(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.pause = true
	conn := r.tcp(p)
	conn.Write([]byte("request"))
	conn.CloseWrite()
	c := p.conn()
	r.until("hang-up seen", func() bool { return c.hup&unix.EPOLLRDHUP != 0 })
	r.mustSleep()
	r.do(func() {
		if len(p.closed) != 0 {
			t.Error("closed before its data were read")
		}
		p.out = []byte("reply")
		p.sock.Kick()
	})
	mustRead(t, conn, []byte("reply"))
	r.mustSleep()
	r.do(func() { p.pause = false; p.sock.Kick() })
	r.wait(p.done)
	r.do(func() {
		if string(p.in) != "request" || p.closed[0] != io.EOF {
			t.Errorf("read %q, closed with %v", p.in, p.closed)
		}
	})
}

func TestHalfCloseWhilePausedAndEmpty(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.pause = true
	conn := r.tcp(p)
	conn.CloseWrite()
	r.wait(p.done)
	r.do(func() {
		if p.closed[0] != io.EOF {
			t.Errorf("closed with %v", p.closed)
		}
	})
}

func TestPeerReset(t *testing.T) {
	for _, pause := range []bool{false, true} {
		t.Run(fmt.Sprintf("paused %v", pause), func(t *testing.T) {
			r := newRig(t, Config{})
			p := newPeer()
			p.pause = pause
			conn := r.tcp(p)
			conn.SetLinger(0)
			conn.Close()
			r.wait(p.done)
			r.do(func() {
				if len(p.closed) != 1 || !isErrno(p.closed[0], unix.ECONNRESET) {
					t.Errorf("closed with %v", p.closed)
				}
			})
			r.mustSleep()
		})
	}
}

// A write that fails does not swallow what the peer said before it went away.
func TestWriteErrorReadsFirst(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	p.pause = true
	conn := r.pair(p)
	r.do(func() {
		conn.Write([]byte("reason"))
		conn.Close()
		p.pause = false
		p.out = []byte("too late")
		p.sock.Kick()
		r.l.flush() // before the hang-up's event is seen
		if len(p.closed) != 0 {
			t.Error("Closed was called in the flush")
		}
	})
	r.wait(p.done)
	r.do(func() {
		if string(p.in) != "reason" || p.closed[0] != io.EOF {
			t.Errorf("read %q, closed with %v", p.in, p.closed)
		}
	})
}
