package main

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// handLoop is a loop that runs what was posted when the test says so.
type handLoop struct {
	posted chan func(time.Duration)
	done   chan struct{}
}

func newHandLoop() *handLoop {
	return &handLoop{make(chan func(time.Duration)), make(chan struct{})}
}

func (l *handLoop) Done() <-chan struct{} { return l.done }

func (l *handLoop) Post(fn func(time.Duration)) bool {
	select {
	case l.posted <- fn:
		return true
	case <-l.done:
		return false
	}
}

func TestVouch(t *testing.T) {
	l := newHandLoop()
	tick := make(chan time.Time)
	pings := make(chan struct{}, 8)
	ended := make(chan struct{})
	go func() {
		vouch(l, tick, func() { pings <- struct{}{} })
		close(ended)
	}()

	tick <- time.Time{}
	fn := <-l.posted
	if len(pings) != 0 {
		t.Fatal("pinged before the loop has answered")
	}
	fn(0)
	<-pings

	tick <- time.Time{}
	<-l.posted // taken, and never run: the loop is stuck
	select {
	case tick <- time.Time{}:
		t.Fatal("a tick was taken while the loop is stuck")
	case <-pings:
		t.Fatal("vouched for a loop that is stuck")
	default:
	}
	close(l.done)
	<-ended
	if len(pings) != 0 {
		t.Fatal("pinged after the loop's end")
	}
}

func TestVouchEndsWithTheLoop(t *testing.T) {
	l := newHandLoop()
	close(l.done)
	vouch(l, nil, func() { t.Error("pinged") })
}

// TestKeepWatch speaks to a socket as systemd's.
func TestKeepWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(3000))
	t.Setenv("WATCHDOG_PID", "")
	l := newHandLoop()
	defer close(l.done)
	keepWatch(l, nil)
	for range 2 {
		fn := <-l.posted
		fn(0)
		got := make([]byte, 64)
		n, err := socket.Read(got)
		if err != nil || string(got[:n]) != "WATCHDOG=1" {
			t.Fatalf("%q, %v", got[:n], err)
		}
	}
}
