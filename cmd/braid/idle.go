package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"braid/nbd/nbdnl"
)

// newIdle is for the units and the package: it waits until nobody uses a kernel
// device any more, in bounded time.
func newIdle() *cobra.Command {
	w := idleWait{now: time.Now, pause: time.Sleep}
	cmd := &cobra.Command{
		Use:   "idle [NAME]",
		Short: "Wait until nobody uses a kernel device",
		Long: "Wait until nobody uses the kernel device of NAME, or any that braid has made. The\n" +
			"exit code is 1 if it is still in use in the end.",
		Hidden: true,
		Args:   argCount(0, 1, "at most one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			devices, err := devicesToWatch(cmd.Context(), args)
			if err != nil {
				return err
			}
			w.say = cmd.ErrOrStderr()
			var failed error
			for _, d := range devices {
				failed = errors.Join(failed, w.wait(d))
			}
			return failed
		},
	}
	f := cmd.Flags()
	f.DurationVar(&w.most, "wait", 0, "how long to wait at most")
	f.DurationVar(&w.noPath, "give-up", 0,
		"disconnect the device when there has been no path for so long; 0 never")
	f.BoolVar(&w.shutdown, "shutdown", false, "the machine is being shut down: unmount what "+
		"systemd takes for local, and do not wait long for what is not mounted")
	return cmd
}

// A watchedDevice is a kernel device, what can be found out about it, and what
// can be done.
type watchedDevice struct {
	path       string
	users      func() ([]nbdnl.User, error)
	io         func() string // another one after any I/O, empty if it is not known
	reachable  func() bool   // a path is there, as far as is known
	disconnect func() error
	unmount    func() // begins to unmount what systemd takes for local
}

// devicesToWatch gives the kernel device of one daemon, or all that braid made.
func devicesToWatch(ctx context.Context, args []string) ([]watchedDevice, error) {
	var devices []watchedDevice
	if len(args) == 0 {
		m := machine{root: "/"}
		for _, d := range m.connectedDevices() {
			devices = append(devices, watchKernel(ctx, d.index, ""))
		}
		return devices, nil
	}
	s, err := askStatus(ctx, args[0])
	if err != nil {
		index, found := linkedDevice(linkFolder, args[0])
		if !found {
			return nil, err
		}
		return []watchedDevice{watchKernel(ctx, index, args[0])}, nil
	}
	for _, export := range s.Exports {
		if index, err := nbdnl.ParsePath(export); err == nil {
			devices = append(devices, watchKernel(ctx, index, args[0]))
		}
	}
	return devices, nil
}

func watchKernel(ctx context.Context, index int, name string) watchedDevice {
	return watchedDevice{
		path:  nbdnl.Path(index),
		users: func() ([]nbdnl.User, error) { return nbdnl.Users(index) },
		io: func() string {
			return (&machine{root: "/"}).text("/sys/block/" + nbdnl.Name(index) + "/stat")
		},
		reachable: func() bool {
			if name == "" {
				return true
			}
			s, err := askStatus(ctx, name)
			return err == nil && readable(s) == 1
		},
		disconnect: func() error {
			c, err := nbdnl.Open()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Disconnect(index)
		},
		unmount: unmounter(index),
	}
}

// An idleWait waits for devices, one after the other.
type idleWait struct {
	most, noPath time.Duration
	shutdown     bool
	say          io.Writer
	now          func() time.Time
	pause        func(time.Duration)
}

const (
	idlePoll = 500 * time.Millisecond

	// At shutdown: services and sessions have time to end before what they use is
	// unmounted; and what only holds the device, such as a volume group or a pool
	// without a mount, is no reason to wait if there was no I/O for so long. (An
	// unmount that is under way is in no list of mounts any more.)
	unmountAfter = 3 * time.Second
	restTime     = 5 * time.Second
)

// wait returns nil as soon as nobody uses the device. Where no path is left, what
// its users wait for does not come: the device is then disconnected, so that
// they get errors and end.
func (w *idleWait) wait(d watchedDevice) error {
	began := w.now()
	seen, worked := began, began // when there was a path; when there was work for it
	told, did := "", ""
	for {
		users, err := d.users()
		if err == nil && len(users) == 0 {
			return nil
		}
		by := joinUsers(users, err)
		now := w.now()
		if io := d.io(); err != nil || slices.ContainsFunc(users, atWork) || io != did || inFlight(io) {
			worked, did = now, io
		}
		if w.shutdown && now.Sub(worked) >= restTime {
			return nil
		}
		if w.shutdown && now.Sub(began) >= unmountAfter {
			d.unmount()
		}
		if w.noPath > 0 {
			if d.reachable() {
				seen = now
			} else if now.Sub(seen) >= w.noPath {
				fmt.Fprintf(w.say, "%s has no path, and is given up with all that was not yet written: %s\n",
					d.path, by)
				return d.disconnect()
			}
		}
		if now.Sub(began) >= w.most {
			return fmt.Errorf("%s is in use: %s", d.path, by)
		}
		if by != told {
			fmt.Fprintf(w.say, "%s is in use: %s\n", d.path, by)
			told = by
		}
		w.pause(idlePoll)
	}
}

func joinUsers(users []nbdnl.User, err error) string {
	if err != nil {
		return err.Error()
	}
	words := make([]string, len(users))
	for i, u := range users {
		words[i] = u.String()
	}
	return strings.Join(words, ", ")
}

// inFlight reads the ninth number of a device's stat: requests without an answer.
func inFlight(stat string) bool {
	fields := strings.Fields(stat)
	return len(fields) > 8 && fields[8] != "0"
}

// atWork tells whether a user may still have something to write.
func atWork(u nbdnl.User) bool { return u.Kind != "holder" && u.Kind != "claim" }
