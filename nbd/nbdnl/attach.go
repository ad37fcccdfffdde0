package nbdnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config says how a device is attached.
type Config struct {
	// Device is a path like /dev/nbd0, or "auto": the one that an earlier
	// process left behind for the same backend, else the first free one.
	Device   string
	Settings Settings
	// Sockets is how many the kernel gets; 0 is one. With more than one,
	// Settings.Timeout must not be 0. A device that is taken over keeps as many
	// as it was made with.
	Sockets int
	// IOTimeout is how often the kernel looks after a request that has no
	// answer: so long after a restart those of the old process are asked again.
	// With several sockets Settings.Timeout is in its place.
	IOTimeout time.Duration
	// MaxRequest is the largest READ or WRITE in bytes; 0 leaves it to the driver.
	MaxRequest int

	// Serve hands over the other end of a socket, which is the callee's in any
	// case: requests come from it, after which no handshake. gone is closed
	// when it is not served any more.
	Serve func(fd int) (gone <-chan struct{}, err error)
	Log   func(level slog.Level, msg string, args ...any) // may be nil
}

const (
	autoDevice = "auto"

	// takeOverTimeout is how long the sockets of a process that has just ended
	// may seem to live.
	takeOverTimeout = 10 * time.Second

	// Between tries at giving the kernel a new socket.
	rejoinMin = 20 * time.Millisecond
	rejoinMax = time.Second
)

var (
	// ErrServed says that a device has a living socket: of another process.
	ErrServed = errors.New("the device is served by another process")
	// ErrDisconnected says that somebody has disconnected the device.
	ErrDisconnected = errors.New("the device has been disconnected")
)

// driver is what an Attachment needs of the kernel. Client and sysfs together
// are one.
type driver interface {
	Connect(index int, s Settings, sockets ...int) (int, error)
	Reconfigure(index int, c Change) error
	Disconnect(index int) error

	connected(index int) bool
	backend(index int) (string, error)
	find(backend string) (int, error)
	sockets(index int) (int, error)
	size(index int) (uint64, error)
	setIOTimeout(index int, t time.Duration) error
	setMaxRequest(index, bytes int) error
}

type kernel struct {
	*Client
	devices
}

// An Attachment is a device of the kernel that this process serves.
type Attachment struct {
	cfg       Config
	driver    driver
	client    *Client  // nil in tests
	watcher   *Watcher // nil if there is none
	index     int
	takenOver bool
	sockets   int

	cancel  context.CancelFunc // of the keepers
	keepers sync.WaitGroup
	lost    chan error
}

// Attach loads the driver and makes a device, or takes one over. From then on
// sockets that are lost are replaced, until Release or Detach. ctx bounds Attach
// itself.
func Attach(ctx context.Context, cfg Config) (*Attachment, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	client, err := Open()
	if err != nil {
		return nil, err
	}
	watcher, err := client.Watch()
	if err != nil {
		client.Close()
		return nil, err
	}
	a, err := attach(ctx, cfg, kernel{client, system}, watcher.Dead())
	if err != nil {
		watcher.Close()
		client.Close()
		return nil, err
	}
	a.client, a.watcher = client, watcher
	return a, nil
}

func attach(ctx context.Context, cfg Config, d driver, dead <-chan int) (*Attachment, error) {
	cfg.Sockets = max(cfg.Sockets, 1)
	if cfg.Log == nil {
		cfg.Log = func(slog.Level, string, ...any) {}
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &Attachment{cfg: cfg, driver: d, sockets: cfg.Sockets, lost: make(chan error, 1)}
	if err := a.choose(); err != nil {
		return nil, err
	}
	var gone []<-chan struct{}
	var err error
	if a.takenOver {
		gone, err = a.takeOver(ctx)
		if cfg.Device == autoDevice && errors.Is(err, ErrDisconnected) {
			// Disconnected under its users, who still keep it: it will not be again.
			a.index, a.takenOver, a.sockets = -1, false, cfg.Sockets
		}
	}
	if !a.takenOver {
		gone, err = a.connect(ctx)
	}
	if err != nil {
		return nil, err
	}
	a.tune()
	a.keep(gone, dead)
	return a, nil
}

// tune sets what netlink has no word for. A device works without. With several
// sockets the timer of requests is Settings.Timeout, which the driver has set.
func (a *Attachment) tune() {
	var err error
	if a.sockets == 1 {
		err = a.driver.setIOTimeout(a.index, a.cfg.IOTimeout)
	}
	if err == nil && a.cfg.MaxRequest > 0 {
		err = a.driver.setMaxRequest(a.index, a.cfg.MaxRequest)
	}
	if err != nil {
		a.cfg.Log(slog.LevelWarn, "the device has the driver's default settings",
			"device", a.Path(), "err", err)
	}
}

func (cfg *Config) validate() error {
	if cfg.Sockets > 1 && cfg.Settings.Timeout == 0 {
		return errors.New("nbdnl: several sockets need a timeout of requests")
	}
	if cfg.IOTimeout < time.Millisecond {
		return fmt.Errorf("nbdnl: an io_timeout of %v", cfg.IOTimeout)
	}
	return cfg.Settings.Validate()
}

// choose finds the device, and whether it is there already.
func (a *Attachment) choose() (err error) {
	backend := a.cfg.Settings.Backend
	if a.cfg.Device == autoDevice {
		a.index = -1
		if backend != "" {
			a.index, err = a.driver.find(backend)
		}
		a.takenOver = a.index >= 0
		return err
	}
	if a.index, err = ParsePath(a.cfg.Device); err != nil {
		return err
	}
	if !a.driver.connected(a.index) {
		return nil
	}
	a.takenOver = true
	has, err := a.driver.backend(a.index)
	if err == nil && (has != backend || has == "") {
		err = fmt.Errorf("%[1]s is connected, and stands for %[2]q: disconnect it first "+
			"(braid down %[1]s, nbd-client -d %[1]s), or name another", a.Path(), has)
	}
	return err
}

func (a *Attachment) connect(ctx context.Context) ([]<-chan struct{}, error) {
	pairs, err := newPairs(a.sockets)
	if err != nil {
		return nil, err
	}
	index, err := a.connectSoon(ctx, kernelEnds(pairs))
	if err != nil {
		closeAll(pairs)
		return nil, err
	}
	a.index = index
	var gone []<-chan struct{}
	for i := range pairs {
		pairs[i].closeKernelEnd()
		served, err := a.cfg.Serve(pairs[i].ours)
		if err != nil {
			closeAll(pairs[i+1:])
			return nil, errors.Join(err, a.driver.Disconnect(index))
		}
		gone = append(gone, served)
	}
	return gone, nil
}

// connectSoon waits a moment if the device that is named is not connected and yet
// in use: for processes that have it open, as udev does with each new one.
func (a *Attachment) connectSoon(ctx context.Context, sockets []int) (int, error) {
	for began := time.Now(); ; {
		index, err := a.driver.Connect(a.index, a.cfg.Settings, sockets...)
		if !errors.Is(err, unix.EBUSY) || a.driver.connected(a.index) ||
			time.Since(began) >= passingTime || !sleep(ctx, passingPoll) {
			return index, err
		}
	}
}

// takeOver gives the device that is there this process's sockets.
func (a *Attachment) takeOver(ctx context.Context) ([]<-chan struct{}, error) {
	size, err := a.driver.size(a.index)
	if err == nil && size > a.cfg.Settings.Size {
		err = fmt.Errorf("%s has %d bytes, and what is to serve it only %d", a.Path(), size,
			a.cfg.Settings.Size)
	}
	if err == nil {
		a.sockets, err = a.driver.sockets(a.index)
	}
	if err != nil {
		return nil, err
	}
	if a.sockets != a.cfg.Sockets {
		a.cfg.Log(slog.LevelInfo, "the device keeps the number of sockets it was made with",
			"device", a.Path(), "sockets", a.sockets)
	}
	ctx, cancel := context.WithTimeout(ctx, takeOverTimeout)
	defer cancel()
	var gone []<-chan struct{}
	for range a.sockets {
		served, err := a.join(ctx, nil)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be taken over: %w", a.Path(), err)
		}
		gone = append(gone, served)
	}
	return gone, nil
}

// Path is the device.
func (a *Attachment) Path() string { return Path(a.index) }

// Index is its number.
func (a *Attachment) Index() int { return a.index }

// Sockets is how many the kernel has, living or dead.
func (a *Attachment) Sockets() int { return a.sockets }

// TakenOver tells that the device was there already.
func (a *Attachment) TakenOver() bool { return a.takenOver }

// Lost receives the reason once if the device is gone for good, because somebody
// disconnected it.
func (a *Attachment) Lost() <-chan error { return a.lost }

// Resize changes the size of the device to size bytes, if it has another. The
// kernel may wait for all that is in flight: no request may be waiting for a
// path.
func (a *Attachment) Resize(size uint64) error {
	has, err := a.driver.size(a.index)
	if err != nil || has == size {
		return err
	}
	s := a.cfg.Settings
	return a.driver.Reconfigure(a.index, Change{Backend: s.Backend, Size: size,
		BlockSize: s.BlockSize})
}

// Release stops replacing sockets. The device stays; who attaches it next takes
// it over.
func (a *Attachment) Release() {
	a.cancel()
	a.keepers.Wait()
	if a.client != nil {
		a.watcher.Close()
		a.client.Close()
	}
}
