package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/nbd/nbdnl"
)

// TestIdle steps a clock by hand: what is done after how long.
func TestIdle(t *testing.T) {
	const s, forever = time.Second, time.Hour
	mount := nbdnl.User{Kind: "mount", Name: "/srv"}
	holder := nbdnl.User{Kind: "holder", Name: "dm-0"}
	tests := []struct {
		name         string
		most, noPath time.Duration
		shutdown     bool
		mounted      time.Duration // from the start on
		held         time.Duration // likewise
		writes       time.Duration // likewise
		flight       time.Duration // likewise
		pathless     [2]time.Duration
		took         time.Duration
		gaveUp, fail bool
		unmounts     int
	}{
		{name: "unused", most: 60 * s},
		{name: "unmounted meanwhile", most: 60 * s, noPath: 20 * s, mounted: 9 * s, took: 9 * s},
		{name: "still in use", most: 60 * s, noPath: 20 * s, mounted: forever, took: 60 * s, fail: true},
		{name: "only looked at", mounted: forever, fail: true},
		{name: "held", held: forever, most: 60 * s, took: 60 * s, fail: true},
		{name: "no path", most: 600 * s, noPath: 20 * s, mounted: forever,
			pathless: [2]time.Duration{0, forever}, took: 20 * s, gaveUp: true},
		{name: "path lost meanwhile", most: 600 * s, noPath: 20 * s, mounted: forever,
			pathless: [2]time.Duration{30 * s, forever}, took: 49500 * time.Millisecond, gaveUp: true},
		{name: "path comes back", most: 60 * s, noPath: 20 * s, mounted: forever,
			pathless: [2]time.Duration{5 * s, 20 * s}, took: 60 * s, fail: true},
		{name: "never given up", most: 60 * s, mounted: forever,
			pathless: [2]time.Duration{0, forever}, took: 60 * s, fail: true},
		{name: "shutdown, unmounted at once", shutdown: true, most: 60 * s, mounted: 2 * s, took: 2 * s},
		{name: "shutdown, to unmount", shutdown: true, most: 60 * s, mounted: 5 * s, took: 5 * s,
			unmounts: 4},
		{name: "shutdown, held", shutdown: true, most: 60 * s, mounted: 2 * s, held: forever,
			took: 6500 * time.Millisecond, unmounts: 7},
		{name: "shutdown, held by an unmount that writes", shutdown: true, most: 60 * s, held: forever,
			writes: 20 * s, took: 25 * s, unmounts: 44},
		{name: "shutdown, held by an unmount that waits", shutdown: true, most: 60 * s, held: forever,
			flight: 20 * s, took: 25 * s, unmounts: 44},
		{name: "shutdown, let go", shutdown: true, most: 60 * s, held: 2 * s, took: 2 * s},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clock := time.Duration(0)
			gaveUp, unmounts := false, 0
			var said bytes.Buffer
			w := idleWait{most: test.most, noPath: test.noPath, shutdown: test.shutdown, say: &said,
				now:   func() time.Time { return time.Unix(0, 0).Add(clock) },
				pause: func(d time.Duration) { clock += d }}
			err := w.wait(watchedDevice{
				path: "/dev/nbd0",
				users: func() (users []nbdnl.User, err error) {
					if clock < test.mounted {
						users = append(users, mount)
					}
					if clock < test.held {
						users = append(users, holder)
					}
					return users, nil
				},
				io: func() string {
					flight := 0
					if clock < test.flight {
						flight = 3
					}
					return fmt.Sprint(" 0 0 0 0 ", min(clock, test.writes), " 0 0 0 ", flight, " 0")
				},
				reachable:  func() bool { return clock < test.pathless[0] || clock >= test.pathless[1] },
				disconnect: func() error { gaveUp = true; return nil },
				unmount:    func() { unmounts++ },
			})
			if (err != nil) != test.fail || gaveUp != test.gaveUp || clock != test.took ||
				unmounts != test.unmounts {
				t.Errorf("%v, gave up %v, after %v, tried to unmount %d times", err, gaveUp, clock,
					unmounts)
			}
			if test.mounted > 0 && strings.Count(said.String(), "is in use: mounted on /srv") !=
				int(min(test.most, 1)) {
				t.Errorf("said %q", said.String())
			}
			if test.gaveUp && !strings.Contains(said.String(), "no path, and is given up") {
				t.Errorf("said %q", said.String())
			}
		})
	}
}

func TestIdleTellsWhy(t *testing.T) {
	w := idleWait{say: &bytes.Buffer{}, now: time.Now}
	err := w.wait(watchedDevice{path: "/dev/nbd7", io: func() string { return "" },
		users: func() ([]nbdnl.User, error) { return nil, errors.New("it could not be opened") }})
	if err == nil || !strings.Contains(err.Error(), "/dev/nbd7 is in use: it could not be opened") {
		t.Error(err)
	}
}

func TestNetworkMounts(t *testing.T) {
	got := networkMounts("SRC=/dev/nbd0 TARGET=/srv/a\\040b ROOT=/ OPTS=_netdev,x-y=1\n" +
		"ID=7 SRC=/dev/nbd1 TARGET=/srv/c ROOT=/ OPTS=user,_netdev2\n" +
		"SRC=/dev/nbd2 TARGET=/srv/d ROOT=/ OPTS=noauto,_netdev\nOPTS=_netdev\n\n")
	if want := []string{"/srv/a b", "/srv/d"}; !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("%v, want %v", got, want)
	}
}
