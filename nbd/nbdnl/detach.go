package nbdnl

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Detach disconnects the device and releases it. If somebody uses it, the error
// is an *ErrInUse and nothing has changed.
func (a *Attachment) Detach() error {
	claimed, err := claimSoon(a.index)
	if errors.Is(err, errClaimTimeout) {
		err = &ErrInUse{a.Path(), []User{{"claim", err.Error()}}}
	}
	if err != nil {
		return err
	}
	defer claimed.Close()
	// Keepers must not mend what is being taken down.
	a.cancel()
	a.keepers.Wait()
	err = a.driver.Disconnect(a.index)
	a.Release()
	return err
}

// Abandon disconnects a device that its process has left behind. The error is
// ErrServed if a process serves it, and an *ErrInUse if somebody uses it. With
// force it is disconnected under its users: what they wait for fails.
func Abandon(index int, force bool) error {
	if !system.connected(index) {
		return fmt.Errorf("%s: %w", Path(index), ErrDisconnected)
	}
	if !force {
		claimed, err := claimSoon(index)
		switch {
		case errors.Is(err, errClaimTimeout):
			// Its partitions were never looked at: nobody has it open, and who wants to
			// waits.
		case err != nil:
			return err
		default:
			defer claimed.Close()
		}
	}
	client, err := Open()
	if err != nil {
		return err
	}
	defer client.Close()
	return abandon(index, kernel{client, system})
}

// abandon finds out whether a device is served by giving it new sockets, which
// nobody reads: the kernel keeps them only in the place of dead ones.
func abandon(index int, d driver) error {
	a := &Attachment{driver: d, index: index}
	n, err := d.sockets(index)
	if err == nil {
		a.cfg.Settings.Backend, err = d.backend(index)
	}
	for i := 0; err == nil && i < n; i++ {
		var p pair
		if p, err = newPair(); err != nil {
			break
		}
		defer p.closeOurs()
		if err = a.offer(p); err == nil && !p.kept() {
			err = ErrServed
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Path(index), err)
	}
	return d.Disconnect(index)
}

// Processes that only look at a device, as udev does whenever it was written to,
// are done with it soon.
const (
	passingTime = 3 * time.Second
	passingPoll = 100 * time.Millisecond
)

// claimSoon is claim, which waits a moment for processes that have the device
// open and may be about to close it.
func claimSoon(index int) (*os.File, error) {
	for began := time.Now(); ; time.Sleep(passingPoll) {
		f, err := claimUnused(index)
		if inUse := new(ErrInUse); !errors.As(err, &inUse) || !inUse.passing() ||
			time.Since(began) >= passingTime {
			return f, err
		}
	}
}

// passing tells whether nothing but processes use the device.
func (e *ErrInUse) passing() bool {
	return !slices.ContainsFunc(e.Users, func(u User) bool { return u.Kind != "process" })
}

// claimUnused takes the device for the caller if nobody uses it, so that nobody
// comes to use it meanwhile.
func claimUnused(index int) (*os.File, error) {
	users, err := system.users(index)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, &ErrInUse{Path(index), users}
	}
	f, err := claim(index)
	if errors.Is(err, unix.EBUSY) {
		err = &ErrInUse{Path(index), []User{{"claim", "claimed by the kernel"}}}
	}
	return f, err
}
