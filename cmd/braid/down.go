package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"braid/nbd/nbdnl"
)

func newDown() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "down NAME",
		Short: "Flush a device, log out and end its daemon",
		Long: "Flush a device, log out of its sessions and end its daemon. NAME may also be the\n" +
			"path of a control socket, or /dev/nbdN. A device in use is left as it is.\n\n" +
			"If no daemon runs, the kernel's device that it left behind is detached.",
		Args: argCount(1, 1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := downCommand{links: linkFolder, abandon: abandon, left: leftDevices}
			return d.run(cmd.Context(), args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false,
		"if no daemon runs, detach a device that is in use too: what it was to write is lost")
	return cmd
}

// A downCommand is what `braid down` needs beside control sockets.
type downCommand struct {
	links   string // the folder of the links that udev makes
	abandon func(index int, force bool) error
	left    func(ctx context.Context) []madeDevice
}

// run asks the daemon to end. Where there is none it detaches what one has left.
func (d downCommand) run(ctx context.Context, name string, force bool) error {
	index, err := nbdnl.ParsePath(name)
	byPath := err == nil
	if byPath {
		if daemon := serverOf(servedDevices(ctx), name); daemon != "" {
			name, byPath = daemon, false
		}
	}
	if byPath {
		return d.detach(ctx, index, force)
	}
	path, err := controlPath(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*downTimeout)
	defer cancel()
	_, err = newControlClient(name, path).do(ctx, http.MethodPost, "/v1/down")
	if !errors.As(err, new(*notRunningError)) {
		return err
	}
	if index, found := linkedDevice(d.links, name); found {
		return d.detach(ctx, index, force)
	}
	if left := d.left(ctx); len(left) > 0 {
		return fmt.Errorf("%w; daemons that have ended left %s behind (braid down %s)", err,
			joinDevices(left), left[0].path)
	}
	return err
}

// detach disconnects a device of the kernel if it is one that a daemon left.
func (d downCommand) detach(ctx context.Context, index int, force bool) error {
	path := nbdnl.Path(index)
	if !slices.ContainsFunc(d.left(ctx), func(l madeDevice) bool { return l.path == path }) {
		return fmt.Errorf("%s is no device that a daemon of braid has left behind", path)
	}
	err := d.abandon(index, force)
	if inUse := new(nbdnl.ErrInUse); errors.As(err, &inUse) {
		return fmt.Errorf("%w; its I/O waits for a daemon. Start that, or give up what is not yet "+
			"written: braid down --force %s", err, path)
	}
	return err
}

// abandon detaches a device, and tells udev.
func abandon(index int, force bool) error {
	err := nbdnl.Abandon(index, force)
	if err == nil {
		announceDevice(nbdnl.Path(index), func(slog.Level, string, ...any) {})
	}
	return err
}

// linkFolder is where udev makes links by the names of devices.
const linkFolder = "/dev/braid"

// linkedDevice is the kernel's device that udev has a link to. The link, ../nbdN,
// stays while no daemon runs.
func linkedDevice(folder, name string) (index int, found bool) {
	target, err := os.Readlink(filepath.Join(folder, name))
	if err != nil {
		return 0, false
	}
	index, err = nbdnl.ParsePath("/dev/" + filepath.Base(target))
	return index, err == nil
}

// A madeDevice is a device of the kernel that braid has made.
type madeDevice struct {
	index    int
	path     string
	identity string // of its LUN
}

// connectedDevices are those that have sockets, living or dead.
func (m *machine) connectedDevices() []madeDevice {
	var all []madeDevice
	for _, disk := range m.glob("/sys/block/nbd*") {
		path, identity := "/dev/"+filepath.Base(disk), m.text(disk+"/backend")
		index, err := nbdnl.ParsePath(path)
		if err == nil && m.exists(disk+"/pid") && isIdentity(identity) {
			all = append(all, madeDevice{index, path, identity})
		}
	}
	return all
}

// leftDevices are those that no daemon answers for.
func (m *machine) leftDevices() []madeDevice {
	served := m.devices()
	return slices.DeleteFunc(m.connectedDevices(), func(d madeDevice) bool {
		return serverOf(served, d.path) != ""
	})
}

func leftDevices(ctx context.Context) []madeDevice {
	m := machine{root: "/", devices: func() map[string][]string { return servedDevices(ctx) }}
	return m.leftDevices()
}

func joinDevices(devices []madeDevice) string {
	words := make([]string, len(devices))
	for i, d := range devices {
		words[i] = d.path + " (" + d.identity + ")"
	}
	return strings.Join(words, ", ")
}

// serverOf is the name of the daemon that serves a device, empty if there is none.
func serverOf(served map[string][]string, device string) string {
	for name, exports := range served {
		if slices.Contains(exports, device) {
			return name
		}
	}
	return ""
}
