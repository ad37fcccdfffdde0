//go:build guest

package vmtest

import (
	"strings"
	"testing"
	"time"
)

// With several sockets what a killed daemon had waits for the driver's timeout.
func TestSockets(t *testing.T) {
	l := newLIO(t, 2, diskSize)
	testDevice(t, l.sessions(), 2, 1, "--nbd-sockets", "2")
}

// TestSocketsWithoutPath is an outage that is longer than the driver lets a request
// be when there are several sockets: it cuts them off, one after the other, and asks
// again. No error comes of it.
func TestSocketsWithoutPath(t *testing.T) {
	l := newLIO(t, 2, diskSize)
	d := up(t, l.sessions(), "--nbd-sockets", "2")
	d.awaitPaths(2, 1)
	run(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	run(t, "mount", device, mount)
	files := fill(t, mount)
	load := startLoad(t, mount, 100*time.Second)
	time.Sleep(5 * time.Second)
	for _, link := range []string{"t0", "t1"} {
		run(t, "ip", "-n", namespace, "link", "set", link, "down")
	}
	time.Sleep(75 * time.Second)
	if log := run(t, "dmesg"); !strings.Contains(log, "Connection timed out, retrying") {
		t.Error("the driver has cut off no socket: this shows nothing")
	}
	for _, link := range []string{"t0", "t1"} {
		run(t, "ip", "-n", namespace, "link", "set", link, "up")
	}
	d.awaitPaths(2, 1)
	load.wait()
	check(t, files)
	run(t, "umount", mount)
	run(t, "e2fsck", "-fn", device)
	if log := run(t, "dmesg"); strings.Contains(log, "I/O error") {
		t.Errorf("the kernel complains:\n%s", log)
	}
	d.stop()
}
