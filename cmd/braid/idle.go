package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"braid/nbd/nbdnl"
)

// newIdle is for the units and the package: it waits until nobody uses a kernel
// device any more, in bounded time.
func newIdle() *cobra.Command {
	w := idleWait{now: time.Now, pause: time.Sleep}
	shutdown := false
	cmd := &cobra.Command{
		Use:   "idle [NAME]",
		Short: "Wait until nobody uses a kernel device",
		Long: "Wait until nobody uses the kernel device of NAME, or any that braid has made. The\n" +
			"exit code is 1 if it is still in use in the end.",
		Hidden: true,
		Args:   argCount(0, 1, "at most one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if shutdown && !systemStopping(cmd.Context()) {
				return nil
			}
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
	f.BoolVar(&shutdown, "at-shutdown", false, "do nothing unless the machine is being shut down")
	return cmd
}

// systemStopping tells whether the machine is being shut down, systemctl(1).
func systemStopping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output()
	return strings.TrimSpace(string(out)) == "stopping"
}

// A watchedDevice is a kernel device and what can be found out about it.
type watchedDevice struct {
	path       string
	users      func() ([]string, error)
	reachable  func() bool // a path is there, as far as is known
	disconnect func() error
}

// devicesToWatch gives the kernel device of one daemon, or all that braid made.
func devicesToWatch(ctx context.Context, args []string) ([]watchedDevice, error) {
	var devices []watchedDevice
	if len(args) == 1 {
		s, err := askStatus(ctx, args[0])
		if err != nil {
			return nil, err
		}
		for _, export := range s.Exports {
			if index, err := nbdnl.ParsePath(export); err == nil {
				devices = append(devices, watchKernel(ctx, index, args[0]))
			}
		}
		return devices, nil
	}
	m := machine{root: "/"}
	for _, disk := range m.glob("/sys/block/nbd*") {
		index, err := nbdnl.ParsePath("/dev/" + strings.TrimPrefix(disk, "/sys/block/"))
		if err == nil && m.exists(disk+"/pid") && isIdentity(m.text(disk+"/backend")) {
			devices = append(devices, watchKernel(ctx, index, ""))
		}
	}
	return devices, nil
}

func watchKernel(ctx context.Context, index int, name string) watchedDevice {
	return watchedDevice{
		path: nbdnl.Path(index),
		users: func() ([]string, error) {
			users, err := nbdnl.Users(index)
			var names []string
			for _, u := range users {
				names = append(names, u.String())
			}
			return names, err
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
	}
}

// An idleWait waits for devices, one after the other.
type idleWait struct {
	most, noPath time.Duration
	say          io.Writer
	now          func() time.Time
	pause        func(time.Duration)
}

const idlePoll = 500 * time.Millisecond

// wait returns nil as soon as nobody uses the device. Where no path is left, what
// its users wait for does not come: the device is then disconnected, so that
// they get errors and end.
func (w *idleWait) wait(d watchedDevice) error {
	began := w.now()
	seen := began // when there was a path
	told := ""
	for {
		users, err := d.users()
		if err == nil && len(users) == 0 {
			return nil
		}
		by := strings.Join(users, ", ")
		if err != nil {
			by = err.Error()
		}
		if by != told {
			fmt.Fprintf(w.say, "%s is in use: %s\n", d.path, by)
			told = by
		}
		now := w.now()
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
		w.pause(idlePoll)
	}
}
