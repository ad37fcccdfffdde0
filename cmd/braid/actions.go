package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"braid/barrier"
	"braid/iscsi"
	"braid/mpath"
)

// What the control socket can change about a device while it runs. These methods are
// called from ordinary goroutines; what touches the device is posted to the loop.

const (
	actionTimeout = 20 * time.Second       // how long the outcome is waited for
	actionPoll    = 100 * time.Millisecond // how often it is asked for
)

// An ActionError is an action that cannot be done as asked.
type ActionError struct {
	Missing bool // there is no such path
	Err     error
}

func (e *ActionError) Error() string { return e.Err.Error() }
func (e *ActionError) Unwrap() error { return e.Err }

// post has the loop's thread do f and waits for that.
func (d *daemon) post(f func(now time.Duration)) error {
	done := make(chan struct{})
	if !d.loop.Post(func(now time.Duration) { f(now); close(done) }) {
		return errEnded
	}
	select {
	case <-done:
		return nil
	case <-d.loop.Done():
		return errEnded
	}
}

// await asks on the loop's thread until it is told that there is an outcome. It gives
// false if that takes too long.
func (d *daemon) await(ctx context.Context, outcome func() bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	for {
		over := false
		if err := d.post(func(time.Duration) { over = outcome() }); err != nil || over {
			return over, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(actionPoll):
		}
	}
}

// AddPath implements Controlled.
func (d *daemon) AddPath(ctx context.Context, u URL) (string, error) {
	offer, err := d.plan.config.newOffer(d.plan.initiator, u)
	if err != nil {
		return "", &ActionError{Err: err}
	}
	locks, err := d.locks.take(u)
	if err != nil {
		return "", &ActionError{Err: err}
	}
	session := d.plan.config.sessionConfig(offer, u)
	slot := 0
	posted := d.post(func(now time.Duration) { slot, err = d.addPath(now, u, session) })
	if posted != nil {
		return "", posted
	}
	if err != nil {
		d.locks.release(locks)
		return "", &ActionError{Err: err}
	}
	var path mpath.PathStatus
	up, err := d.await(ctx, func() bool {
		path = d.stack.Device().Status(d.loop.Now()).Paths[slot]
		return path.State == "active" || path.State == "ghost" || path.Final
	})
	note := "it is not in the configuration, and goes with this daemon"
	switch {
	case err != nil:
		return "", err
	case path.Final:
		why := explainPath(u.String(), path.LastErr)
		if err := d.post(func(now time.Duration) {
			d.stack.Device().RemovePath(now, slot)
		}); err != nil {
			return "", err
		}
		d.locks.release(locks)
		return "", &ActionError{Err: why}
	case !up && path.LastErr != nil:
		return fmt.Sprintf("path %d added, not up yet: %v; %s", slot, explain(path.LastErr), note), nil
	case !up:
		return fmt.Sprintf("path %d added, not up yet; %s", slot, note), nil
	}
	return fmt.Sprintf("path %d added, %s; %s", slot, path.State, note), nil
}

// addPath runs on the loop's thread.
func (d *daemon) addPath(now time.Duration, u URL, session iscsi.Config) (int, error) {
	p := d.plan
	if d.phase != serving {
		return 0, errors.New("the device is not serving: it is starting or stopping")
	}
	return d.stack.AddPath(now, mpath.SlotConfig{Name: u.String(), Target: u.Target},
		func(slot int) iscsi.Config {
			session.ISID = p.freeISID(slot)
			if slot == len(p.urls) {
				p.urls = append(p.urls, "")
				p.sessions = append(p.sessions, iscsi.Config{})
			}
			p.urls[slot], p.sessions[slot] = u.String(), session
			return session
		})
}

// freeISID is the ISID of a slot, or the next one that no other slot has: one that a former
// process left may have another slot's.
func (p *plan) freeISID(slot int) [6]byte {
	for n := slot; ; n++ {
		isid := ISID(p.initiator, string(p.config.Name), n%(2*barrier.MaxSlots))
		taken := func(s iscsi.Config) bool { return s.ISID == isid }
		if i := slices.IndexFunc(p.sessions, taken); i < 0 || i == slot {
			return isid
		}
	}
}

// ChangePath implements Controlled.
func (d *daemon) ChangePath(ctx context.Context, action PathAction, which string) (string, error) {
	slot := 0
	var err error
	posted := d.post(func(now time.Duration) {
		if slot, err = d.findPath(now, which); err != nil {
			return
		}
		dev := d.stack.Device()
		switch action {
		case removePath:
			err = dev.RemovePath(now, slot)
		case failPath:
			err = dev.FailPath(now, slot)
		case reinstatePath:
			err = dev.ReinstatePath(now, slot)
		}
	})
	if posted != nil {
		return "", posted
	}
	if err != nil {
		return "", pathError(which, err)
	}
	if action == reinstatePath {
		return d.awaitPath(ctx, slot)
	}
	gone, err := d.await(ctx, func() bool {
		var over bool
		over, err = d.stack.Device().PathGone(slot)
		return over || err != nil
	})
	done := map[PathAction]string{removePath: "removed", failPath: "out of service"}[action]
	switch {
	case err != nil:
		return "", &ActionError{Err: fmt.Errorf("path %d stays in service: %w", slot, err)}
	case !gone:
		return fmt.Sprintf("path %d carries no I/O any more; it is still being flushed and fenced",
			slot), nil
	}
	return fmt.Sprintf("path %d %s", slot, done), nil
}

func pathError(which string, err error) error {
	switch {
	case errors.Is(err, mpath.ErrLastPath):
		err = fmt.Errorf("%s: %w: `braid down` ends the device", which, err)
	case errors.Is(err, mpath.ErrNoSuchPath):
		err = fmt.Errorf("%s: %w: `braid status` shows those that it has", which, err)
		return &ActionError{true, err}
	}
	return &ActionError{Err: err}
}

// awaitPath waits for a path that was reinstated.
func (d *daemon) awaitPath(ctx context.Context, slot int) (string, error) {
	var p mpath.PathStatus
	up, err := d.await(ctx, func() bool {
		p = d.stack.Device().Status(d.loop.Now()).Paths[slot]
		return p.State == "active" || p.State == "ghost"
	})
	switch {
	case err != nil:
		return "", err
	case !up && p.LastErr != nil:
		return fmt.Sprintf("path %d in service, not up yet: %v", slot, explain(p.LastErr)), nil
	case !up:
		return fmt.Sprintf("path %d in service, not up yet", slot), nil
	}
	return fmt.Sprintf("path %d in service, %s", slot, p.State), nil
}

// findPath finds a path by its URL, or by the number that the status shows.
func (d *daemon) findPath(now time.Duration, which string) (int, error) {
	n, err := strconv.Atoi(which)
	byNumber := err == nil
	for _, p := range d.stack.Device().Status(now).Paths {
		if !p.Removed && (byNumber && n == p.Index || d.plan.urls[p.Index] == which) {
			return p.Index, nil
		}
	}
	return 0, mpath.ErrNoSuchPath
}

// Queue implements Controlled.
func (d *daemon) Queue(on bool) (string, error) {
	n := NoPath(0)
	if on {
		n = Queue
	}
	err := d.post(func(now time.Duration) { d.stack.Device().SetNoPath(now, n.wait()) })
	return fmt.Sprintf("no_path is %v now, until the daemon ends", n), err
}

// Resize implements Controlled.
func (d *daemon) Resize(ctx context.Context) (string, error) {
	dev := d.stack.Device()
	before, after := uint64(0), uint64(0)
	if err := d.post(func(now time.Duration) {
		lun := dev.LUN()
		before = lun.Bytes()
		dev.Reread(now)
	}); err != nil {
		return "", err
	}
	var paths []mpath.PathStatus
	over, err := d.await(ctx, func() bool {
		lun := dev.LUN()
		after, paths = lun.Bytes(), dev.Status(d.loop.Now()).Paths
		return !dev.Rereading()
	})
	switch {
	case err != nil:
		return "", err
	case !over:
		return "", &ActionError{Err: errors.New("a path does not answer: try again")}
	case after > before:
		return fmt.Sprintf("grown from %d to %d bytes", before, after), nil
	}
	for _, p := range paths {
		if p.Bytes > after && !p.Removed {
			return "", &ActionError{Err: fmt.Errorf("path %d tells %d bytes, but not every path works "+
				"and tells as much: the size stays %d", p.Index, p.Bytes, after)}
		}
	}
	return fmt.Sprintf("the size is %d bytes, as before", after), nil
}
