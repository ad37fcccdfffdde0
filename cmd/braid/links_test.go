package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

type linkNews struct{ heard []string }

func (n *linkNews) linkDown(slot int, portals []string, cause error) {
	n.heard = append(n.heard, fmt.Sprintf("%d: %v: %s", slot, cause, strings.Join(portals, " ")))
}

func (n *linkNews) linkUp(slot int) { n.heard = append(n.heard, fmt.Sprintf("%d: up", slot)) }

func TestLinkWatch(t *testing.T) {
	routes := map[string]int{"192.0.2.1": 7, "192.0.2.2": 8, "198.51.100.1": 8}
	news := &linkNews{}
	portals := [][]string{
		{"192.0.2.1:3260"}, {"192.0.2.2:3260", "192.0.2.1:3260"}, {"127.0.0.1:3260"},
		{"target.example:3260"}, {"198.51.100.1:3260"},
	}
	w := &linkWatch{
		look: func() [][]string { return portals },
		down: map[int]bool{}, tell: news,
		route: func(ip net.IP) (int, bool) { l, ok := routes[ip.String()]; return l, ok },
	}
	w.refresh()
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(news.heard, want) {
			t.Errorf("%s: heard %q, want %q", what, news.heard, want)
		}
		news.heard = nil
	}
	w.changed(7, "eth7", true)
	expect("a link that was up")
	w.changed(7, "eth7", false)
	expect("eth7 down", "0: link eth7 is down: 192.0.2.1:3260",
		"1: link eth7 is down: 192.0.2.1:3260")
	w.changed(7, "eth7", false)
	expect("told twice")
	delete(routes, "192.0.2.1")
	w.refresh()
	w.changed(7, "eth7", true)
	expect("eth7 up, its route not yet there", "0: up", "1: up")
	w.changed(99, "tap0", false)
	expect("a link that nobody uses")
	if len(w.down) != 0 {
		t.Errorf("links that are down: %v", w.down)
	}
	w.changed(8, "eth8", false)
	expect("eth8 down", "1: link eth8 is down: 192.0.2.2:3260",
		"4: link eth8 is down: 198.51.100.1:3260")
}
