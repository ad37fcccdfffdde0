package loop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freePort is a port of 127.0.0.1 where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestDialRefused(t *testing.T) {
	r := newRig(t, Config{})
	p := newPeer()
	address := freePort(t)
	r.do(func() {
		p.sock = r.l.Dial(address, p)
		if len(p.closed) != 0 {
			t.Error("Closed before Dial returned")
		}
		p.sock.Kick()
	})
	r.wait(p.done)
	r.do(func() {
		var de *DialError
		err := p.closed[0]
		if !errors.As(err, &de) || !isErrno(err, unix.ECONNREFUSED) || p.connected != 0 {
			t.Errorf("closed with %v", err)
		}
		if want := "connect " + address + ": " + address + ": connection refused"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		if r.l.conns != 0 || len(r.l.timed) != 0 {
			t.Error("something is left of the dial")
		}
	})
}

func TestDialLocalhost(t *testing.T) {
	r := newRig(t, Config{})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	p := newPeer()
	p.out = []byte("hello")
	r.do(func() { p.sock = r.l.Dial("localhost:"+port, p) })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustRead(t, conn, []byte("hello"))
	r.do(func() {
		fd := p.conn().fd
		if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); v != 1 {
			t.Error("TCP_NODELAY is off:", err)
		}
	})
}

func TestDialIPv6(t *testing.T) {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	defer ln.Close()
	r := newRig(t, Config{})
	p := newPeer()
	r.do(func() { p.sock = r.l.Dial(ln.Addr().String(), p) })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.until("connected", func() bool { return p.connected == 1 })
}

// Every address of a name is tried, in order.
func TestDialTriesAllAddresses(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	addrs := []netip.Addr{
		netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("fe80::1%nosuchif"),
		netip.MustParseAddr("::ffff:127.0.0.1"),
	}
	r := newRig(t, Config{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "two" {
			return addrs[:2], nil
		}
		return addrs, nil
	}})
	p, q := newPeer(), newPeer()
	r.do(func() {
		p.sock = r.l.Dial("three:"+port, p)
		q.sock = r.l.Dial("two:"+port, q)
	})
	r.until("connected", func() bool { return p.connected == 1 })
	r.wait(q.done)
	r.do(func() {
		msg := q.closed[0].Error()
		first := strings.Index(msg, "127.0.0.2:"+port+": connection refused")
		second := strings.Index(msg, "nosuchif")
		if first < 0 || second < first {
			t.Errorf("the error does not name both addresses in order: %s", msg)
		}
		if len(p.closed) != 0 {
			t.Error("closed as well:", p.closed)
		}
	})
}

func TestDialAddressErrors(t *testing.T) {
	fail := errors.New("no such host")
	r := newRig(t, Config{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "unknown" {
			return nil, fail
		}
		return nil, nil
	}})
	for address, want := range map[string]string{
		"10.0.0.1":       "missing port",
		"10.0.0.1:http":  `port "http" is not a number`,
		"10.0.0.1:65536": "is not a number from 0 to 65535",
		"unknown:3260":   "no such host",
		"empty:3260":     "the name has no address",
	} {
		p := newPeer()
		r.do(func() { p.sock = r.l.Dial(address, p) })
		r.wait(p.done)
		if msg := p.closed[0].Error(); !strings.Contains(msg, want) {
			t.Errorf("%s: %s; want %q", address, msg, want)
		}
	}
}

// A dial that is closed during its look-up ends the look-up and says nothing.
func TestDialClosedDuringLookup(t *testing.T) {
	looking, ended := make(chan struct{}), make(chan struct{})
	r := newRig(t, Config{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		close(looking)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	p := newPeer()
	r.do(func() { p.sock = r.l.Dial("slow:1", p) })
	r.wait(looking)
	r.do(func() { p.sock.Close(false) })
	r.wait(ended)
	r.do(func() {})
	r.do(func() {
		if len(p.closed)+p.connected != 0 {
			t.Error("the stream was called after Close")
		}
	})
}

func TestDialClosedBeforeItEnds(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := newRig(t, Config{})
	unbegun, begun := newPeer(), newPeer()
	r.do(func() {
		unbegun.sock = r.l.Dial(ln.Addr().String(), unbegun)
		unbegun.sock.Close(true)
		begun.sock = r.l.Dial(ln.Addr().String(), begun)
		r.l.beginDials()
		begun.sock.Close(true)
	})
	r.do(func() {})
	r.do(func() {
		if unbegun.connected+begun.connected+len(unbegun.closed)+len(begun.closed) != 0 {
			t.Error("the stream was called after Close")
		}
		if r.l.conns != 0 || len(r.l.timed) != 0 {
			t.Error("something is left of the dial")
		}
	})
}

// An address that does not answer is given up in time for the next one. The
// silent one is a listener whose backlog is full.
func TestDialTimeout(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	unix.Listen(fd, 0)
	address := localAddress(fd, "")
	filler, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	r := newRig(t, Config{DialTimeout: 20 * time.Millisecond})
	p := newPeer()
	r.do(func() { p.sock = r.l.Dial(address, p) })
	r.wait(p.done)
	r.do(func() {
		if !isErrno(p.closed[0], unix.ETIMEDOUT) || r.l.conns != 0 {
			t.Errorf("closed with %v", p.closed[0])
		}
	})
}

// A stream may dial again from within Closed.
func TestDialAgainInClosed(t *testing.T) {
	r := newRig(t, Config{})
	first, second := newPeer(), newPeer()
	address := freePort(t)
	first.onClosed = func(error) { second.sock = r.l.Dial(address, second) }
	r.do(func() { first.sock = r.l.Dial(address, first) })
	r.wait(second.done)
}

// A socket bound to a port and connecting to it meets itself.
func TestSelfConnected(t *testing.T) {
	for _, sa := range []unix.Sockaddr{
		&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}},
		&unix.SockaddrInet6{Addr: [16]byte{15: 1}},
	} {
		family := unix.AF_INET
		if _, ok := sa.(*unix.SockaddrInet6); ok {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, sa); err != nil {
			t.Skip("not here:", err)
		}
		own, _ := unix.Getsockname(fd)
		if err := unix.Connect(fd, own); err != nil {
			t.Fatal(err)
		}
		if !selfConnected(fd) {
			t.Error("not recognised:", localAddress(fd, ""))
		}
	}
}
