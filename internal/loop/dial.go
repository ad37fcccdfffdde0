package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A DialError says why no address of a dial could be reached.
type DialError struct {
	Address string  // as asked for
	Tried   []error // one per address, in order; or the one look-up error
}

func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connect %s", e.Address)
	for i, err := range e.Tried {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		b.WriteString(sep + err.Error())
	}
	return b.String()
}

// Unwrap gives the single errors; errors.Is finds ECONNREFUSED and the like.
func (e *DialError) Unwrap() []error { return e.Tried }

// Dial implements Network. The address is HOST:PORT, with an IPv6 literal in
// brackets. A name is looked up in a goroutine and its addresses are tried in
// the resolver's order. Closed gets a *DialError.
func (l *Loop) Dial(address string, s Stream) Socket {
	c := l.newConn(s, dialing)
	c.dial = &dialState{address: address}
	if l.stopping {
		c.drop()
		return c
	}
	l.starting = append(l.starting, c)
	return c
}

// beginDials starts what was asked for since the last round. A stream told here
// that its dial failed may dial again; that one begins in the next round.
func (l *Loop) beginDials() {
	list := l.starting
	l.starting = nil
	for _, c := range list {
		if c.state == dialing {
			c.begin()
		}
	}
}

func (c *conn) begin() {
	host, port, err := splitAddress(c.dial.address)
	if err != nil {
		c.dialFailed(err)
		return
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		c.dial.addrs = []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}
		c.tryNext()
		return
	}
	l := c.loop
	ctx, cancel := context.WithTimeout(l.lookups, l.cfg.LookupTimeout)
	c.dial.cancel = cancel
	go func() {
		ips, err := l.cfg.Lookup(ctx, host)
		cancel()
		l.inbox.put(func(time.Duration) { c.lookedUp(ips, port, err) }, true)
	}()
}

// splitAddress takes HOST:PORT apart; the port is a number.
func splitAddress(address string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q is not a number from 0 to 65535", p)
	}
	return host, uint16(n), nil
}

func (c *conn) lookedUp(ips []netip.Addr, port uint16, err error) {
	if c.state != dialing {
		return
	}
	if err != nil {
		c.dialFailed(err)
		return
	}
	for _, ip := range ips[:min(len(ips), maxAddresses)] {
		c.dial.addrs = append(c.dial.addrs, netip.AddrPortFrom(ip.Unmap(), port))
	}
	if len(ips) == 0 {
		c.dialFailed(errors.New("the name has no address"))
		return
	}
	c.tryNext()
}

// tryNext begins to connect to the next address that can be begun with.
func (c *conn) tryNext() {
	d := c.dial
	for len(d.addrs) > 0 {
		d.trying = d.addrs[0]
		d.addrs = d.addrs[1:]
		err := c.connect(d.trying)
		if err == nil {
			c.setTimer(c.loop.now + c.loop.cfg.DialTimeout)
			return
		}
		c.addFailure(err)
	}
	c.dialFailed(nil)
}

func (c *conn) addFailure(err error) {
	c.dial.failed = append(c.dial.failed, fmt.Errorf("%v: %w", c.dial.trying, err))
}

// dialFailed tells the stream, with err or else with all that was tried.
func (c *conn) dialFailed(err error) {
	e := &DialError{Address: c.dial.address, Tried: c.dial.failed}
	if err != nil {
		e.Tried = []error{err}
	}
	c.fail(e)
}

func (c *conn) connect(to netip.AddrPort) error {
	family, sa, err := sockaddr(to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	setNoDelay(fd)
	err = unix.Connect(fd, sa)
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		unix.Close(fd)
		return err
	}
	// Registered after connect: a socket without a peer reports a hang-up.
	if err := c.loop.register(fd, slot{c: c}, baseEvents|unix.EPOLLOUT); err != nil {
		unix.Close(fd)
		return err
	}
	c.fd = fd
	c.tcp = true
	c.loop.conns++
	return nil
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	ip := a.Addr()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	}
	sa6 := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		ifc, err := net.InterfaceByName(zone)
		if err != nil {
			n, numErr := strconv.ParseUint(zone, 10, 32)
			if numErr != nil {
				return 0, nil, fmt.Errorf("zone %q: %w", zone, err)
			}
			ifc = &net.Interface{Index: int(n)}
		}
		sa6.ZoneId = uint32(ifc.Index)
	}
	return unix.AF_INET6, sa6, nil
}

// connectEnded finds out how a connect ended.
func (c *conn) connectEnded() {
	err := socketError(c.fd)
	if err == nil && selfConnected(c.fd) {
		err = unix.ECONNREFUSED
	}
	if err != nil {
		c.attemptEnded(err)
		return
	}
	if err := c.loop.modify(c.fd, baseEvents); err != nil {
		c.attemptEnded(err)
		return
	}
	c.setTimer(maxTime)
	c.dial = nil
	c.state = active
	c.readable = true // an edge may have come with the connect
	c.stream.Connected(c.loop.now)
	if c.state == active {
		c.queue()
		c.Kick()
	}
}

// attemptEnded goes on to the next address.
func (c *conn) attemptEnded(err error) {
	c.release()
	c.setTimer(maxTime)
	c.addFailure(err)
	c.tryNext()
}

// selfConnected: a connect to a free port of this machine's ephemeral range may
// by chance meet itself (simultaneous open), and would then look established.
func selfConnected(fd int) bool {
	local, err1 := unix.Getsockname(fd)
	peer, err2 := unix.Getpeername(fd)
	if err1 != nil || err2 != nil {
		return false
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		b, ok := peer.(*unix.SockaddrInet4)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	case *unix.SockaddrInet6:
		b, ok := peer.(*unix.SockaddrInet6)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	}
	return false
}
