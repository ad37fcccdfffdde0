package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newUdev is for the udev rules: it says what a block device is, as IMPORT{program}
// reads it, and whether reading from it now is safe.
func newUdev() *cobra.Command {
	return &cobra.Command{
		Use:    "udev KERNEL-NAME",
		Short:  "Describe a block device to udev",
		Hidden: true,
		Args:   argCount(1, 1, "the kernel's name of a block device"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), udevTime)
			defer cancel()
			return describe(ctx, cmd.OutOrStdout(), "/sys", args[0])
		},
	}
}

const udevTime = 5 * time.Second // for all daemons together

var errNotOurs = errors.New("no device of braid")

var nbdName = regexp.MustCompile(`^(nbd[0-9]{1,5})(p[0-9]{1,3})?$`)

// describe writes the properties of a disk or a partition. An identity is there
// as long as the device is; what depends on the daemon only if it answers.
func describe(ctx context.Context, w io.Writer, sys, name string) error {
	m := nbdName.FindStringSubmatch(name)
	if m == nil {
		return fmt.Errorf("%s: %w", name, errNotOurs)
	}
	data, err := os.ReadFile(filepath.Join(sys, "block", m[1], "backend"))
	identity := strings.TrimSpace(string(data))
	if err != nil || !isIdentity(identity) {
		return fmt.Errorf("%s: %w", name, errNotOurs)
	}
	id := linkName(identity)
	fmt.Fprintf(w, "BRAID_ID=%s\nID_SERIAL=%[1]s\n", id)
	if hex, ok := strings.CutPrefix(id, "naa."); ok {
		fmt.Fprintf(w, "ID_WWN=0x%s\nID_WWN_WITH_EXTENSION=0x%s\n", hex[:min(len(hex), 16)], hex)
	}
	// Of a program that fails udev takes nothing at all.
	s, err := daemonOf(ctx, "/dev/"+m[1], identity)
	if err != nil {
		return nil
	}
	_, err = fmt.Fprintf(w, "BRAID_NAME=%s\nBRAID_READABLE=%d\n", s.Name, readable(s))
	return err
}

// readable is 1 if a read is answered now, and does not wait for a path.
func readable(s Status) int {
	switch s.State {
	case "striped", "draining":
		return 1
	}
	return 0
}

var errNoDaemon = errors.New("no daemon answers for it")

// daemonOf asks for the status of the daemon that serves a device.
func daemonOf(ctx context.Context, device, identity string) (Status, error) {
	names, err := runningDevices()
	if err != nil {
		return Status{}, err
	}
	for _, name := range names {
		s, err := askStatus(ctx, name)
		if err != nil || s.WWID != identity {
			continue
		}
		for _, export := range s.Exports {
			if export == device {
				return s, nil
			}
		}
	}
	return Status{}, fmt.Errorf("%s (%s): %w", device, identity, errNoDaemon)
}

// linkName makes an identity fit for the name of a link: udev takes these
// characters as they are.
func linkName(identity string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("#+-.:=@_", r) {
			return r
		}
		return '_'
	}, identity)
}

// announceDevice has udev look at a kernel device again, after it was attached or
// detached. The kernel's own events are sent before the identity is there, and
// before it is gone. It may wait for the kernel.
func announceDevice(device string, log func(slog.Level, string, ...any)) {
	if err := announce("/sys", device); err != nil {
		log(slog.LevelWarn, "udev was not told of the device", "device", device, "err", err,
			"remedy", "udevadm trigger --settle "+device)
	}
}

func announce(sys, device string) error {
	file := filepath.Join(sys, "block", filepath.Base(device), "uevent")
	return os.WriteFile(file, []byte("change"), 0)
}
