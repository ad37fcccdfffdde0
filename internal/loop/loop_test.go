package loop

import (
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stepFunc is a Driver of one function.
type stepFunc func(now time.Duration) time.Duration

func (f stepFunc) Step(now time.Duration) time.Duration { return f(now) }

func TestDeadlines(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var at, last time.Duration
	n := 0
	if err := l.Run(stepFunc(func(now time.Duration) time.Duration {
		if now < at {
			t.Errorf("round at %v, before the deadline %v, without a cause", now, at)
		}
		if now < last {
			t.Errorf("the clock went back from %v to %v", last, now)
		}
		last = now
		if n++; n == 5 {
			l.Stop()
		}
		at = now + 1500*time.Microsecond
		return at
	})); err != nil {
		t.Fatal(err)
	}
	if n != 5 {
		t.Errorf("%d rounds", n)
	}
	select {
	case <-l.Done():
	default:
		t.Error("Done is open after Run")
	}
}

func TestPostOrderAndBound(t *testing.T) {
	r := newRig(t, Config{Inbox: 8})
	const posters, each = 4, 500
	var got [posters][]int
	most := 0
	var wg sync.WaitGroup
	for i := range posters {
		wg.Go(func() {
			for k := range each {
				r.l.Post(func(time.Duration) {
					got[i] = append(got[i], k)
					most = max(most, len(r.l.inbox.taken))
				})
			}
		})
	}
	wg.Wait()
	r.do(func() {
		for i := range got {
			if len(got[i]) != each {
				t.Fatalf("%d of %d functions ran", len(got[i]), each)
			}
			for k := range got[i] {
				if got[i][k] != k {
					t.Fatal("out of order")
				}
			}
		}
		if most > 8 {
			t.Errorf("%d functions waited, the bound is 8", most)
		}
	})
}

// Post waits while the inbox is full, and gives up when the loop ends.
func TestPostWhenFull(t *testing.T) {
	l, err := New(Config{Inbox: 2})
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	fn := func(time.Duration) { ran++ }
	l.Post(fn)
	l.Post(fn)
	third := make(chan bool)
	go func() { third <- l.Post(fn) }()
	// The third can only be accepted in a round: the queue is full until then.
	if err := l.Run(stepFunc(func(time.Duration) time.Duration {
		if ran == 2 {
			return 0 // the third poster may not have come yet
		}
		l.Stop()
		return 0
	})); err != nil {
		t.Fatal(err)
	}
	if !<-third || ran != 3 {
		t.Errorf("%d functions ran", ran)
	}
	if l.Post(fn) {
		t.Error("Post after the end says that it will be run")
	}
	l.Stop()
}

func TestPostReleasedByEnd(t *testing.T) {
	l, err := New(Config{Inbox: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	l.Post(func(time.Duration) { t.Error("ran after Stop") })
	blocked := make(chan bool)
	go func() { blocked <- l.Post(func(time.Duration) { t.Error("ran after Stop") }) }()
	if err := l.Run(stepFunc(func(time.Duration) time.Duration { return 0 })); err != nil {
		t.Fatal(err)
	}
	if <-blocked {
		t.Error("Post says that it will be run")
	}
}

// Stop closes what is open, gives orderly closes their time, and calls nobody.
func TestStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, Config{CloseTimeout: patience})
	if _, err := r.listen("unix", path, echoing); err != nil {
		t.Fatal(err)
	}
	open, leaving, waiting := newPeer(), newPeer(), newPeer()
	openConn, leavingConn := r.tcp(open), r.tcp(leaving)
	data := pattern(16 << 20)
	r.do(func() {
		waiting.sock = r.l.Dial("127.0.0.1:1", waiting)
		leaving.out = append([]byte(nil), data...)
		leaving.sock.Close(false)
		r.l.Stop()
	})
	mustRead(t, leavingConn, data)
	mustEnd(t, leavingConn, io.EOF)
	mustEnd(t, openConn, io.EOF)
	leavingConn.Close()
	r.wait(r.l.Done())
	if len(open.closed)+len(leaving.closed)+len(waiting.closed) != 0 {
		t.Error("Closed was called by Stop")
	}
	if len(leaving.flushed) != 1 || !leaving.flushed[0] {
		t.Errorf("flushed %v", leaving.flushed)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket file is left")
	}
}

// A signal that interrupts the wait is a round, not an error.
func TestInterrupted(t *testing.T) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR2)
	defer signal.Stop(ch)
	r := newRig(t, Config{})
	var tid int
	woken := make(chan struct{})
	r.do(func() { tid = unix.Gettid() })
	r.mustSleep()
	r.do(func() {
		left := 2 // the round of this function, and the one after the signal
		r.onStep = func() {
			if left--; left == 0 {
				close(woken)
			}
		}
	})
	for {
		// Repeated because the loop may not sleep yet, and then only handles it.
		if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		select {
		case <-woken:
			return
		case <-ch:
		}
	}
}

// A sleeping loop does not keep the collector from stopping the world.
func TestCollectorRuns(t *testing.T) {
	r := newRig(t, Config{})
	r.mustSleep()
	done := make(chan struct{})
	go func() { runtime.GC(); close(done) }()
	r.wait(done)
}

// In the steady state nothing is allocated, whatever the sockets.
func TestNoAllocation(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			fd := startEcho(t, network)
			msg, buf := pattern(9000), make([]byte, 9000)
			allocs := testing.AllocsPerRun(300, func() { roundTrip(t, fd, msg, buf) })
			if allocs > 0 {
				t.Errorf("%v allocations per round trip", allocs)
			}
		})
	}
}

// fixedEcho echoes without allocating: a stream as an engine is one.
type fixedEcho struct {
	sock       Socket
	buf        [64 << 10]byte
	begin, end int
}

func (e *fixedEcho) Connected(time.Duration)     {}
func (e *fixedEcho) Closed(time.Duration, error) {}
func (e *fixedEcho) RecvBuffers(dst [][]byte) [][]byte {
	if e.end == len(e.buf) {
		return dst
	}
	mid := (e.end + len(e.buf)) / 2
	return append(dst, e.buf[e.end:mid], e.buf[mid:])
}
func (e *fixedEcho) Received(_ time.Duration, n int) { e.end += n; e.sock.Kick() }
func (e *fixedEcho) SendBuffers(dst [][]byte) [][]byte {
	mid := (e.begin + e.end) / 2
	return append(dst, e.buf[e.begin:mid], e.buf[mid:e.end])
}
func (e *fixedEcho) Sent(_ time.Duration, n int) {
	if e.begin += n; e.begin == e.end {
		e.begin, e.end = 0, 0
		e.sock.Kick()
	}
}

// startEcho returns a blocking descriptor whose peer the loop echoes.
func startEcho(tb testing.TB, network string) int {
	tb.Helper()
	l, err := New(Config{})
	if err != nil {
		tb.Fatal(err)
	}
	var theirs int
	if network == "unix" {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			tb.Fatal(err)
		}
		theirs = fds[1]
		e := &fixedEcho{}
		e.sock = l.Adopt(fds[0], e)
	} else {
		ln, err := l.Listen("tcp", "127.0.0.1:0", func(_ time.Duration, s Socket) Stream {
			return &fixedEcho{sock: s}
		})
		if err != nil {
			tb.Fatal(err)
		}
		theirs, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			tb.Fatal(err)
		}
		setNoDelay(theirs)
		sa, _ := unix.Getsockname(ln.(*listener).fd)
		if err := unix.Connect(theirs, sa); err != nil {
			tb.Fatal(err)
		}
	}
	go l.Run(stepFunc(func(time.Duration) time.Duration { return maxTime }))
	tb.Cleanup(func() {
		unix.Close(theirs)
		l.Stop()
		<-l.Done()
	})
	return theirs
}

func roundTrip(tb testing.TB, fd int, msg, buf []byte) {
	for b := msg; len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil {
			tb.Fatal(err)
		}
		b = b[n:]
	}
	for b := buf; len(b) > 0; {
		n, err := unix.Read(fd, b)
		if err != nil || n == 0 {
			tb.Fatal(n, err)
		}
		b = b[n:]
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		b.Run(network, func(b *testing.B) {
			fd := startEcho(b, network)
			msg, buf := pattern(4096), make([]byte, 4096)
			roundTrip(b, fd, msg, buf)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				roundTrip(b, fd, msg, buf)
			}
		})
	}
}
