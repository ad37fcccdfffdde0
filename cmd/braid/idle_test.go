package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestIdle steps a clock by hand: what is done after how long.
func TestIdle(t *testing.T) {
	busy := []string{"mounted on /srv"}
	tests := []struct {
		name         string
		most, noPath time.Duration
		usedFor      time.Duration // from the start on
		pathless     [2]time.Duration
		took         time.Duration
		gaveUp, fail bool
	}{
		{"unused", time.Minute, 0, 0, [2]time.Duration{}, 0, false, false},
		{"unmounted meanwhile", time.Minute, 20 * time.Second, 9 * time.Second, [2]time.Duration{},
			9 * time.Second, false, false},
		{"still in use", time.Minute, 20 * time.Second, time.Hour, [2]time.Duration{}, time.Minute, false,
			true},
		{"only looked at", 0, 0, time.Hour, [2]time.Duration{}, 0, false, true},
		{"no path", 10 * time.Minute, 20 * time.Second, time.Hour, [2]time.Duration{0, time.Hour},
			20 * time.Second, true, false},
		{"path lost meanwhile", 10 * time.Minute, 20 * time.Second, time.Hour,
			[2]time.Duration{30 * time.Second, time.Hour}, 49500 * time.Millisecond, true, false},
		{"path comes back", time.Minute, 20 * time.Second, time.Hour,
			[2]time.Duration{5 * time.Second, 20 * time.Second}, time.Minute, false, true},
		{"never given up", time.Minute, 0, time.Hour, [2]time.Duration{0, time.Hour},
			time.Minute, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clock := time.Duration(0)
			gaveUp := false
			var said bytes.Buffer
			w := idleWait{most: test.most, noPath: test.noPath, say: &said,
				now:   func() time.Time { return time.Unix(0, 0).Add(clock) },
				pause: func(d time.Duration) { clock += d }}
			err := w.wait(watchedDevice{
				path: "/dev/nbd0",
				users: func() ([]string, error) {
					if clock >= test.usedFor {
						return nil, nil
					}
					return busy, nil
				},
				reachable:  func() bool { return clock < test.pathless[0] || clock >= test.pathless[1] },
				disconnect: func() error { gaveUp = true; return nil },
			})
			if (err != nil) != test.fail || gaveUp != test.gaveUp || clock != test.took {
				t.Errorf("%v, gave up %v, after %v", err, gaveUp, clock)
			}
			if test.usedFor > 0 && strings.Count(said.String(), "is in use: mounted on /srv") != 1 {
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
	err := w.wait(watchedDevice{path: "/dev/nbd7",
		users: func() ([]string, error) { return nil, errors.New("it could not be opened") }})
	if err == nil || !strings.Contains(err.Error(), "/dev/nbd7 is in use: it could not be opened") {
		t.Error(err)
	}
}
