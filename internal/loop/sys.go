package loop

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw system calls do not tell the Go scheduler that the thread is away, which
// saves two thirds of the cost of a small call and is right only for calls that
// cannot block for long. Every descriptor here is non-blocking; of the calls that sleep one
// is short (pollEvents), one goes through Syscall6 (waitEvents), and one tells the scheduler
// more (sleepEvents).

// baseEvents is what every connection is registered for, once.
const baseEvents = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

const hangup = unix.EPOLLHUP | unix.EPOLLERR

// pollEvents tells what is ready now, or within ms milliseconds, no more than shortWait.
func pollEvents(epfd int, ev []unix.EpollEvent, ms int) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(ev))), uintptr(len(ev)), uintptr(ms), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// milliseconds is a timeout as the kernel takes it; a negative one has no end. It is rounded
// up: waking before the deadline would only mean to wait again.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
}

// waitEvents sleeps at most ms milliseconds.
func waitEvents(epfd int, ev []unix.EpollEvent, ms int) (int, unix.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(ev))), uintptr(len(ev)), uintptr(ms), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// recv reads into iov, at least one element; one call, repeated only if a signal
// came in between.
func recv(fd int, iov []unix.Iovec) (int, unix.Errno) {
	for {
		var n uintptr
		var e unix.Errno
		if len(iov) == 1 {
			n, _, e = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
				uintptr(unsafe.Pointer(iov[0].Base)), uintptr(iov[0].Len),
				unix.MSG_DONTWAIT, 0, 0)
		} else {
			n, _, e = unix.RawSyscall(unix.SYS_READV, uintptr(fd),
				uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
		}
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// send writes iov, at least one element. msg is the caller's scratch space. A
// peer that went away is an error, not a signal.
func send(fd int, iov []unix.Iovec, msg *unix.Msghdr) (int, unix.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	for {
		var n uintptr
		var e unix.Errno
		if len(iov) == 1 {
			n, _, e = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
				uintptr(unsafe.Pointer(iov[0].Base)), uintptr(iov[0].Len), flags, 0, 0)
		} else {
			msg.Iov = unsafe.SliceData(iov)
			msg.SetIovlen(len(iov))
			n, _, e = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd),
				uintptr(unsafe.Pointer(msg)), flags)
		}
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// peek looks at the next byte without taking it: 1, 0 at the end of the stream,
// or an error.
func peek(fd int, scratch []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(scratch))), 1,
			unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// accept takes one client from a listening socket.
func accept(fd int) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0,
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(n), 0
}

// outQueue is SIOCOUTQ: bytes written and not acknowledged.
func outQueue(fd int) int {
	var n int32
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCOUTQ,
		uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return 0
	}
	return int(n)
}

// socketError takes the pending error of a socket, nil if there is none.
func socketError(fd int) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if v != 0 {
		return unix.Errno(v)
	}
	return nil
}
