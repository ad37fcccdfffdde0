package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"braid/nbd/nbdnl"
)

// TestDownWithoutDaemon is about a device of the kernel that a daemon has left.
func TestDownWithoutDaemon(t *testing.T) {
	links, run := t.TempDir(), t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", run)
	for name, to := range map[string]string{"lun0": "../nbd2", "other": "../nbd5", "odd": "../sda"} {
		if err := os.Symlink(to, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	inUse := &nbdnl.ErrInUse{Path: "/dev/nbd2", Users: []nbdnl.User{{Kind: "mount", Name: "/srv"}}}
	for _, test := range []struct {
		args  string
		force bool
		err   error // of the kernel
		index int   // detached; -1: none
		want  string
	}{
		{"lun0", false, nil, 2, ""},
		{"/dev/nbd2", false, nil, 2, ""},
		{"lun0", true, nil, 2, ""},
		{"lun0", false, inUse, 2, "mounted on /srv; its I/O waits for a daemon. Start that, or give up " +
			"what is not yet written: braid down --force /dev/nbd2"},
		{"lun0", false, nbdnl.ErrServed, 2, "served by another process"},
		{"other", false, nil, -1, "/dev/nbd5 is no device that a daemon of braid has left"},
		{"/dev/nbd7", true, nil, -1, "/dev/nbd7 is no device that a daemon of braid has left"},
		{"odd", false, nil, -1, "device odd is not running"},
		{"lun9", false, nil, -1, "left /dev/nbd2 (naa.6) behind (braid down /dev/nbd2)"},
	} {
		got := -1
		d := downCommand{links: links,
			abandon: func(index int, force bool) error {
				if got = index; force != test.force {
					t.Errorf("%s: force %v", test.args, force)
				}
				return test.err
			},
			left: func(context.Context) []madeDevice { return []madeDevice{{2, "/dev/nbd2", "naa.6"}} },
		}
		err := d.run(t.Context(), test.args, test.force)
		if got != test.index || (err == nil) != (test.want == "") ||
			err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: detached %d, error %v", test.args, got, err)
		}
	}
}

// A device that a daemon serves is for that to detach, whatever it is called by.
func TestDownOfDaemon(t *testing.T) {
	run := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", run)
	device := &fakeDevice{status: Status{Name: "lun0", Exports: []string{"/dev/nbd2"}}}
	control, err := ServeControl(filepath.Join(run, "lun0.sock"), device, func(slog.Level, string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	d := downCommand{abandon: func(int, bool) error { panic("abandoned under its daemon") }}
	for i, name := range []string{"lun0", "/dev/nbd2"} {
		if err := d.run(t.Context(), name, true); err != nil || device.downs != i+1 {
			t.Errorf("down %s: %v, %d times", name, err, device.downs)
		}
	}
}
