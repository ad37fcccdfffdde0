package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"braid/internal/loop"
	"braid/nbd/nbdnl"
)

const (
	// deadTimeout is how long the kernel's requests wait for a daemon when there
	// is none: longer than any restart, and than most repairs.
	deadTimeout = 30 * 24 * time.Hour

	// ioTimeout is how long after a restart the kernel sends again what the old
	// daemon had; and how often it says in its log that a request waits.
	ioTimeout = 5 * time.Second

	// maxKernelSockets leaves room for other clients.
	maxKernelSockets = 8

	// requestTimeout is how old a request may be before the driver cuts off its
	// socket and asks again on another; with several sockets it cannot be turned
	// off. A command of a path that works is given up no earlier.
	requestTimeout = 30 * time.Second

	// maxRequest is the largest request of the kernel: what a target takes in one
	// burst. The driver's own limit makes eight of a read of this size.
	maxRequest = 1 << 20

	// attachTimeout bounds how long a device may take to be made.
	attachTimeout = 15 * time.Second
)

// A kernelExport is the export that is a block device of the kernel. What is
// done with it may take long, so it is done in goroutines.
type kernelExport struct {
	wanted string // as configured
	cancel context.CancelFunc
	done   chan struct{} // closed when the attempt to attach it is over

	mu       sync.Mutex
	attached *nbdnl.Attachment // nil if it is not, or not any more

	size     uint64 // of the device, as the kernel knows it; of the loop's thread
	resizing bool   // likewise

	// then is called on the loop's thread when it is released; nil before that
	// has begun. It belongs to that thread.
	then func(now time.Duration)
}

// attach begins to make the kernel's device. It is called on the loop's thread
// once the LUN is known; attachDone follows there.
func (d *daemon) attach(export int, wanted string) {
	ctx, cancel := context.WithTimeout(context.Background(), attachTimeout)
	k := &kernelExport{wanted: wanted, cancel: cancel, done: make(chan struct{})}
	d.kernel = k
	lun := d.stack.Device().LUN()
	cfg := nbdnl.Config{
		Device: wanted,
		Settings: nbdnl.Settings{
			Size: lun.Bytes(), BlockSize: uint64(lun.BlockSize),
			ServerFlags: d.stack.Info().TransmissionFlags(), Backend: lun.Identity,
			DeadTimeout: deadTimeout,
		},
		Sockets:    kernelSockets(d.plan.config.NBDSockets, runtime.NumCPU()),
		IOTimeout:  ioTimeout,
		MaxRequest: maxRequest,
		Serve:      d.serveKernel,
		Log:        d.log.Log,
	}
	if wanted := d.plan.config.NBDSockets; cfg.Sockets < wanted {
		d.log.Log(slog.LevelWarn, "fewer sockets than nbd_sockets: one for each processor",
			"sockets", cfg.Sockets, "nbd_sockets", wanted)
	}
	if cfg.Sockets > 1 {
		cfg.Settings.Timeout = requestTimeout
	}
	go func() {
		defer cancel()
		a, err := nbdnl.Attach(ctx, cfg)
		k.attached = a
		close(k.done)
		d.loop.Post(func(now time.Duration) { d.attachDone(now, export, a, err) })
	}()
}

// kernelSockets is how many sockets the driver gets: it has no use for more than
// there are processors.
func kernelSockets(wanted, processors int) int {
	return max(min(wanted, processors), 1)
}

// serveKernel hands our end of a socket to the loop.
func (d *daemon) serveKernel(fd int) (<-chan struct{}, error) {
	gone := make(chan struct{})
	posted := d.loop.Post(func(now time.Duration) {
		adopt := func(s loop.Stream) loop.Socket { return d.loop.Adopt(fd, s) }
		if !d.stack.AcceptKernel(now, adopt, func() { close(gone) }) {
			unix.Close(fd)
			close(gone)
		}
	})
	if !posted {
		unix.Close(fd)
		return nil, errEnded
	}
	return gone, nil
}

// attachDone is told how attach ended.
func (d *daemon) attachDone(now time.Duration, export int, a *nbdnl.Attachment, err error) {
	switch {
	case d.phase != serving || d.kernel.then != nil:
		return
	case err != nil:
		d.fail(now, fmt.Errorf("cannot serve at %s: %w", d.kernel.wanted, err))
		return
	}
	d.kernel.size = d.stack.Info().Size
	d.addresses[export] = a.Path()
	go announceDevice(a.Path(), d.log.Log)
	if a.TakenOver() {
		d.log.Log(slog.LevelInfo, "the device of an earlier daemon is taken over",
			"device", a.Path())
	}
	go func() {
		select {
		case <-d.loop.Done():
		case err := <-a.Lost():
			d.loop.Post(func(now time.Duration) { d.fail(now, fmt.Errorf("%s: %w", a.Path(), err)) })
		}
	}()
	if err := d.ready(); err != nil {
		d.fail(now, err)
	}
}

// resizeKernel tells the kernel when the LUN has grown. That waits until what is in flight
// has been answered; it is begun only when every path is there.
func (d *daemon) resizeKernel() {
	k := d.kernel
	if k == nil || k.size == 0 || k.resizing || k.then != nil {
		return
	}
	size := d.stack.Info().Size
	if size <= k.size {
		return
	}
	k.resizing = true
	go func() {
		k.mu.Lock()
		var err error
		if k.attached != nil {
			err = k.attached.Resize(size)
		}
		k.mu.Unlock()
		d.loop.Post(func(time.Duration) {
			k.size, k.resizing = size, false
			if err != nil {
				d.log.Log(slog.LevelError, "the kernel's device keeps its size", "error", err)
			}
		})
	}()
}

// releaseKernel lets go of the kernel's device and then calls then, of several
// calls the last one's, with how long it took.
func (d *daemon) releaseKernel(now time.Duration, then func(now, spent time.Duration)) {
	k, began := d.kernel, now
	begun := k.then != nil
	k.then = func(now time.Duration) { then(now, now-began) }
	if begun {
		return
	}
	go func() {
		if err := k.release(d.log); err != nil {
			d.log.Log(slog.LevelError, "the device could not be detached", "err", err)
		}
		d.loop.Post(func(now time.Duration) {
			d.kernel = nil
			k.then(now)
		})
	}()
}

// detachKernel detaches the kernel's device, if there is one. It is an error if
// somebody uses it; then nothing has changed.
func (d *daemon) detachKernel(ctx context.Context) error {
	found := make(chan *kernelExport, 1)
	d.loop.Post(func(time.Duration) { found <- d.kernel })
	select {
	case k := <-found:
		if k == nil {
			return nil
		}
		return k.detach(d.log)
	case <-d.loop.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *kernelExport) detach(log *Log) error {
	k.cancel()
	<-k.done
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.attached == nil {
		return nil
	}
	err := k.attached.Detach()
	if inUse := new(nbdnl.ErrInUse); errors.As(err, &inUse) {
		return err
	}
	announceDevice(k.attached.Path(), log.Log)
	k.attached = nil
	return err
}

// release detaches the device if nobody uses it, else leaves it to the next
// daemon.
func (k *kernelExport) release(log *Log) error {
	err := k.detach(log)
	if inUse := new(nbdnl.ErrInUse); !errors.As(err, &inUse) {
		return err
	}
	log.Log(slog.LevelWarn, "the device stays, and its I/O waits for the next daemon",
		"because", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.attached != nil {
		k.attached.Release()
		k.attached = nil
	}
	return nil
}
