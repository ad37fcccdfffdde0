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

const (
	idleRound  = 100 * time.Millisecond // a round that lasts so long makes a loop idle,
	busyRounds = 16                     // so many shorter ones after it make it busy
)

// A pace tells whether a loop is idle. Its zero value is.
type pace struct{ short int }

func (p *pace) idle() bool { return p.short < busyRounds }

func (p *pace) round(lasted time.Duration) {
	if lasted >= idleRound {
		p.short = 0
	} else if p.idle() {
		p.short++
	}
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
