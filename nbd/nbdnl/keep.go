package nbdnl

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

// keep starts a goroutine per socket that replaces it whenever it is lost, and
// one that spreads the news of dead ones.
func (a *Attachment) keep(gone []<-chan struct{}, dead <-chan int) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	news := make([]chan struct{}, len(gone))
	for i, g := range gone {
		news[i] = make(chan struct{}, 1)
		a.keepers.Go(func() { a.keepOne(ctx, g, news[i]) })
	}
	a.keepers.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case index, ok := <-dead:
				if !ok {
					return
				}
				if index == a.index {
					tell(news)
				}
			}
		}
	})
}

func tell(news []chan struct{}) {
	for _, n := range news {
		select {
		case n <- struct{}{}:
		default:
		}
	}
}

func (a *Attachment) keepOne(ctx context.Context, gone <-chan struct{}, dead <-chan struct{}) {
	var pause time.Duration
	for joined := time.Now(); ; joined = time.Now() {
		select {
		case <-ctx.Done():
			return
		case <-gone:
		}
		began := time.Now()
		pause = nextPause(pause, time.Since(joined))
		if !sleep(ctx, pause) {
			return
		}
		next, err := a.join(ctx, dead)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.cfg.Log(slog.LevelError, "the device is lost", "device", a.Path(), "err", err)
			select {
			case a.lost <- err:
			default:
			}
			return
		}
		a.cfg.Log(slog.LevelWarn, "the kernel had lost a socket, and has a new one",
			"device", a.Path(), "after", time.Since(began))
		gone = next
	}
}

// nextPause is how long the replacement of a socket waits. One that has lasted
// no time was not served: there was no room for it, and soon there may be.
func nextPause(last, lasted time.Duration) time.Duration {
	if lasted >= rejoinMax {
		return 0
	}
	return min(max(2*last, rejoinMin), rejoinMax)
}

// sleep is false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// join gives the kernel a new socket in the place of a dead one. The kernel
// discards it while there is none; dead tells when to try again earlier than in
// a while. It is tried until ctx ends, then the error is ErrServed. What the
// kernel refuses is final.
func (a *Attachment) join(ctx context.Context, dead <-chan struct{}) (<-chan struct{}, error) {
	for pause := rejoinMin; ; pause = min(2*pause, rejoinMax) {
		p, err := newPair()
		if err == nil {
			if err := a.offer(p); err != nil {
				p.closeOurs()
				return nil, err
			}
			if p.kept() {
				return a.cfg.Serve(p.ours)
			}
			p.closeOurs()
			err = ErrServed
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-dead:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// offer gives the kernel its end of a pair and keeps no copy of it.
func (a *Attachment) offer(p pair) error {
	s := a.cfg.Settings
	err := a.driver.Reconfigure(a.index, Change{Backend: s.Backend, Sockets: []int{p.kernel},
		DeadTimeout: s.DeadTimeout})
	p.closeKernelEnd()
	if errors.Is(err, unix.EINVAL) {
		return ErrDisconnected // of the right backend, so nothing else is wrong
	}
	return err
}
