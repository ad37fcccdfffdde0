//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// runShell runs commands of qemu-io on a device that is opened for reading only.
func runShell(t *testing.T, uri string, commands ...string) string {
	t.Helper()
	args := []string{"-f", "raw", "-r"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return runTool(t, "qemu-io", append(args, uri)...)
}

// Flushes under load in each mode of the barrier, over several NBD connections.
func TestBarrierModes(t *testing.T) {
	for _, mode := range []string{"drain", "hold", "epoch"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: 2})
			d := up(t, g.urls(), "--barrier", mode)
			before := d.mustStatus()
			load := fioLoad{uri: d.uri(), size: "6m", jobs: 3, depth: 8, fsync: 4, block: "8k"}.begin(t)
			draining := false
			for load.running() {
				s := d.mustStatus()
				draining = draining || s.State == "draining"
				if s.State != "draining" && s.State != "striped" {
					t.Errorf("the device is %s", s.State)
				}
				time.Sleep(tick)
			}
			finishFio(t, load)
			if draining != (mode != "epoch") {
				t.Errorf("the device was seen draining: %v", draining)
			}
			s := d.mustStatus()
			if s.Flushes.Failed != 0 || s.Flushes.Requested-before.Flushes.Requested < 3*768/4 {
				t.Errorf("flushes: %+v", s.Flushes)
			}
			if s.Flushes.Rounds > s.Flushes.Requested {
				t.Errorf("more rounds than flushes: %+v", s.Flushes)
			}
			for i, p := range s.Paths {
				if p.Writes == 0 {
					t.Errorf("path %d took no write", i)
				}
			}
			d.stop()
		})
	}
}

// The same device over TCP and a unix socket at once, to several clients.
func TestExports(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 1})
	d := newDaemon(t)
	address := addresses(t, 1)[0]
	d.args = append(d.args, "--nbd", "tcp:"+address)
	d.launch(t, g.urls()...)
	want := fmt.Sprintf("ready %s unix:%s tcp:%s\n", d.name, d.socket, address)
	if err := d.stdout.await(patience, func(s string) bool { return s == want }); err != nil {
		t.Fatalf("%q is not %q: %v", d.stdout.text(), want, err)
	}
	qemuIO(t, "nbd://"+address, "write -P 0x55 0 1M", "flush")
	qemuIO(t, d.uri(), "read -P 0x55 0 1M")
	byName := fmt.Sprintf("nbd://%s/%s", address, d.name)
	if e := nbdinfo(t, byName); e.Size != lunBytes {
		t.Errorf("by its name the export has %d bytes", e.Size)
	}
	list := runTool(t, "nbdinfo", "--list", "nbd://"+address)
	contains(t, list, d.name)
	nothing := start(t, "nbdinfo", command(t, tool(t, "nbdinfo"), "nbd://"+address+"/other"), false)
	if code := nothing.code(patience); code == 0 {
		t.Error("an export that there is not can be opened")
	}
	// nbdkit stands in between as one more kind of client.
	folder := tempDir(t)
	kit := start(t, "nbdkit", command(t, tool(t, "nbdkit"), "-f", "-U", folder+"/kit", "nbd",
		"uri=nbd://"+address), false)
	eventually(t, patience, "nbdkit serves", func() bool {
		c, err := net.Dial("unix", folder+"/kit")
		if err == nil {
			c.Close()
		}
		return err == nil || !kit.running()
	})
	fioLoad{uri: "nbd+unix:///?socket=" + folder + "/kit", size: "2m", fsync: 16}.run(t)
	d.stop()
}

// Clients that speak nonsense, or go away in the middle, harm nobody else.
func TestRudeClients(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 1})
	d := up(t, g.urls())
	load := fioLoad{uri: d.uri(), size: "4m", fsync: 16, iops: 500}.begin(t)
	noise := make([]byte, 4096)
	rand.Read(noise)
	for i := range 20 {
		c, err := net.Dial("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0: // garbage after the greeting
			c.Write(noise)
		case 1: // an option of 4 GiB
			c.Write([]byte("\x00\x00\x00\x01IHAVEOPT\x00\x00\x00\x07\xff\xff\xff\xff"))
		case 2: // nothing at all
		}
		c.Close()
	}
	gone := fioLoad{uri: d.uri(), size: "8m", offset: "32m", depth: 32}.begin(t)
	d.moreWrites(100)
	gone.kill()
	finishFio(t, load)
	eventually(t, patience, "no client is left", func() bool {
		return strings.Contains(d.must("status", d.control, "-o", "wide"), " 0 clients")
	})
	qemuIO(t, d.uri(), "write -P 1 0 64k", "flush", "read -P 1 0 64k")
	d.stop()
}
