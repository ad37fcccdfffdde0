package nbdnl

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is one device that treats sockets as the driver does: a new one is
// taken only in the place of one whose other end is gone.
type fakeKernel struct {
	mu       sync.Mutex
	bound    bool
	settings Settings
	ends     []int // its copies of sockets
	bytes    uint64
	timeout  time.Duration
	largest  int
	refused  int   // sockets that were discarded
	failWith error // of Reconfigure
	connects []int // the index asked for at each
	opened   int   // so many connects come while a process has the device open
}

const fakeIndex = 2

func (k *fakeKernel) Connect(index int, s Settings, sockets ...int) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.connects = append(k.connects, index)
	if k.bound || len(k.connects) <= k.opened {
		return 0, &OpError{"connect", index, unix.EBUSY}
	}
	k.bound, k.settings, k.bytes = true, s, s.Size
	for _, fd := range sockets {
		k.ends = append(k.ends, keepCopy(fd))
	}
	return fakeIndex, nil
}

func keepCopy(fd int) int {
	fd, err := unix.Dup(fd)
	if err != nil {
		panic(err)
	}
	return fd
}

func (k *fakeKernel) Reconfigure(index int, c Change) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failWith != nil {
		return k.failWith
	}
	if !k.bound || c.Backend != k.settings.Backend {
		return &OpError{"reconfigure", index, unix.EINVAL}
	}
	if c.Size > 0 {
		k.bytes = c.Size
	}
	for _, fd := range c.Sockets {
		if i := k.dead(); i >= 0 {
			unix.Close(k.ends[i])
			k.ends[i] = keepCopy(fd)
		} else {
			k.refused++
		}
	}
	return nil
}

func (k *fakeKernel) dead() int {
	for i, fd := range k.ends {
		if !(pair{ours: fd}).kept() {
			return i
		}
	}
	return -1
}

func (k *fakeKernel) Disconnect(int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, fd := range k.ends {
		unix.Close(fd)
	}
	k.bound, k.ends = false, nil
	return nil
}

func (k *fakeKernel) locked(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fn()
}

func (k *fakeKernel) connected(int) (is bool) {
	k.locked(func() { is = k.bound })
	return is
}
func (k *fakeKernel) backend(int) (string, error) { return k.settings.Backend, nil }
func (k *fakeKernel) size(int) (uint64, error)    { return k.bytes, nil }
func (k *fakeKernel) sockets(int) (n int, err error) {
	k.locked(func() { n = max(len(k.ends), 1) })
	return n, nil
}
func (k *fakeKernel) find(backend string) (int, error) {
	if k.bound && k.settings.Backend == backend {
		return fakeIndex, nil
	}
	return -1, nil
}
func (k *fakeKernel) setIOTimeout(_ int, t time.Duration) error {
	k.timeout = t
	return nil
}

func (k *fakeKernel) setMaxRequest(_, bytes int) error {
	k.largest = bytes
	return nil
}

// fakeServer serves sockets until they are cut.
type fakeServer struct {
	mu     sync.Mutex
	fds    []int
	gone   []chan struct{}
	served chan int // counts
	fail   error
}

func newFakeServer() *fakeServer { return &fakeServer{served: make(chan int, 16)} }

func (s *fakeServer) serve(fd int) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		unix.Close(fd)
		return nil, s.fail
	}
	s.fds, s.gone = append(s.fds, fd), append(s.gone, make(chan struct{}))
	s.served <- len(s.fds)
	return s.gone[len(s.gone)-1], nil
}

func (s *fakeServer) cut(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Close(s.fds[i])
	close(s.gone[i])
}

func (s *fakeServer) wait(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case got := <-s.served:
			if got == n {
				return
			}
		case <-timeout:
			t.Fatalf("socket %d is not served", n)
		}
	}
}

func testConfig(s *fakeServer) Config {
	return Config{
		Device:    autoDevice,
		Settings:  Settings{Size: 1 << 20, BlockSize: 512, Backend: "naa.1", DeadTimeout: time.Hour},
		IOTimeout: 5 * time.Second, MaxRequest: 1 << 20,
		Serve: s.serve,
	}
}

func mustAttach(t *testing.T, cfg Config, k *fakeKernel, dead <-chan int) *Attachment {
	t.Helper()
	a, err := attach(context.Background(), cfg, k, dead)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAttachNew(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	a := mustAttach(t, testConfig(s), k, nil)
	defer a.Release()
	if a.TakenOver() || a.Path() != "/dev/nbd2" || k.connects[0] != -1 {
		t.Errorf("taken over %v, %s, asked for %d", a.TakenOver(), a.Path(), k.connects)
	}
	if k.timeout != 5*time.Second || k.largest != 1<<20 {
		t.Errorf("io_timeout %v, largest request %d", k.timeout, k.largest)
	}
	// The kernel's end is held by the kernel alone: it sees the end of ours.
	s.cut(0)
	s.wait(t, 2)
}

// A device that is named may be open in a process that looks at every new one.
func TestAttachWhileOpen(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	k.opened = 2
	cfg := testConfig(s)
	cfg.Device = "/dev/nbd2"
	mustAttach(t, cfg, k, nil).Release()
	k = &fakeKernel{opened: 1000}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := attach(ctx, cfg, k, nil); !errors.Is(err, unix.EBUSY) {
		t.Errorf("error %v", err)
	}
}

func TestSocketIsReplaced(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	dead := make(chan int)
	a := mustAttach(t, testConfig(s), k, dead)
	defer a.Release()
	for i := range 3 {
		s.cut(i)
		s.wait(t, i+2)
	}
	dead <- fakeIndex // news of what has been mended already
	dead <- 99
}

func TestTakeOver(t *testing.T) {
	k, old, s := new(fakeKernel), newFakeServer(), newFakeServer()
	first := mustAttach(t, testConfig(old), k, nil)
	first.Release() // as a process that ends does; its socket dies a little later
	done := make(chan *Attachment)
	go func() {
		a, err := attach(context.Background(), testConfig(s), k, nil)
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	for refused := 0; refused < 2; {
		k.locked(func() { refused = k.refused })
	}
	old.cut(0)
	a := <-done
	if a == nil {
		return
	}
	defer a.Release()
	if !a.TakenOver() || len(k.connects) != 1 {
		t.Errorf("taken over %v, %d connects", a.TakenOver(), len(k.connects))
	}
}

func TestTakeOverOfServed(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	a := mustAttach(t, testConfig(s), k, nil)
	defer a.Release()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := attach(ctx, testConfig(newFakeServer()), k, nil); !errors.Is(err, ErrServed) {
		t.Errorf("error %v", err)
	}
}

func TestAttachErrors(t *testing.T) {
	taken := Settings{Size: 2 << 20, BlockSize: 512, Backend: "naa.other"}
	for name, c := range map[string]struct {
		change func(*Config, *fakeKernel, *fakeServer)
		want   string
	}{
		"no such device": {func(c *Config, _ *fakeKernel, _ *fakeServer) {
			c.Device = "/dev/sda"
		}, "is no NBD device"},
		"another backend's": {func(c *Config, k *fakeKernel, _ *fakeServer) {
			c.Device, k.bound, k.settings = "/dev/nbd2", true, taken
		}, `stands for "naa.other"`},
		"nobody's": {func(c *Config, k *fakeKernel, _ *fakeServer) {
			c.Device, k.bound, c.Settings.Backend = "/dev/nbd2", true, ""
		}, `stands for ""`},
		"larger than ours": {func(c *Config, k *fakeKernel, _ *fakeServer) {
			k.bound, k.settings, k.bytes = true, c.Settings, 2<<20
		}, "has 2097152 bytes"},
		"many sockets": {func(c *Config, _ *fakeKernel, _ *fakeServer) {
			c.Sockets = 2
		}, "need a timeout"},
		"no tick": {func(c *Config, _ *fakeKernel, _ *fakeServer) {
			c.IOTimeout = 0
		}, "io_timeout"},
		"bad settings": {func(c *Config, _ *fakeKernel, _ *fakeServer) {
			c.Settings.BlockSize = 3
		}, "block size"},
		"refused": {func(c *Config, k *fakeKernel, _ *fakeServer) {
			k.bound, k.settings, k.failWith = true, c.Settings, &OpError{"reconfigure", 2, unix.EPERM}
		}, "this needs root"},
		"not served": {func(_ *Config, _ *fakeKernel, s *fakeServer) {
			s.fail = errors.New("no room")
		}, "no room"},
	} {
		k, s := new(fakeKernel), newFakeServer()
		cfg := testConfig(s)
		c.change(&cfg, k, s)
		_, err := attach(context.Background(), cfg, k, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if len(k.ends) > 0 {
			t.Errorf("%s: the device has been left connected", name)
		}
	}
}

// A device that was disconnected while it is mounted is there until it is
// unmounted, and cannot be served again.
func TestTakeOverOfDisconnected(t *testing.T) {
	for _, device := range []string{autoDevice, "/dev/nbd2"} {
		k, s := new(fakeKernel), newFakeServer()
		cfg := testConfig(s)
		k.bound, k.settings, k.bytes = true, cfg.Settings, cfg.Settings.Size
		k.failWith = &OpError{"reconfigure", fakeIndex, unix.EINVAL}
		cfg.Device = device
		_, err := attach(context.Background(), cfg, k, nil)
		if device == autoDevice && (len(k.connects) != 1 || k.connects[0] != -1) {
			t.Errorf("connects to %d", k.connects)
		}
		if device != autoDevice && !errors.Is(err, ErrDisconnected) {
			t.Errorf("error %v", err)
		}
	}
}

func TestDisconnectedBySomebody(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	a := mustAttach(t, testConfig(s), k, nil)
	defer a.Release()
	k.Disconnect(fakeIndex)
	s.cut(0)
	if err := <-a.Lost(); !errors.Is(err, ErrDisconnected) {
		t.Errorf("lost: %v", err)
	}
}

func TestSeveralSockets(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	cfg := testConfig(s)
	cfg.Sockets, cfg.Settings.Timeout = 3, time.Minute
	a := mustAttach(t, cfg, k, nil)
	defer a.Release()
	s.wait(t, 3)
	s.cut(1)
	s.cut(2)
	s.wait(t, 5)
	if k.timeout != 0 {
		t.Errorf("io_timeout %v takes the place of the timeout of requests", k.timeout)
	}
}

// A device keeps the number of sockets that it was made with, whatever the next
// process would have.
func TestTakeOverOfSeveralSockets(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		k, old, s := new(fakeKernel), newFakeServer(), newFakeServer()
		cfg := testConfig(old)
		cfg.Sockets, cfg.Settings.Timeout = 3, time.Minute
		mustAttach(t, cfg, k, nil).Release()
		for i := range 3 {
			old.cut(i)
		}
		cfg.Sockets, cfg.Serve = n, s.serve
		a := mustAttach(t, cfg, k, nil)
		s.wait(t, 3)
		s.cut(2)
		s.wait(t, 4)
		if a.Sockets() != 3 || k.timeout != 0 {
			t.Errorf("%d sockets with %d configured, io_timeout %v", a.Sockets(), n, k.timeout)
		}
		a.Release()
	}
}

// A socket for which there is no room is not offered again without a pause.
func TestPauseOfUnserved(t *testing.T) {
	var pause, all time.Duration
	for range 8 {
		pause = nextPause(pause, 0)
		all += pause
	}
	if pause != rejoinMax || all < 2*time.Second {
		t.Errorf("eight pauses of %v in all, the last %v", all, pause)
	}
	if pause = nextPause(pause, time.Minute); pause != 0 {
		t.Errorf("%v before a socket that served is replaced", pause)
	}
}

func TestResize(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	a := mustAttach(t, testConfig(s), k, nil)
	defer a.Release()
	for _, size := range []uint64{1 << 20, 3 << 20} {
		if err := a.Resize(size); err != nil || k.bytes != size {
			t.Errorf("%d bytes, want %d; %v", k.bytes, size, err)
		}
	}
}

// A device that nobody serves is given up; one that is served stays, and goes on.
func TestAbandon(t *testing.T) {
	k, s := new(fakeKernel), newFakeServer()
	cfg := testConfig(s)
	cfg.Sockets, cfg.Settings.Timeout = 2, time.Minute
	a := mustAttach(t, cfg, k, nil)
	s.wait(t, 2)
	if err := abandon(fakeIndex, k); !errors.Is(err, ErrServed) || !k.bound {
		t.Errorf("abandoned while it is served: %v", err)
	}
	a.Release()
	s.cut(1)
	if err := abandon(fakeIndex, k); !errors.Is(err, ErrServed) || !k.bound {
		t.Errorf("abandoned while one socket is served: %v", err)
	}
	s.cut(0)
	if err := abandon(fakeIndex, k); err != nil || k.bound {
		t.Errorf("not abandoned: %v", err)
	}
	if err := abandon(fakeIndex, k); !errors.Is(err, ErrDisconnected) {
		t.Errorf("abandoned twice: %v", err)
	}
}
