//go:build guest

package nbdnl

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"braid/internal/loop"
	"braid/nbd"
)

// A ram is a device in memory: a file on a tmpfs, mapped, so that it outlives
// the process that serves it. Every request is answered a little later.
type ram struct {
	data  []byte
	info  nbd.Info
	delay time.Duration
	queue []waiting
	stats [8]atomic.Int64 // requests by nbd.Op
}

type waiting struct {
	r  *nbd.Request
	at time.Duration
}

func (d *ram) Info() nbd.Info { return d.info }

func (d *ram) Submit(now time.Duration, r *nbd.Request) {
	d.stats[r.Op].Add(1)
	d.queue = append(d.queue, waiting{r, now + d.delay})
}

func (d *ram) execute(r *nbd.Request) {
	switch r.Op {
	case nbd.Trim, nbd.WriteZeroes:
		clear(d.data[r.Offset : r.Offset+r.Length])
	case nbd.Read, nbd.Write:
		at := r.Offset
		for _, b := range r.Data {
			if r.Op == nbd.Read {
				copy(b, d.data[at:])
			} else {
				copy(d.data[at:], b)
			}
			at += uint64(len(b))
		}
	}
}

// rig serves a ram to kernel clients on a loop of its own.
type rig struct {
	loop   *loop.Loop
	server *nbd.Server
	ram    *ram
	conns  []*kernelConn
}

type kernelConn struct {
	*nbd.Conn
	sock loop.Socket
	gone chan struct{}
}

func (c *kernelConn) Closed(now time.Duration, err error) {
	c.Conn.Closed(now, err)
	close(c.gone)
}

func newRig(file string, size int64, delay time.Duration) (*rig, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	pool, err := loop.NewPool(256 << 20)
	if err != nil {
		return nil, err
	}
	g := &rig{ram: &ram{data: data, delay: delay}}
	g.ram.info = nbd.Info{Size: uint64(size), MinBlock: 512, Trim: true, ZeroFast: true}
	g.server = nbd.NewServer(nbd.ServerConfig{Device: g.ram, Pool: pool, MaxInFlight: 64 << 20,
		MaxInFlightAll: 192 << 20, MaxClients: 4, Log: logTo(os.Stderr)})
	if g.loop, err = loop.New(loop.Config{}); err != nil {
		return nil, err
	}
	go g.loop.Run(g)
	return g, nil
}

func logTo(f *os.File) func(slog.Level, string, ...any) {
	l := slog.New(slog.NewTextHandler(f, nil))
	return func(level slog.Level, msg string, args ...any) {
		l.Log(context.Background(), level, msg, args...)
	}
}

// Step implements loop.Driver.
func (g *rig) Step(now time.Duration) time.Duration {
	g.server.Tick(now)
	for again := true; again; {
		n := 0
		for n < len(g.ram.queue) && g.ram.queue[n].at <= now {
			q := g.ram.queue[n]
			g.ram.execute(q.r)
			q.r.Conn().Complete(now, q.r)
			n++
		}
		g.ram.queue = g.ram.queue[n:]
		again = g.server.Resume(now)
	}
	var kept []*kernelConn
	for _, c := range g.conns {
		switch {
		case c.State() == "closed":
			continue
		case c.Finished():
			c.sock.Close(c.Err() != nil)
			c.Closed(now, c.Err())
			continue
		case c.HasOutput() || c.Resumed():
			c.sock.Kick()
		}
		kept = append(kept, c)
	}
	g.conns = kept
	next := g.server.Deadline()
	if len(g.ram.queue) > 0 {
		next = min(next, g.ram.queue[0].at)
	}
	return next
}

func (g *rig) serve(fd int) (<-chan struct{}, error) {
	gone := make(chan struct{})
	g.loop.Post(func(now time.Duration) {
		c := &kernelConn{Conn: g.server.AcceptKernel(now), gone: gone}
		if c.Conn == nil {
			unix.Close(fd)
			close(gone)
			return
		}
		c.sock = g.loop.Adopt(fd, c)
		g.conns = append(g.conns, c)
	})
	return gone, nil
}

// cut ends every connection, as if the process had died.
func (g *rig) cut() {
	g.loop.Post(func(now time.Duration) {
		for _, c := range g.conns {
			c.sock.Close(true)
			c.Closed(now, nil)
		}
		g.conns = nil
	})
}

// cutOne ends the oldest connection.
func (g *rig) cutOne() {
	g.loop.Post(func(now time.Duration) {
		g.conns[0].sock.Close(true)
		g.conns[0].Closed(now, nil)
		g.conns = g.conns[1:]
	})
}

const (
	diskSize = 192 << 20
	backend  = "naa.60014057b8d9e0000000000000000001"
)

func (g *rig) config(device string) Config {
	return Config{
		Device: device,
		Settings: Settings{Size: g.ram.info.Size, BlockSize: 512,
			ServerFlags: g.ram.info.TransmissionFlags(), Backend: backend, DeadTimeout: time.Hour},
		IOTimeout:  3 * time.Second,
		MaxRequest: 1 << 20,
		Serve:      g.serve,
		Log:        logTo(os.Stderr),
	}
}

// requestTimeout is how old a request may be with several sockets.
const requestTimeout = 4 * time.Second

// TestMain is the daemon of the tests as well: a process that serves a file
// until it is killed. SIGTERM makes it release the device.
func TestMain(m *testing.M) {
	file := flag.String("daemon", "", "serve this file")
	sockets := flag.Int("sockets", 1, "with so many sockets")
	flag.Parse()
	if *file == "" {
		os.Exit(m.Run())
	}
	g, err := newRig(*file, diskSize, time.Millisecond)
	if err != nil {
		panic(err)
	}
	cfg := g.config("/dev/nbd0")
	cfg.Sockets = *sockets
	if *sockets > 1 {
		cfg.Settings.Timeout = requestTimeout
	}
	a, err := Attach(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready", a.Path(), a.TakenOver())
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	a.Release()
	os.Exit(0)
}

// daemon is a process that serves file; it is killed at the end of the test.
func daemon(t *testing.T, file string, flags ...string) (process *os.Process, ready string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append(flags, "-daemon", file)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ready, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(ready)
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func newTestRig(t *testing.T) *rig {
	t.Helper()
	file := filepath.Join("/tmp", strings.ReplaceAll(t.Name(), "/", "-"))
	g, err := newRig(file, diskSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.loop.Stop()
		<-g.loop.Done()
		os.Remove(file)
	})
	return g
}

// attached is a device that the test serves itself; it is detached at the end.
func attached(t *testing.T, g *rig, device string) *Attachment {
	t.Helper()
	a, err := Attach(context.Background(), g.config(device))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if system.connected(a.Index()) {
			t.Error("connected after it was detached")
		}
	})
	return a
}
