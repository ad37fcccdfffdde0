package nbd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A shell serves a memory device on a unix socket, with a goroutine for each
// client and a lock around the engine. It stands in for the event loop.
type shell struct {
	t     *testing.T
	l     net.Listener
	wg    sync.WaitGroup
	start time.Time

	mu   sync.Mutex
	s    *Server
	d    *memDevice
	p    *testPool
	rnd  *rand.Rand
	seen map[string]bool // what the device was asked for
}

func serve(t *testing.T, edit func(*ServerConfig, *memDevice)) *shell {
	sh := &shell{t: t, start: time.Now(), rnd: rand.New(rand.NewPCG(1, 2)), seen: map[string]bool{}}
	sh.s, sh.d, sh.p = newTestServer(t, edit)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "nbd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	sh.l = l
	sh.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sh.wg.Go(func() { sh.client(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		sh.wg.Wait()
		checkEmpty(t, sh.s, sh.p)
		if n := sh.s.Stats().Violators; n != 0 {
			t.Errorf("%d clients violated the protocol", n)
		}
	})
	return sh
}

func (sh *shell) uri() string { return "nbd+unix:///disk?socket=" + sh.l.Addr().String() }

// saw reports whether the device was asked for op.
func (sh *shell) saw(op string) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.seen[op]
}

// holds reports whether the device's content is b.
func (sh *shell) holds(b []byte) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return bytes.Equal(sh.d.data, b)
}

// client moves the bytes of one connection until it ends.
func (sh *shell) client(conn net.Conn) {
	defer conn.Close()
	sh.mu.Lock()
	c := sh.s.Accept(time.Since(sh.start))
	sh.mu.Unlock()
	if c == nil {
		return
	}
	in, n := make([]byte, 1<<20), 0
	var err error
	for {
		sh.mu.Lock()
		now := time.Since(sh.start)
		out := sh.step(now, c, in[:n])
		finished := c.Finished()
		if err != nil || finished {
			c.Closed(now, err)
		}
		sh.mu.Unlock()
		if _, werr := conn.Write(out); err != nil || werr != nil || finished {
			if !finished && err == nil {
				sh.t.Errorf("write to a client: %v", werr)
			}
			return
		}
		if n, err = conn.Read(in); err != nil && err != io.EOF {
			sh.t.Errorf("read from a client: %v", err)
		}
	}
}

// step gives the engine what was received, has the device do what it got, in
// any order, and returns what is to be sent.
func (sh *shell) step(now time.Duration, c *Conn, in []byte) []byte {
	w := &wire{tb: sh.t, c: c, now: now, in: in}
	for {
		moved := w.pump(everything)
		for len(sh.d.queue) > 0 {
			i := sh.rnd.IntN(len(sh.d.queue))
			sh.seen[sh.d.queue[i].Op.String()] = true
			if sh.d.queue[i].FUA {
				sh.seen["FUA"] = true
			}
			sh.d.complete(now, i)
		}
		moved += w.drain(everything)
		if !sh.s.Resume(now) && moved == 0 {
			return w.out
		}
	}
}

// peer runs a client that is not ours, or skips the test where it is missing.
func (sh *shell) peer(name string, args ...string) []byte {
	sh.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		sh.t.Skipf("SKIPPED: %s is not installed", name)
	}
	cmd := exec.CommandContext(sh.t.Context(), path, args...)
	cmd.Dir = sh.t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		sh.t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

func TestPeerNbdinfo(t *testing.T) {
	sh := serve(t, nil)
	var got struct {
		Protocol   string
		Structured bool
		Exports    []map[string]any
	}
	raw := sh.peer("nbdinfo", "--json", sh.uri())
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"export-name": "disk", "description": "a test", "export-size": 4194304.0,
		"is_read_only": false, "is_rotational": false, "can_flush": true, "can_fua": true,
		"can_trim": true, "can_zero": true, "can_fast_zero": true, "can_cache": true,
		"can_df": true, "can_multi_conn": true, "block_size_minimum": 512.0,
		"block_size_preferred": 4096.0, "block_size_maximum": 1048576.0,
	}
	if got.Protocol != "newstyle-fixed" || !got.Structured || len(got.Exports) != 1 {
		t.Fatalf("%+v", got)
	}
	for k, v := range want {
		if g := got.Exports[0][k]; g != v {
			t.Errorf("%s is %v, want %v", k, g, v)
		}
	}
	if out := string(sh.peer("nbdinfo", "--list", sh.uri())); !strings.Contains(out, `export="disk"`) {
		t.Errorf("list: %s", out)
	}
}

// TestPeerNbdcopy writes and reads a device over several connections.
func TestPeerNbdcopy(t *testing.T) {
	sh := serve(t, func(_ *ServerConfig, d *memDevice) {
		d.data = make([]byte, 48<<20)
		d.info.Size, d.info.MaxBlock = 48<<20, 0
	})
	image := make([]byte, 48<<20)
	rnd := rand.New(rand.NewPCG(3, 3))
	for i := 0; i < len(image); i += 4096 {
		if i>>20%5 != 2 { // and some holes
			image[i], image[i+4095] = byte(rnd.Uint32()), byte(rnd.Uint32())
		}
	}
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	sh.peer("nbdcopy", "--flush", "--connections=4", file, sh.uri())
	if !sh.holds(image) {
		t.Fatal("the device differs from what was copied to it")
	}
	if !sh.saw("FLUSH") {
		t.Error("no flush was seen")
	}
	sh.peer("nbdcopy", "--request-size=16777216", sh.uri(), file+".out")
	back, err := os.ReadFile(file + ".out")
	if err != nil || !bytes.Equal(back, image) {
		t.Fatalf("what was copied back differs: %v", err)
	}
}

func TestPeerQemu(t *testing.T) {
	sh := serve(t, nil)
	var args []string
	for _, c := range []string{
		"write -P 0x11 0 1M", "write -f -P 0x22 4k 8k", "read -P 0x22 4k 8k", "write -z 64k 64k",
		"write -z -u 256k 64k", "read -P 0 64k 64k", "discard 128k 128k", "flush",
		"aio_write -P 0x33 2M 512k", "aio_write -P 0x44 3M 1M", "aio_flush", "read -P 0x33 2M 512k",
		"read -P 0x44 3M 1M", "read -P 0x11 512k 512k",
	} {
		args = append(args, "-c", c)
	}
	out := string(sh.peer("qemu-io", append(args, "-f", "raw", sh.uri())...))
	if strings.Contains(out, "failed") || strings.Count(out, "ops;") != 12 {
		t.Errorf("qemu-io said\n%s", out)
	}
	for _, op := range []string{"READ", "WRITE", "FLUSH", "TRIM", "WRITE_ZEROES", "FUA"} {
		if !sh.saw(op) {
			t.Errorf("no %s was seen", op)
		}
	}
	info := string(sh.peer("qemu-img", "info", sh.uri()))
	if !strings.Contains(info, "4 MiB (4194304 bytes)") {
		t.Errorf("qemu-img info: %s", info)
	}
}

func TestPeerQemuReadOnly(t *testing.T) {
	sh := serve(t, func(_ *ServerConfig, d *memDevice) { d.info.ReadOnly = true })
	out := sh.peer("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 1M", "-c", "flush", sh.uri())
	if !strings.Contains(string(out), "read 1048576/1048576") {
		t.Errorf("qemu-io said %s", out)
	}
}

// TestPeerFio verifies random reads and writes at depth.
func TestPeerFio(t *testing.T) {
	for _, bs := range []string{"4k", "1k-700k"} {
		t.Run(bs, func(t *testing.T) {
			sh := serve(t, func(_ *ServerConfig, d *memDevice) {
				d.data = make([]byte, 16<<20)
				d.info.Size = 16 << 20
			})
			blocks := "--bs=" + bs
			if strings.Contains(bs, "-") {
				blocks = "--bsrange=" + bs
			}
			out := sh.peer("fio", "--name=v", "--ioengine=nbd", "--uri="+sh.uri(), "--rw=randwrite",
				blocks, "--iodepth=32", "--size=16m", "--verify=crc32c",
				"--fsync=64", "--randseed=7", "--output-format=terse")
			if f := strings.Split(strings.TrimSpace(string(out)), ";"); len(f) < 5 || f[4] != "0" {
				t.Errorf("fio said %s", out)
			}
			if !sh.saw("FLUSH") || !sh.saw("READ") {
				t.Error("fio asked for no READ or no FLUSH")
			}
		})
	}
}

// TestPeerNbdsh asks for what must be refused, past libnbd's own checks.
func TestPeerNbdsh(t *testing.T) {
	sh := serve(t, nil)
	script := fmt.Sprintf(`
import errno
h.set_strict_mode(0)
h.connect_uri(%q)
def refused(want, f, *args):
    try: f(*args)
    except nbd.Error as e: assert e.errnum == want, (e.string, e.errnum)
    else: assert False, "not refused"
refused(errno.EINVAL, h.pread, 512, 4 << 20)
refused(errno.EINVAL, h.pread, 100, 0)
refused(errno.ENOSPC, h.pwrite, b"x" * 512, 4 << 20)
refused(errno.EINVAL, h.pwrite, b"x" * (2 << 20), 0)
refused(errno.ENOTSUP, h.zero, 512, 0, nbd.CMD_FLAG_FAST_ZERO)
h.cache(4096, 0)
h.pwrite(b"y" * 512, 512, nbd.CMD_FLAG_FUA)
assert h.pread(512, 512, nbd.CMD_FLAG_DF) == b"y" * 512
h.shutdown()
`, sh.uri())
	if _, err := exec.LookPath("nbdsh"); err != nil {
		t.Skip("SKIPPED: nbdsh is not installed, so its judgement is missing")
	}
	// As nbdsh would, but with Debian's own Python, which has its module.
	sh.peer("/usr/bin/python3", "-m", "nbd", "-c", script)
}
