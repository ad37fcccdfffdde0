package nbdnl

import (
	"os"

	"golang.org/x/sys/unix"
)

// socketBuffer is how much either end may have on its way: a few large
// requests, so that the two sides wait less for each other.
const socketBuffer = 1 << 20

// pair is a connected pair of stream sockets, one for the kernel and one for
// whoever serves it.
type pair struct{ kernel, ours int }

func newPair() (pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return pair{}, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		// Beyond the system's limit with the right to that, else up to it.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
		}
	}
	return pair{fds[0], fds[1]}, nil
}

func newPairs(n int) ([]pair, error) {
	var pairs []pair
	for range n {
		p, err := newPair()
		if err != nil {
			closeAll(pairs)
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func (p pair) closeKernelEnd() { unix.Close(p.kernel) }
func (p pair) closeOurs()      { unix.Close(p.ours) }

// kept tells whether the other end is still held by somebody: by the kernel,
// once this process has closed its copy.
func (p pair) kept() bool {
	fds := []unix.PollFd{{Fd: int32(p.ours), Events: unix.POLLRDHUP}}
	for {
		_, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err == nil && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) == 0
		}
	}
}

func kernelEnds(pairs []pair) []int {
	var fds []int
	for _, p := range pairs {
		fds = append(fds, p.kernel)
	}
	return fds
}

func closeAll(pairs []pair) {
	for _, p := range pairs {
		p.closeKernelEnd()
		p.closeOurs()
	}
}
