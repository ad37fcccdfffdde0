//go:build guest

package vmtest

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const diskSize = 256 << 20

func TestSessions(t *testing.T) {
	l := newLIO(t, 2, diskSize)
	testDevice(t, l.sessions(), 2, 1)
}

func TestConnections(t *testing.T) {
	l := newLIO(t, 2, diskSize)
	testDevice(t, l.connections(), 1, 2)
}

// testDevice is the life of a device with a file system on it: daemons are
// killed and replaced under verified load, refused while it is mounted, and
// stopped. Nothing is lost, and the file system sees no error.
func testDevice(t *testing.T, urls []string, paths, connections int, flags ...string) {
	d := up(t, urls, flags...)
	s := d.awaitPaths(paths, connections)
	if backend, err := os.ReadFile("/sys/block/nbd0/backend"); err != nil ||
		strings.TrimSpace(string(backend)) != s.WWID || s.WWID == "" {
		t.Errorf("backend %q, wwid %q, %v", backend, s.WWID, err)
	}
	if len(s.Exports) != 1 || s.Exports[0] != device {
		t.Errorf("exports %q", s.Exports)
	}
	run(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	run(t, "mount", "-o", "discard", device, mount)
	files := fill(t, mount)

	load := startLoad(t, mount, 40*time.Second)
	for i := range 3 {
		time.Sleep(6 * time.Second)
		if i == 1 {
			d.stop()
		} else {
			d.kill()
		}
		if !connected() {
			t.Fatal("the device has gone with its daemon")
		}
		time.Sleep(time.Second) // nobody serves it
		began := time.Now()
		d = up(t, urls, flags...)
		t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	}
	if said, err := d.down(); err == nil || !strings.Contains(said, "mounted on "+mount) {
		t.Errorf("braid down of a mounted device: %v, %s", err, said)
	}
	load.wait()
	s = d.awaitPaths(paths, connections)
	for _, p := range s.Paths {
		if p.Writes == 0 {
			t.Errorf("a path that took no write: %+v", s)
		}
	}
	if s.Flushes.Rounds == 0 || s.Flushes.Failed > 0 {
		t.Errorf("flushes: %+v", s.Flushes)
	}
	run(t, "umount", mount)
	run(t, "e2fsck", "-fn", device)
	if said, err := d.down(); err != nil {
		t.Errorf("braid down: %v, %s", err, said)
	}
	d.awaitEnd()
	if connected() {
		t.Error("the device is there after braid down")
	}

	d = up(t, urls, flags...)
	run(t, "mount", device, mount)
	check(t, files)
	run(t, "umount", mount)
	d.stop()
	if connected() {
		t.Error("an unused device is there after its daemon's end")
	}
}

// fill writes files below dir and returns what is in them.
func fill(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	files := make(map[string][32]byte)
	random := rand.NewChaCha8([32]byte{1})
	for i := range 30 {
		data := make([]byte, 1<<(i%21)+i)
		random.Read(data)
		file := filepath.Join(dir, "file"+strconv.Itoa(i))
		must(t, os.WriteFile(file, data, 0o600))
		files[file] = sha256.Sum256(data)
	}
	return files
}

func check(t *testing.T, files map[string][32]byte) {
	t.Helper()
	for file, sum := range files {
		data, err := os.ReadFile(file)
		if err != nil || sha256.Sum256(data) != sum {
			t.Errorf("%s is not what was written: %v", file, err)
		}
	}
}

// load is fio, which writes, reads back and compares.
type load struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer
}

func startLoad(t *testing.T, dir string, d time.Duration) *load {
	t.Helper()
	l := &load{t: t}
	where := "--directory=" + dir
	if dir == "" {
		where = "--filename=" + device
	}
	l.cmd = exec.Command("fio", "--name=load", where, "--size=48m", "--rw=randrw",
		"--bsrange=4k-512k", "--ioengine=libaio", "--iodepth=16", "--direct=1", "--fsync=32",
		"--verify=crc32c", "--verify_backlog=64", "--time_based",
		"--runtime="+strconv.Itoa(int(d.Seconds())))
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	must(t, l.cmd.Start())
	return l
}

func (l *load) wait() {
	l.t.Helper()
	if err := l.cmd.Wait(); err != nil {
		l.t.Fatalf("load: %v\n%s", err, l.out.Bytes())
	}
}
