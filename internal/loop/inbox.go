package loop

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// inbox carries functions from other goroutines to the loop's thread.
type inbox struct {
	pending atomic.Bool // queue is not empty; spares the lock in idle rounds

	mu    sync.Mutex
	room  sync.Cond // the queue was taken, or closed
	queue []func(now time.Duration)
	size  int
	// closed: the loop has ended, nothing will be run any more.
	closed bool
	wakefd int // eventfd; edge-triggered, so it is only ever written

	taken []func(now time.Duration) // loop's thread only
}

func newInbox(size int) (*inbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	in := &inbox{size: size, wakefd: fd}
	in.room.L = &in.mu
	return in, nil
}

// put queues fn. When the queue is full it waits, unless force is set; force is
// for the loop's own messages, which are bounded by the dials under way.
func (in *inbox) put(fn func(now time.Duration), force bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.queue) >= in.size && !force && !in.closed {
		in.room.Wait()
	}
	if in.closed {
		return false
	}
	in.queue = append(in.queue, fn)
	if len(in.queue) == 1 {
		in.pending.Store(true)
		in.wakeLocked()
	}
	return true
}

func (in *inbox) wake() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.wakeLocked()
	}
}

var wakeWord = [8]byte{0: 1} // not zero in either byte order

// wakeLocked makes an edge. The counter is never read, and starts over in the
// one case that it is full, long before which the edge has been seen.
func (in *inbox) wakeLocked() {
	for {
		_, err := unix.Write(in.wakefd, wakeWord[:])
		switch err {
		case nil:
			return
		case unix.EINTR:
		case unix.EAGAIN:
			var sink [8]byte
			unix.Read(in.wakefd, sink[:])
		default:
			panic("loop: eventfd: " + err.Error())
		}
	}
}

// run calls what is queued now; what is posted meanwhile waits for the next round.
func (in *inbox) run(now time.Duration) {
	if !in.pending.Load() {
		return
	}
	in.mu.Lock()
	in.queue, in.taken = in.taken[:0], in.queue
	in.pending.Store(false)
	in.room.Broadcast()
	in.mu.Unlock()
	for i, fn := range in.taken {
		in.taken[i] = nil
		fn(now)
	}
}

func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	in.closed = true
	in.queue = nil
	in.room.Broadcast()
	unix.Close(in.wakefd)
}
