package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"braid/internal/loop"
	"braid/internal/stack"
	"braid/mpath"
)

const (
	stopGrace   = 9 * time.Second        // for an orderly end, of the 10 s it may take
	failGrace   = time.Second            // for the same after an error
	lastMoment  = 500 * time.Millisecond // for replies to leave after that
	stateRetry  = time.Second            // between tries to write the state file
	siblingTime = 250 * time.Millisecond // that a ready device waits for its other paths
	maxClients  = 16                     // NBD connections at a time
	maxInFlight = 64 << 20               // bytes of one client's requests
	poolExtra   = (maxClients + 4) * (32 << 20)
)

// A daemon runs one device: it is the loop's Driver and owns the Stack. Its
// fields belong to the loop's thread, except those that are set before Run.
//
//	starting --ready--> serving --stop, error--> stopping --sessions over--> leaving
//	    |                                           |                          |
//	    +----------------- stop, error -------------+       the loop ends <----+
type daemon struct {
	plan  *plan
	loop  *loop.Loop
	stack *stack.Stack
	store *StateStore
	log   *Log
	locks *lockSet
	began time.Time
	ready func() error // tells the world; its error ends the daemon

	phase     phase
	startBy   time.Duration // when a device that is not ready is given up
	serveBy   time.Duration // when a ready one is served though paths are still tried; 0: not ready
	leaveBy   time.Duration
	recorded  uint64        // version of the state that was handed to the store
	recordAt  time.Duration // when a failed write of it is tried again; 0: none failed
	listeners []loop.Listener
	addresses []string      // of the exports; as configured until they are there
	kernel    *kernelExport // the export that is one; nil if none is, or not any more
	unflushed error         // why some of what was written may not be on stable storage at the end
	err       error         // why it ended, valid after the loop has
}

type phase int

const (
	starting phase = iota
	serving
	stopping
	leaving
	over
)

// Step is the loop's.
func (d *daemon) Step(now time.Duration) time.Duration {
	next, before := d.stack.Step(now), d.phase
	d.record(now)
	if d.recordAt > 0 {
		next = min(next, d.recordAt)
	}
	switch d.phase {
	case starting:
		next = min(next, d.stepStart(now))
	case serving:
		d.resizeKernel()
		if err := d.stack.Device().Fatal(); err != nil {
			d.fail(now, explain(err))
		}
	case stopping:
		if d.stack.Device().Stopped() {
			d.unflushed = unflushed(d.stack.Device(), now)
			d.phase, d.leaveBy = leaving, now+lastMoment
		}
	case leaving:
		if s := d.stack.Server(); s == nil || s.Idle() || now >= d.leaveBy {
			d.phase = over
			d.loop.Stop()
		}
		next = min(next, d.leaveBy)
	}
	if d.phase != before {
		return now // what the new phase asked of the engines is still to be done
	}
	return next
}

func (d *daemon) stepStart(now time.Duration) time.Duration {
	dev := d.stack.Device()
	switch {
	case dev.Fatal() != nil:
		d.fail(now, explain(dev.Fatal()))
	case dev.Ready():
		if d.serveBy == 0 {
			d.serveBy = now + siblingTime
		}
		if now < d.serveBy && d.untried(now) {
			return d.serveBy
		}
		if err := d.serve(); err != nil {
			d.fail(now, err)
			break
		}
		d.phase = serving
	case now >= d.startBy:
		d.fail(now, d.startError(now))
	}
	return d.startBy
}

// untried says whether a path's first attempt is still under way. A mistake in a
// second URL is thus told, most often, before the device is said to be ready.
func (d *daemon) untried(now time.Duration) bool {
	for _, p := range d.stack.Device().Status(now).Paths {
		if p.State != "active" && p.LastErr == nil && !p.Removed {
			return true
		}
	}
	return false
}

// serve opens the sockets and says that the device is there; with a device of
// the kernel that is said when it is attached.
func (d *daemon) serve() error {
	kernel := -1
	for i, e := range d.plan.config.NBD {
		d.addresses = append(d.addresses, e.String())
		if e.Network == "nbd" {
			kernel = i
			continue
		}
		l, err := d.loop.Listen(e.Network, e.Address, d.stack.Accept)
		if err != nil {
			return fmt.Errorf("cannot serve at %v: %w", e, err)
		}
		d.listeners = append(d.listeners, l)
		e.Address = l.Address()
		d.addresses[i] = e.String()
	}
	if kernel >= 0 {
		d.attach(kernel, d.plan.config.NBD[kernel].Address)
		return nil
	}
	return d.ready()
}

// startError says what was tried in vain.
func (d *daemon) startError(now time.Duration) error {
	var reasons []string
	for _, p := range d.stack.Device().Status(now).Paths {
		if p.Removed || p.LastErr == nil {
			continue
		}
		text := explainPath(d.plan.urls[p.Index], p.LastErr).Error()
		if len(reasons) == 0 || reasons[len(reasons)-1] != text {
			reasons = append(reasons, text)
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"no path came up"}
	}
	return fmt.Errorf("no path within %v (--start-timeout): %s", d.plan.config.StartTimeout,
		strings.Join(reasons, "; "))
}

// record has the state written down whenever it changed.
func (d *daemon) record(now time.Duration) {
	dev := d.stack.Device()
	if dev.StateVersion() == d.recorded && (d.recordAt == 0 || now < d.recordAt) {
		return
	}
	version, slots := dev.State()
	d.recorded, d.recordAt = version, 0
	d.store.Put(d.plan.state(slots, dev.Untold()), func(err error) {
		d.loop.Post(func(now time.Duration) {
			if err == nil {
				dev.Recorded(version)
				return
			}
			d.log.Log(slog.LevelError, "the state file cannot be written; new sessions wait",
				"file", d.plan.stateFile, "err", err)
			d.recordAt = now + stateRetry
		})
	})
}

// stop begins the orderly end.
func (d *daemon) stop(now, grace time.Duration, why string) {
	if d.phase >= stopping {
		return
	}
	if d.kernel != nil {
		d.releaseKernel(now, func(now, spent time.Duration) {
			d.stop(now, max(grace-spent, failGrace), why)
		})
		return
	}
	d.log.Log(slog.LevelInfo, "stopping", "because", why)
	go notify(d.log.Log, "STOPPING=1") // it may have to wait for systemd
	for _, l := range d.listeners {
		l.Close()
	}
	if s := d.stack.Server(); s != nil {
		s.Shutdown(now)
	}
	d.stack.Device().Stop(now, grace)
	d.phase = stopping
}

// fail is the end because of an error. What there is of sessions is logged out.
func (d *daemon) fail(now time.Duration, err error) {
	d.err = err
	d.stop(now, failGrace, err.Error())
}

// The methods below are called from other goroutines.

var errEnded = errors.New("the daemon has ended")

// Status implements Controlled.
func (d *daemon) Status() (Status, error) {
	answer := make(chan Status, 1)
	if !d.loop.Post(func(now time.Duration) { answer <- d.snapshot(now) }) {
		return Status{}, errEnded
	}
	select {
	case s := <-answer:
		return s, nil
	case <-d.loop.Done():
		return Status{}, errEnded
	}
}

// Stop begins the orderly end.
func (d *daemon) Stop(why string) {
	d.loop.Post(func(now time.Duration) { d.stop(now, stopGrace, why) })
}

// Down implements Controlled.
func (d *daemon) Down(ctx context.Context) error {
	if err := d.detachKernel(ctx); err != nil {
		return err
	}
	d.Stop("braid down")
	select {
	case <-d.loop.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.err != nil {
		return d.err
	}
	return d.unflushed
}

// unflushed says what of a device that has stopped could not be flushed, and why.
func unflushed(dev *mpath.Device, now time.Duration) error {
	err, left := dev.StopErr(), dev.Status(now).Unstable
	switch {
	case left > 0 && err != nil:
		return fmt.Errorf("stopped, but %s could not be flushed: %w", bytesShort(left), err)
	case left > 0:
		return fmt.Errorf("stopped, but %s could not be flushed", bytesShort(left))
	case err != nil:
		return fmt.Errorf("stopped, but data that was not flushed before may be lost: %w", err)
	}
	return nil
}
