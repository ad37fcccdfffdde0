package main

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// It is looked up by which links the portals are reached when routes have changed, and
// from time to time besides.
const (
	linkRefresh = time.Minute
	routeSettle = time.Second // after a change more of them come
)

// A linkWatch knows by which network link each session leaves this machine, and
// tells the device at once when such a link goes down, instead of letting a
// timeout find out. It runs in a goroutine of its own.
type linkWatch struct {
	look    func() [][]string
	portals [][]string // of each slot
	links   [][]reach  // how they are reached, of each slot
	down    map[int]bool
	tell    linkListener
	route   func(net.IP) (link int, ok bool)
}

// A reach is by which link, told by its index, a portal is reached.
type reach struct {
	portal string
	link   int
}

type linkListener interface {
	linkDown(slot int, portals []string, cause error)
	linkUp(slot int)
}

// watchLinks runs until done is closed. Where the kernel does not tell of links,
// timeouts must do.
func (d *daemon) watchLinks(done <-chan struct{}) {
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case <-done: // the subscription was ended by us
			default:
				d.log.Log(slog.LevelWarn, "links are not watched any more", "error", err)
			}
		},
	})
	if err != nil {
		d.log.Log(slog.LevelWarn, "links are not watched", "error", err)
		return
	}
	routes := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribe(routes, done); err != nil {
		d.log.Log(slog.LevelWarn, "routes are not watched", "error", err)
		routes = nil
	}
	w := &linkWatch{down: map[int]bool{}, tell: d, route: routeTo, look: d.portals}
	w.refresh()
	again := time.NewTimer(linkRefresh)
	defer again.Stop()
	settling := false
	for {
		select {
		case <-done:
			return
		case u, ok := <-updates:
			if !ok {
				return
			}
			attrs := u.Attrs()
			w.changed(attrs.Index, attrs.Name, works(attrs))
		case _, ok := <-routes:
			if !ok {
				routes = nil // from time to time will have to do
			} else if !settling {
				settling = true
				again.Reset(routeSettle)
			}
		case <-again.C:
			settling = false
			w.refresh()
			again.Reset(linkRefresh)
		}
	}
}

// works reports whether a link carries packets: it is up and has a carrier.
func works(a *netlink.LinkAttrs) bool {
	const upAndRunning = net.FlagUp | net.FlagRunning
	return a.Flags&upAndRunning == upAndRunning
}

func routeTo(ip net.IP) (int, bool) {
	routes, err := netlink.RouteGet(ip)
	if err != nil || len(routes) == 0 {
		return 0, false
	}
	return routes[0].LinkIndex, true
}

// refresh looks up the links of all portals. A link that is down stays known: with
// it went the route that would tell.
func (w *linkWatch) refresh() {
	w.portals = w.look()
	for len(w.links) < len(w.portals) {
		w.links = append(w.links, nil)
	}
	for slot, portals := range w.portals {
		var links []reach
		for _, p := range portals {
			host, _, err := net.SplitHostPort(p)
			ip := net.ParseIP(host)
			if err != nil || ip == nil || ip.IsLoopback() {
				continue
			}
			if link, ok := w.route(ip); ok {
				links = append(links, reach{p, link})
			}
		}
		for _, l := range w.links[slot] {
			if w.down[l.link] && !slices.Contains(links, l) {
				links = append(links, l)
			}
		}
		w.links[slot] = links
	}
}

// changed takes the news of one link.
func (w *linkWatch) changed(link int, name string, up bool) {
	if up == !w.down[link] {
		return
	}
	used := false
	for slot, links := range w.links {
		var portals []string
		for _, l := range links {
			if l.link == link {
				portals = append(portals, l.portal)
			}
		}
		used = used || len(portals) > 0
		switch {
		case len(portals) == 0:
		case up:
			w.tell.linkUp(slot)
		default:
			w.tell.linkDown(slot, portals, fmt.Errorf("link %s is down", name))
		}
	}
	switch {
	case up:
		delete(w.down, link)
		w.refresh()
	case used: // others come and go, and are never heard of again
		w.down[link] = true
	}
}

// portals are those of each slot's session.
func (d *daemon) portals() (list [][]string) {
	// An error means that the daemon has ended: then there are none.
	_ = d.post(func(time.Duration) {
		for _, s := range d.plan.sessions {
			list = append(list, s.Portals)
		}
	})
	return list
}

func (d *daemon) linkDown(slot int, portals []string, cause error) {
	d.loop.Post(func(now time.Duration) { d.stack.LinkDown(now, slot, portals, cause) })
}

func (d *daemon) linkUp(slot int) {
	d.loop.Post(func(now time.Duration) { d.stack.Device().LinkUp(now, slot) })
}
