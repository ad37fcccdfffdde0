package loop

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Config sets up a Loop; the zero value is usable.
type Config struct {
	// Inbox is how many posted functions may wait (0: 4096).
	Inbox int
	// DialTimeout bounds the attempt at one address (0: 5 s), LookupTimeout
	// the look-up of a name (0: 10 s).
	DialTimeout, LookupTimeout time.Duration
	// CloseTimeout bounds an orderly Close (0: 2 s).
	CloseTimeout time.Duration
	// SocketMode is the mode of the files of unix listeners; 0 leaves it to
	// the umask.
	SocketMode fs.FileMode
	// Lookup finds the addresses of a name, nil: the system's resolver. It is
	// called in goroutines.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// A Driver is what the loop runs for: the engines and what connects them.
type Driver interface {
	// Step is called once per round, after sockets and inbox were served. It
	// returns when it wants to be called at the latest; math.MaxInt64 is never.
	// The kernel's wait counts in milliseconds: it may come that much late.
	Step(now time.Duration) (next time.Duration)
}

// slot is what a descriptor belongs to. The generation tells an event of a
// closed descriptor from one of a newer socket with the same number.
type slot struct {
	c   *conn
	ln  *listener
	gen int32
}

// Loop is a Network of real sockets. See the package comment for its rounds.
type Loop struct {
	cfg     Config
	epfd    int
	start   time.Time
	now     time.Duration // of this round
	pace    pace
	inbox   *inbox
	stop    atomic.Bool
	done    chan struct{}
	running bool

	// lookups is ended when the loop is; after that no dial begins.
	lookups  context.Context
	cancel   context.CancelFunc
	stopping bool

	slots []slot // by descriptor
	gen   int32
	conns int // open descriptors of connections

	starting []*conn // dials to begin
	ready    []*conn // may have something to read
	kicked   []*conn // may have something to write, or want to read again
	spare    []*conn // the backing array of the list being worked on
	timed    []*conn // with a deadline: dialling or closing
	paused   []*listener

	events  [maxEvents]unix.EpollEvent
	iov     [maxIovecs]unix.Iovec
	msg     unix.Msghdr
	bufs    [][]byte
	discard []byte
}

// New makes a Loop whose clock starts at zero.
func New(cfg Config) (*Loop, error) {
	cfg.setDefaults()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	in, err := newInbox(cfg.Inbox)
	if err != nil {
		unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &Loop{
		cfg: cfg, epfd: epfd, inbox: in, start: time.Now(), done: make(chan struct{}),
		bufs: make([][]byte, 0, maxIovecs),
	}
	l.lookups, l.cancel = context.WithCancel(context.Background())
	if err := l.register(in.wakefd, slot{}, unix.EPOLLIN|unix.EPOLLET); err != nil {
		l.cancel()
		in.close()
		unix.Close(epfd)
		return nil, err
	}
	return l, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Inbox <= 0 {
		cfg.Inbox = defaultInbox
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = defaultDial
	}
	if cfg.LookupTimeout <= 0 {
		cfg.LookupTimeout = defaultLookup
	}
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = defaultClose
	}
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
}

// Now is the time since New; it differs from the now of a round only by how
// long the round has lasted.
func (l *Loop) Now() time.Duration { return time.Since(l.start) }

// Post has fn called on the loop's thread in the next round. It may be called by
// any goroutine but the loop's own. At most Config.Inbox functions wait; then
// Post waits too, until the next round takes them. It returns false, and fn is
// never called, if the loop has ended. A function still queued when the loop
// ends is not called either: who waits for its effect must also watch Done.
func (l *Loop) Post(fn func(now time.Duration)) bool { return l.inbox.put(fn, false) }

// Stop makes Run return: listeners are closed, connections are closed without a
// call to their streams, and orderly closes already begun are given their time.
// Any goroutine may call it.
func (l *Loop) Stop() {
	l.stop.Store(true)
	l.inbox.wake()
}

// Done is closed when Run has returned or is about to.
func (l *Loop) Done() <-chan struct{} { return l.done }

// Run serves until Stop, on a thread of its own, and returns nil; an error means
// that the kernel refused to wait. A Loop runs once.
func (l *Loop) Run(d Driver) error {
	if l.running {
		panic("loop: Run called twice")
	}
	l.running = true
	runtime.LockOSThread()
	l.pace.alone = runtime.GOMAXPROCS(0) == 1
	err := l.rounds(d)
	l.closeAll()
	l.inbox.close()
	unix.Close(l.epfd)
	close(l.done)
	runtime.UnlockOSThread()
	return err
}

func (l *Loop) rounds(d Driver) error {
	next := time.Duration(0)
	for !l.stop.Load() {
		if err := l.gather(next); err != nil {
			return err
		}
		l.inbox.run(l.now)
		next = d.Step(l.now)
		l.flush()
	}
	l.abandon()
	for l.conns > 0 {
		if err := l.gather(maxTime); err != nil {
			return err
		}
		l.flush()
		l.abandon() // what a Flushed may have begun
	}
	return nil
}

// gather is a round up to the inbox: wait, then all that comes from sockets.
func (l *Loop) gather(next time.Duration) error {
	n, errno := l.wait(next)
	if errno != 0 && errno != unix.EINTR {
		return os.NewSyscallError("epoll_wait", errno)
	}
	before := l.now
	l.now = l.Now()
	l.pace.round(l.now - before)
	l.beginDials()
	for i := range l.events[:n] {
		l.event(&l.events[i])
	}
	l.expire()
	l.read()
	return nil
}

func (l *Loop) wait(next time.Duration) (int, unix.Errno) {
	next = min(next, l.nextTimer())
	more := len(l.ready) > 0 || len(l.kicked) > 0 || len(l.starting) > 0
	ms := 0
	if !more {
		ms = milliseconds(l.pace.quietly(next - l.now))
	}
	n, errno := pollEvents(l.epfd, l.events[:], ms)
	if n > 0 || errno != 0 || more {
		return n, errno
	}
	timeout := time.Duration(-1)
	if next != maxTime {
		if timeout = next - l.Now(); timeout <= 0 {
			return 0, 0
		}
	}
	if l.pace.idle() {
		return sleepEvents(l.epfd, l.events[:], milliseconds(timeout))
	}
	return waitEvents(l.epfd, l.events[:], milliseconds(timeout))
}

// event sorts one event: it marks the connection, and calls a stream only for a
// connect that ended or a new client.
func (l *Loop) event(ev *unix.EpollEvent) {
	if int(ev.Fd) >= len(l.slots) {
		return
	}
	s := l.slots[ev.Fd]
	switch {
	case s.gen != ev.Pad:
	case s.ln != nil:
		s.ln.ready()
	case s.c != nil:
		s.c.event(ev.Events)
	}
}

func (l *Loop) register(fd int, s slot, events uint32) error {
	l.gen++
	s.gen = l.gen
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: s.gen}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	for fd >= len(l.slots) {
		l.slots = append(l.slots, slot{})
	}
	l.slots[fd] = s
	return nil
}

func (l *Loop) modify(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: l.slots[fd].gen}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, fd, &ev))
}

// forget takes a registered descriptor out of the epoll set and closes it.
func (l *Loop) forget(fd int) {
	l.slots[fd] = slot{}
	// Closing alone would not do if a copy of the descriptor lives elsewhere.
	err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	if errors.Is(err, unix.EBADF) {
		panic("loop: a socket was closed behind the loop's back")
	}
	unix.Close(fd)
}

// abandon ends at once all that is not an orderly close under way.
func (l *Loop) abandon() {
	l.stopping = true
	l.cancel()
	for _, c := range l.starting {
		c.drop()
	}
	for fd := range l.slots {
		if ln := l.slots[fd].ln; ln != nil {
			ln.Close()
		} else if c := l.slots[fd].c; c != nil && c.state < closing {
			c.drop()
		}
	}
}

func (l *Loop) closeAll() {
	l.abandon()
	for fd := range l.slots {
		if c := l.slots[fd].c; c != nil {
			c.drop()
		}
	}
}
