//go:build guest

package vmtest

import (
	"os"
	"strings"
	"testing"
)

// TestLeft is about a device whose daemon is gone and does not come back: `braid
// down` detaches it if nobody uses it, or if it is told to.
func TestLeft(t *testing.T) {
	l := newLIO(t, 2, diskSize)
	d := up(t, l.sessions())
	d.awaitPaths(2, 1)
	run(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	run(t, "mount", device, mount)
	files := fill(t, mount)
	run(t, "sync", "-f", mount)
	d.kill()

	// Without udev there is no link that knows the name; it is told what to say.
	said, err := d.down()
	if err == nil || !strings.Contains(said, "left "+device+" (naa.") ||
		!strings.Contains(said, "braid down "+device) {
		t.Errorf("braid down %s: %v, %s", name, err, said)
	}
	if said, err := runDown(device); err == nil || !strings.Contains(said, "mounted on "+mount) ||
		!connected() {
		t.Fatalf("braid down of a mounted device: %v, %s", err, said)
	}
	if said, err := runDown("--force", device); err != nil {
		t.Fatalf("braid down --force: %v, %s", err, said)
	}
	run(t, "umount", mount)
	if connected() {
		t.Fatal("the device is there after braid down --force and an unmount")
	}

	d = up(t, l.sessions())
	run(t, "mount", device, mount)
	check(t, files)
	run(t, "umount", mount)
	d.kill()
	if err := os.Symlink("../nbd0", linkTo(t, name)); err != nil {
		t.Fatal(err)
	}
	if said, err := d.down(); err != nil || connected() {
		t.Errorf("braid down by udev's link: %v, %s", err, said)
	}
	if said, err := d.down(); err == nil || !strings.Contains(said, "no device that a daemon") {
		t.Errorf("braid down of what is not there: %v, %s", err, said)
	}
}

func linkTo(t *testing.T, name string) string {
	t.Helper()
	must(t, os.MkdirAll("/dev/braid", 0o755))
	return "/dev/braid/" + name
}
