package loop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Acceptor is asked for the stream of each new client. sock is the client's
// socket; it may be kept, and kicked or closed at once. A nil stream turns the
// client away.
type Acceptor func(now time.Duration, sock Socket) Stream

// A Listener accepts clients until it is closed.
type Listener interface {
	// Address is where it listens, with the port the kernel chose for port 0.
	Address() string
	// Close stops listening; a unix socket's file is removed. Clients already
	// accepted stay.
	Close()
}

type listener struct {
	loop    *Loop
	fd      int
	network string
	address string
	file    *socketFile // of a unix socket with a file
	accept  Acceptor
	until   time.Duration // in Loop.paused if not 0
}

// Listen serves clients of network "unix" (a path, or @NAME for an abstract
// socket) or "tcp" (HOST:PORT; without HOST all addresses of the machine). A
// socket file left behind by a dead process is replaced; one that is answered
// is an error that names the process. A host name is looked up on the spot.
func (l *Loop) Listen(network, address string, accept Acceptor) (Listener, error) {
	ln := &listener{loop: l, fd: -1, network: network, address: address, accept: accept}
	var err error
	switch network {
	case "unix":
		err = ln.listenUnix(l.cfg.SocketMode)
	case "tcp":
		err = ln.listenTCP()
	default:
		err = errors.New("unknown network")
	}
	if err == nil {
		err = l.register(ln.fd, slot{ln: ln}, unix.EPOLLIN)
		if err != nil {
			unix.Close(ln.fd)
			ln.file.remove()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s %s: %w", network, address, err)
	}
	return ln, nil
}

func (ln *listener) listenTCP() error {
	host, port, err := splitAddress(ln.address)
	if err != nil {
		return err
	}
	if host == "" {
		err = ln.bindTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			err = ln.bindTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
		}
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		cfg := &ln.loop.cfg
		ctx, cancel := context.WithTimeout(ln.loop.lookups, cfg.LookupTimeout)
		defer cancel()
		ips, err := cfg.Lookup(ctx, host)
		if err != nil {
			return err
		}
		if len(ips) == 0 {
			return errors.New("the name has no address")
		}
		ip = ips[0]
		for _, other := range ips {
			if other.Unmap().Is4() { // as package net prefers for listening
				ip = other
				break
			}
		}
	}
	return ln.bindTCP(netip.AddrPortFrom(ip.Unmap(), port))
}

func (ln *listener) bindTCP(at netip.AddrPort) error {
	family, sa, err := sockaddr(at)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if family == unix.AF_INET6 {
		only := 1
		if at.Addr().IsUnspecified() {
			only = 0
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, listenBacklog))
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("another process listens there already: %w", err)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	ln.fd = fd
	ln.address = localAddress(fd, ln.address)
	return nil
}

// localAddress is what a TCP socket is bound to.
func localAddress(fd int, fallback string) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fallback
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
	}
	return fallback
}

// ready accepts a bounded number of clients; epoll tells of the rest again.
func (ln *listener) ready() {
	for range acceptShare {
		if ln.fd < 0 || ln.until != 0 {
			return // closed by the acceptor, or resting
		}
		fd, errno := accept(ln.fd)
		switch errno {
		case 0:
			ln.client(fd)
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
			ln.rest()
			return
		default:
			// The client or its network failed before it was accepted, or a
			// signal came: on to the next one.
		}
	}
}

func (ln *listener) client(fd int) {
	l := ln.loop
	c := l.newConn(nil, active)
	c.stream = ln.accept(l.now, c)
	if c.stream == nil || c.state != active {
		unix.Close(fd)
		c.drop()
		return
	}
	c.open(fd)
	if c.tcp {
		setKeepAlive(fd)
	}
}

// setKeepAlive finds out about clients that vanished without a word.
func setKeepAlive(fd int) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepProbeCount)
}

// rest takes the listener out of the wait for a while.
func (ln *listener) rest() {
	if err := ln.loop.modify(ln.fd, 0); err != nil {
		panic("loop: " + err.Error())
	}
	ln.until = ln.loop.now + acceptPause
	ln.loop.paused = append(ln.loop.paused, ln)
}

func (ln *listener) resume() {
	ln.unlist()
	if err := ln.loop.modify(ln.fd, unix.EPOLLIN); err != nil {
		panic("loop: " + err.Error())
	}
}

func (ln *listener) unlist() {
	ln.until = 0
	for i, other := range ln.loop.paused {
		if other == ln {
			ln.loop.paused = append(ln.loop.paused[:i], ln.loop.paused[i+1:]...)
			return
		}
	}
}

// Address implements Listener.
func (ln *listener) Address() string { return ln.address }

// Close implements Listener.
func (ln *listener) Close() {
	if ln.fd < 0 {
		return
	}
	ln.unlist()
	// The file goes first: a process that starts now must not find a file that
	// nobody answers and race with the removal.
	ln.file.remove()
	ln.loop.forget(ln.fd)
	ln.fd = -1
}
