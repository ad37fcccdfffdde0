package mpath

import (
	"log/slog"
	"slices"
	"time"
)

// A path that is lost again and again costs more than it brings: every loss means a fence
// and writes that are sent again. It is kept in reserve until it was good for a while, and
// longer each time. When nothing better is left it is used all the same.

// flaps is what is known of a path's losses.
type flaps struct {
	losses []time.Duration // within Config.FlapWindow
	last   time.Duration
	until  time.Duration // it is in reserve; 0 if it is not
	pause  time.Duration // how long it must be good before that ends
}

// maxFlapDoublings bounds how long a path that does not stop failing is kept in reserve.
const maxFlapDoublings = 5

// marginal reports whether the path is in reserve.
func (f *flaps) marginal(now time.Duration) bool { return now < f.until }

// over reports, once, that its time in reserve has ended.
func (f *flaps) over(now time.Duration) bool {
	if f.until == 0 || now < f.until {
		return false
	}
	f.until = 0
	return true
}

// togetherTime is how close in time losses are that have one cause.
const togetherTime = 10 * time.Second

// flapped takes note that a path was lost which had carried I/O.
func (d *Device) flapped(s *slot) {
	f := &s.flaps
	if d.now-f.last > d.cfg.FlapWindow+2*f.pause {
		f.pause = 0 // that was long ago
	}
	f.last = d.now
	f.forget(func(t time.Duration) bool { return d.now-t > d.cfg.FlapWindow })
	f.losses = append(f.losses, d.now)
}

func (f *flaps) forget(which func(at time.Duration) bool) {
	f.losses = slices.DeleteFunc(f.losses, which)
}

// allFlapped takes note that no path is left: what took them all was no fault of each.
func (d *Device) allFlapped() {
	for _, s := range d.slots {
		s.flaps.forget(func(t time.Duration) bool { return d.now-t < togetherTime })
	}
}

// returned decides whether a path that is back is kept in reserve. The time for which it
// must be good begins anew each time.
func (d *Device) returned(s *slot) {
	f := &s.flaps
	if n := d.cfg.FlapThreshold; n > 0 && f.until == 0 && len(f.losses) >= n {
		f.pause = min(max(2*f.pause, d.cfg.FlapPause), d.cfg.FlapPause<<maxFlapDoublings)
		f.until = d.now + f.pause
		s.stats.Marginal++
		d.log(slog.LevelWarn, "path fails again and again; it is kept in reserve", "path", s.name,
			"losses", len(f.losses), "within", d.cfg.FlapWindow, "for", f.pause)
		f.losses = f.losses[:0]
	}
	if f.until > 0 {
		f.until = d.now + f.pause
	}
}
