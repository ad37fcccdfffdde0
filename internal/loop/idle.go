package loop

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A thread that enters a system call in the usual way keeps its place in Go's scheduler for
// ten milliseconds, and for so long the scheduler's own thread wakes some sixty times to see
// whether it is back. On a device that nobody uses that costs several times what the loop
// does. So a loop that is idle says beforehand that it will be away for long; coming back
// then costs more, which is why a busy one does not.
//
// A busy one does not tell the scheduler at all for a short while: it waits as if it computed.
// Else the scheduler's thread, which finds it in a system call each time it looks, takes its
// place away each time and looks again twenty microseconds later, for ever. Who wants to stop
// the loop, as a garbage collection does, sends its thread a signal, which ends the wait at
// once. Other goroutines need a place of their own meanwhile, so this takes a second one.

const (
	idleRound  = 100 * time.Millisecond // a round that lasts so long makes a loop idle,
	busyRounds = 16                     // so many shorter ones after it make it busy

	// shortWait is how long a busy loop waits without the scheduler's knowledge. If it were
	// shorter than the kernel's tick, the kernel would have to set its clock each time.
	shortWait = 10 * time.Millisecond
)

// A pace tells whether a loop is idle. Its zero value is.
type pace struct {
	short int
	alone bool // there is one place for all goroutines
}

func (p *pace) idle() bool { return p.short < busyRounds }

func (p *pace) round(lasted time.Duration) {
	if lasted >= idleRound {
		p.short = 0
	} else if p.idle() {
		p.short++
	}
}

// quietly is how long to wait without the scheduler's knowledge when something is to be done
// after the time until.
func (p *pace) quietly(until time.Duration) time.Duration {
	if p.idle() || p.alone || until < shortWait {
		return 0
	}
	return shortWait
}

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// sleepEvents is waitEvents for an idle loop. Between the two calls the scheduler may do
// without this thread, so that nothing here may grow the stack.
//
//go:nosplit
//go:norace
func sleepEvents(epfd int, ev []unix.EpollEvent, ms int) (int, unix.Errno) {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(ev)))
	entersyscallblock()
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), p, uintptr(len(ev)),
		uintptr(ms), 0, 0)
	exitsyscall()
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
