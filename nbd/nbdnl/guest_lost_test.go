//go:build guest

package nbdnl

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With two sockets, what the lost one had is asked on the other when the timeout
// of requests is over.
func TestGuestTwoSockets(t *testing.T) {
	g := newTestRig(t)
	cfg := g.config("auto")
	cfg.Sockets, cfg.Settings.Timeout = 2, requestTimeout
	a, err := Attach(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := system.sockets(a.Index()); err != nil || n != 2 {
		t.Errorf("%d sockets, %v", n, err)
	}
	load := exec.Command("fio", "--name=load", "--filename="+a.Path(), "--size=32m", "--rw=randrw",
		"--bs=64k", "--ioengine=libaio", "--iodepth=16", "--numjobs=2", "--direct=1",
		"--offset_increment=64m", "--verify=crc32c", "--verify_backlog=64", "--time_based",
		"--runtime=12")
	out := new(bytes.Buffer)
	load.Stdout, load.Stderr = out, out
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		time.Sleep(3 * time.Second)
		g.cutOne()
	}
	if err := load.Wait(); err != nil {
		t.Errorf("load: %v\n%s", err, out)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
}

// The serving process is killed under a mounted file system with verified load,
// then replaced in good order, then killed again: nothing is lost and no error
// is seen.
func TestGuestKill(t *testing.T) { testKill(t) }

// With several sockets too, all of them are replaced.
func TestGuestKillSockets(t *testing.T) { testKill(t, "-sockets", "2") }

func testKill(t *testing.T, flags ...string) {
	const file = "/tmp/kill-disk"
	defer os.Remove(file)
	process, ready := daemon(t, file, flags...)
	if ready != "ready /dev/nbd0 false" {
		t.Fatal(ready)
	}
	command(t, "mkfs.ext4", "-q", "/dev/nbd0")
	mount := t.TempDir()
	command(t, "mount", "/dev/nbd0", mount)
	load := exec.Command("fio", "--name=load", "--directory="+mount, "--size=48m", "--rw=randrw",
		"--bsrange=4k-512k", "--ioengine=libaio", "--iodepth=16", "--direct=1", "--fsync=32",
		"--verify=crc32c", "--verify_backlog=64", "--time_based", "--runtime=28")
	out := new(bytes.Buffer)
	load.Stdout, load.Stderr = out, out
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		time.Sleep(4 * time.Second)
		if i == 2 {
			process.Signal(syscall.SIGTERM)
		} else {
			process.Kill()
		}
		process.Wait()
		time.Sleep(time.Second) // the device is served by nobody
		began := time.Now()
		if process, ready = daemon(t, file, flags...); ready != "ready /dev/nbd0 true" {
			t.Fatal(ready)
		}
		t.Logf("taken over after %v", time.Since(began))
	}
	if err := load.Wait(); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	command(t, "umount", mount)
	command(t, "e2fsck", "-fn", "/dev/nbd0")
	process.Kill()
	process.Wait()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Disconnect(0); err != nil {
		t.Error(err)
	}
	t.Logf("%s", command(t, "sh", "-c", "dmesg | grep nbd0 | tail -n 40"))
}

// While somebody has a device open, it is not free: udev has every new one.
func TestGuestOpenElsewhere(t *testing.T) {
	if err := Load(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/dev/nbd6")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Second, func() { f.Close() })
	began := time.Now()
	attached(t, newTestRig(t), "/dev/nbd6")
	if waited := time.Since(began); waited < 900*time.Millisecond {
		t.Errorf("attached after %v, while it was open", waited)
	}
}

// A device whose process has gone is given up by somebody else, but not under
// its users, unless that is asked for: then they get errors.
func TestGuestAbandon(t *testing.T) {
	const file = "/tmp/abandoned"
	defer os.Remove(file)
	for _, flags := range [][]string{nil, {"-sockets", "2"}} {
		process, _ := daemon(t, file, flags...)
		if err := Abandon(0, false); !errors.Is(err, ErrServed) {
			t.Fatalf("abandoned while it is served: %v", err)
		}
		command(t, "mkfs.ext4", "-q", "/dev/nbd0")
		mount := t.TempDir()
		command(t, "mount", "/dev/nbd0", mount)
		process.Kill()
		process.Wait()
		if err := Abandon(0, false); !errors.As(err, new(*ErrInUse)) || !system.connected(0) {
			t.Fatalf("abandoned under a file system: %v", err)
		}
		failed := make(chan error)
		go func() {
			f, err := os.OpenFile(mount+"/file", os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o600)
			if err == nil {
				_, err = f.Write(make([]byte, 1<<20))
			}
			failed <- err
		}()
		time.Sleep(time.Second)
		if err := Abandon(0, true); err != nil {
			t.Fatalf("not abandoned by force: %v", err)
		}
		if err := <-failed; err == nil {
			t.Error("a write to a device that is gone succeeded")
		}
		// As long as it is mounted, the driver keeps it: the next one is another.
		testSecondDevice(t)
		command(t, "umount", mount)
		if system.connected(0) {
			t.Fatal("it is connected after the unmount")
		}

		process, _ = daemon(t, file, flags...)
		process.Kill()
		process.Wait()
		if err := Abandon(0, false); err != nil {
			t.Fatalf("not abandoned: %v", err)
		}
		// Its partitions were never looked at. Who waited for that lets go of it now.
		for began := time.Now(); system.connected(0); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("it is connected after it was abandoned")
			}
		}
	}
}

func testSecondDevice(t *testing.T) {
	t.Helper()
	cfg := newTestRig(t).config("auto")
	a, err := Attach(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a.Index() == 0 || a.TakenOver() {
		t.Errorf("%s, taken over: %v", a.Path(), a.TakenOver())
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
}

// Requests wait for a new socket as long as DeadTimeout says, and not longer.
func TestGuestDeadTimeout(t *testing.T) {
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	s := newTestRig(t).config("").Settings
	s.DeadTimeout = 3 * time.Second
	index, err := c.Connect(-1, s, p.kernel)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Disconnect(index)
	p.closeKernelEnd()
	p.closeOurs()
	began := time.Now()
	f, err := os.OpenFile(Path(index), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = unix.Pwrite(int(f.Fd()), aligned(1), 0)
	if took := time.Since(began); !errors.Is(err, unix.EIO) || took < s.DeadTimeout-time.Second {
		t.Errorf("write: %v after %v", err, took)
	}
}
