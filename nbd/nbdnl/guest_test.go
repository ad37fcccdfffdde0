//go:build guest

package nbdnl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"braid/nbd"
)

func TestGuestFileSystem(t *testing.T) {
	g := newTestRig(t)
	a := attached(t, g, "auto")
	if got, err := system.backend(a.Index()); err != nil || got != backend {
		t.Errorf("backend %q, %v", got, err)
	}
	if got, _ := system.read(a.Index(), "queue/io_timeout"); got != "3000" {
		t.Errorf("io_timeout %s ms", got)
	}
	for file, want := range map[string]string{"queue/write_cache": "write back", "queue/fua": "1",
		"queue/logical_block_size": "512", "queue/max_sectors_kb": "1024", "ro": "0"} {
		if got, err := system.read(a.Index(), file); err != nil || got != want {
			t.Errorf("%s is %q, want %q; %v", file, got, want, err)
		}
	}
	command(t, "mkfs.ext4", "-q", a.Path())
	mount := t.TempDir()
	command(t, "mount", "-o", "discard", a.Path(), mount)
	want := fill(t, mount, 40)
	var inUse *ErrInUse
	if err := a.Detach(); !errors.As(err, &inUse) || inUse.Users[0].Kind != "mount" {
		t.Errorf("detached under a mount: %v", err)
	}
	command(t, "umount", mount)
	command(t, "e2fsck", "-fn", a.Path())
	command(t, "mount", a.Path(), mount)
	check(t, mount, want)
	command(t, "umount", mount)
	if g.ram.stats[nbd.Flush].Load() == 0 || g.ram.stats[nbd.Trim].Load() == 0 {
		t.Errorf("%d flushes, %d trims", g.ram.stats[nbd.Flush].Load(), g.ram.stats[nbd.Trim].Load())
	}
}

// fill writes n files and returns what is in them.
func fill(t *testing.T, folder string, n int) map[string][32]byte {
	t.Helper()
	all := make(map[string][32]byte)
	random := rand.NewChaCha8([32]byte{1})
	for i := range n {
		data := make([]byte, 1<<(i%21))
		random.Read(data)
		name := folder + "/" + string(rune('A'+i))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		all[name] = sha256.Sum256(data)
	}
	command(t, "sync")
	return all
}

func check(t *testing.T, folder string, want map[string][32]byte) {
	t.Helper()
	for name, sum := range want {
		data, err := os.ReadFile(name)
		if err != nil || sha256.Sum256(data) != sum {
			t.Errorf("%s has changed: %v", name, err)
		}
	}
}

func TestGuestUsers(t *testing.T) {
	g := newTestRig(t)
	a := attached(t, g, "/dev/nbd5")
	if a.Path() != "/dev/nbd5" {
		t.Errorf("attached %s", a.Path())
	}
	if users, err := Users(a.Index()); err != nil || len(users) > 0 {
		t.Errorf("users of a new device: %v, %v", users, err)
	}
	f, err := os.Open(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	if users, err := Users(a.Index()); err != nil || len(users) != 1 || users[0].Kind != "process" {
		t.Errorf("users of an open device: %v, %v", users, err)
	}
	f.Close()
	command(t, "dmsetup", "create", "over", "--table", "0 2048 linear "+a.Path()+" 0")
	if users, err := Users(a.Index()); err != nil || len(users) != 1 || users[0].Kind != "holder" {
		t.Errorf("users of a part of a volume: %v, %v", users, err)
	}
	command(t, "dmsetup", "remove", "over")
	command(t, "mkswap", a.Path())
	command(t, "swapon", a.Path())
	if users, err := Users(a.Index()); err != nil || len(users) == 0 || users[0].Kind != "swap" {
		t.Errorf("users of swap space: %v, %v", users, err)
	}
	command(t, "swapoff", a.Path())
}

// A claim by the kernel alone is in no list: a file system of several devices
// shows only one of them.
func TestGuestClaim(t *testing.T) {
	g, h := newTestRig(t), newTestRigNamed(t, "second")
	a := attached(t, g, "/dev/nbd0")
	cfg := h.config("/dev/nbd1")
	cfg.Settings.Backend = "naa.2"
	b, err := Attach(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", a.Path(), b.Path())
	mount := t.TempDir()
	command(t, "modprobe", "btrfs")
	command(t, "btrfs", "device", "scan", a.Path(), b.Path())
	command(t, "mount", "-t", "btrfs", a.Path(), mount)
	for _, i := range []int{a.Index(), b.Index()} {
		if users, err := Users(i); err != nil || len(users) != 1 {
			t.Errorf("%s: users %v, %v", Path(i), users, err)
		}
	}
	var inUse *ErrInUse
	if err := b.Detach(); !errors.As(err, &inUse) {
		t.Errorf("detached under a file system: %v", err)
	}
	command(t, "umount", mount)
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
}

func TestGuestResize(t *testing.T) {
	g := newTestRig(t)
	cfg := g.config("auto")
	cfg.Settings.Size = diskSize / 2
	a, err := Attach(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Detach()
	command(t, "mkfs.ext4", "-q", a.Path())
	mount := t.TempDir()
	command(t, "mount", a.Path(), mount)
	want := fill(t, mount, 30)
	if err := a.Resize(diskSize); err != nil {
		t.Fatal(err)
	}
	if size, err := system.size(a.Index()); err != nil || size != diskSize {
		t.Errorf("%d bytes, want %d; %v", size, diskSize, err)
	}
	if got, _ := system.read(a.Index(), "queue/io_timeout"); got != "3000" {
		t.Errorf("io_timeout %s ms after the resize", got)
	}
	command(t, "resize2fs", a.Path())
	check(t, mount, want)
	command(t, "umount", mount)
	command(t, "e2fsck", "-fn", a.Path())
}

// What is asked of a device whose server has gone waits, and is answered by the
// next.
func TestGuestSocketLost(t *testing.T) {
	g := newTestRig(t)
	a := attached(t, g, "auto")
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, err := c.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f, err := os.OpenFile(a.Path(), os.O_RDWR|unix.O_DIRECT|unix.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		g.cut()
		if _, err := unix.Pwrite(int(f.Fd()), aligned(byte(i)), int64(i)<<20); err != nil {
			t.Fatalf("write after cut %d: %v", i, err)
		}
		if dead := <-w.Dead(); dead != a.Index() {
			t.Errorf("dead link of %d", dead)
		}
	}
	f.Close()
	for i := range 4 {
		if got := g.ram.data[i<<20]; got != byte(i) {
			t.Errorf("%d, want %d", got, i)
		}
	}
}

func aligned(v byte) []byte {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	copy(b, bytes.Repeat([]byte{v}, len(b)))
	return b
}

// While a socket lives, another is discarded, and a second process gives up.
func TestGuestServedByAnother(t *testing.T) {
	g := newTestRig(t)
	attached(t, g, "/dev/nbd0")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := Attach(ctx, newTestRigNamed(t, "second").config("auto")); !errors.Is(err, ErrServed) {
		t.Errorf("error %v", err)
	}
	cfg := newTestRigNamed(t, "third").config("/dev/nbd0")
	cfg.Settings.Backend = "naa.3"
	if _, err := Attach(ctx, cfg); err == nil || !strings.Contains(err.Error(), backend) {
		t.Errorf("error %v", err)
	}
	if c, err := Open(); err != nil {
		t.Error(err)
	} else if _, err := c.Connect(0, cfg.Settings, 0); !errors.Is(err, unix.EBUSY) {
		t.Errorf("connect: %v", err)
	}
}

func TestGuestStatusAndDisconnect(t *testing.T) {
	g := newTestRig(t)
	a, err := Attach(context.Background(), g.config("/dev/nbd7"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	states, err := c.Status()
	if err != nil || len(states) < 8 {
		t.Fatalf("%v, %v", states, err)
	}
	for _, s := range states {
		if s.Connected != (s.Index == 7) {
			t.Errorf("%+v", s)
		}
	}
	if err := c.Disconnect(7); err != nil {
		t.Fatal(err)
	}
	if err := <-a.Lost(); !errors.Is(err, ErrDisconnected) {
		t.Errorf("lost: %v", err)
	}
	if err := c.Reconfigure(7, Change{Backend: backend}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("reconfigure after that: %v", err)
	}
}

func newTestRigNamed(t *testing.T, name string) *rig {
	t.Helper()
	var g *rig
	g, err := newRig("/tmp/"+t.Name()+name, diskSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.loop.Stop()
		<-g.loop.Done()
		os.Remove("/tmp/" + t.Name() + name)
	})
	return g
}
