//go:build e2e

package e2e

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// A proxy stands between braid and one portal, so that a test can do to the
// network what it likes.
type proxy struct {
	t        *testing.T
	address  string
	upstream string

	mu       sync.Mutex
	cond     sync.Cond
	listener net.Listener // nil while connections are refused
	held     bool         // nothing is passed on, not even an end
	links    map[*link]bool
}

// A link is one connection and its other half.
type link struct{ down, up *net.TCPConn }

// proxies puts a proxy before each portal.
func proxies(t *testing.T, portals []string) []*proxy {
	t.Helper()
	var list []*proxy
	for i, address := range addresses(t, len(portals)) {
		p := &proxy{t: t, address: address, upstream: portals[i], links: make(map[*link]bool)}
		p.cond.L = &p.mu
		p.heal()
		t.Cleanup(func() { p.refuse(); p.resume() })
		list = append(list, p)
	}
	return list
}

func proxyAddresses(list []*proxy) []string {
	var all []string
	for _, p := range list {
		all = append(all, p.address)
	}
	return all
}

// heal makes everything as it should be. What was held back is passed on, late.
func (p *proxy) heal() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	p.cond.Broadcast()
	if p.listener != nil {
		return
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l
	go p.serve(l)
}

// reset ends all connections the hard way. New ones are taken.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// finish ends all connections in good order: nothing more is sent. (One that is closed with
// something in it that was not read is reset.) New ones are taken.
func (p *proxy) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.down.CloseWrite()
	}
}

// refuse ends all connections and takes no new ones.
func (p *proxy) refuse() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.reset()
}

// blackhole passes nothing on any more, and ends nothing.
func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	p.cond.Broadcast()
}

func (p *proxy) serve(l net.Listener) {
	for {
		down, err := l.Accept()
		if err != nil {
			return
		}
		go p.connect(l, down.(*net.TCPConn))
	}
}

func (p *proxy) connect(l net.Listener, down *net.TCPConn) {
	up, err := net.Dial("tcp", p.upstream)
	if err != nil { // the portal is not there: neither are we
		down.SetLinger(0)
		down.Close()
		return
	}
	k := &link{down, up.(*net.TCPConn)}
	p.mu.Lock()
	if p.listener != l {
		p.mu.Unlock()
		k.reset()
		return
	}
	p.links[k] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(k, k.up, k.down) })
	both.Go(func() { p.pass(k, k.down, k.up) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, k)
	p.mu.Unlock()
}

// pass copies one direction until either end closes.
func (p *proxy) pass(k *link, to, from *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.held && !errors.Is(err, net.ErrClosed) {
			p.cond.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, e := to.Write(buf[:n]); e != nil && err == nil {
				err = e
			}
		}
		if err != nil {
			k.reset()
			return
		}
	}
}

func (k *link) reset() {
	for _, c := range []*net.TCPConn{k.down, k.up} {
		c.SetLinger(0)
		c.Close()
	}
}
