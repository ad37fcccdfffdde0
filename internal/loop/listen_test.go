package loop

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen serves clients with streams of the test's making.
func (r *rig) listen(network, address string, accept Acceptor) (Listener, error) {
	var ln Listener
	var err error
	r.do(func() { ln, err = r.l.Listen(network, address, accept) })
	return ln, err
}

func echoing(now time.Duration, sock Socket) Stream {
	p := newPeer()
	p.sock, p.echo = sock, true
	return p
}

func dialTest(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	abstract := fmt.Sprintf("@loop-test-%d", os.Getpid())
	for _, tt := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp", "localhost:0"}, {"tcp", ":0"},
		{"unix", path}, {"unix", abstract},
	} {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			r := newRig(t, Config{})
			ln, err := r.listen(tt.network, tt.address, echoing)
			if err != nil {
				t.Fatal(err)
			}
			address := ln.Address()
			_, port, _ := net.SplitHostPort(address)
			if tt.address == ":0" {
				address = "127.0.0.1:" + port
			}
			for range 3 * acceptShare {
				conn := dialTest(t, tt.network, address)
				conn.Write([]byte("ping"))
				mustRead(t, conn, []byte("ping"))
			}
			r.do(ln.Close)
			r.do(ln.Close)
			if _, err := net.Dial(tt.network, address); err == nil {
				t.Error("still listening after Close")
			}
		})
	}
}

func TestListenTwiceAfterClose(t *testing.T) {
	r := newRig(t, Config{})
	ln, err := r.listen("tcp", "127.0.0.1:0", echoing)
	if err != nil {
		t.Fatal(err)
	}
	conn := dialTest(t, "tcp", ln.Address())
	conn.Write([]byte("x"))
	mustRead(t, conn, []byte("x"))
	if _, err := r.listen("tcp", ln.Address(), echoing); !isErrno(err, unix.EADDRINUSE) ||
		!strings.Contains(err.Error(), "another process listens there already") {
		t.Error("a busy port gives", err)
	}
	r.do(ln.Close)
	// A client of before is still connected.
	again, err := r.listen("tcp", ln.Address(), echoing)
	if err != nil {
		t.Fatal(err)
	}
	r.do(again.Close)
}

// A nil stream, and one closed within the acceptor, turn the client away.
func TestTurnAway(t *testing.T) {
	r := newRig(t, Config{})
	n := 0
	ln, err := r.listen("tcp", "127.0.0.1:0", func(_ time.Duration, s Socket) Stream {
		s.Kick()
		if n++; n == 1 {
			return nil
		}
		s.Close(false)
		return newPeer()
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustEnd(t, dialTest(t, "tcp", ln.Address()), io.EOF)
	}
	r.do(func() {
		if r.l.conns != 0 {
			t.Error("a descriptor is left")
		}
	})
}

func TestUnixSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, Config{SocketMode: 0o600})
	ln, err := r.listen("unix", path, echoing)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	_, err = r.listen("unix", path, echoing)
	want := fmt.Sprintf("(process %d) answers on it already", os.Getpid())
	if !isErrno(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), want) {
		t.Errorf("a busy socket gives %v; want %q", err, want)
	}
	conn := dialTest(t, "unix", path)
	conn.Write([]byte("still there"))
	mustRead(t, conn, []byte("still there"))
	r.do(ln.Close)
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is left after Close")
	}
}

func TestUnixStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	r := newRig(t, Config{})
	ln, err := r.listen("unix", path, echoing)
	if err != nil {
		t.Fatal(err)
	}
	// A successor's file is not ours to remove.
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r.do(ln.Close)
	if _, err := os.Lstat(path); err != nil {
		t.Error("another's file was removed")
	}
}

func TestListenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	// Bound, never listening: nobody answers, but the process may yet listen.
	silent := fmt.Sprintf("@loop-silent-%d", os.Getpid())
	fd, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: silent}); err != nil {
		t.Fatal(err)
	}
	// Listening, but its backlog is full.
	full := filepath.Join(dir, "full")
	busy, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	defer unix.Close(busy)
	if err := unix.Bind(busy, &unix.SockaddrUnix{Name: full}); err != nil {
		t.Fatal(err)
	}
	unix.Listen(busy, 0)
	dialTest(t, "unix", full)
	r := newRig(t, Config{})
	for _, tt := range []struct{ network, address, want string }{
		{"unix", full, "a process that does not accept its clients has it"},
		{"udp", "127.0.0.1:1", "listen on udp 127.0.0.1:1: unknown network"},
		{"unix", "", "the path is empty"},
		{"unix", file, "a file that is no socket is in the way"},
		{"unix", filepath.Join(dir, "no/dir"), "no such file or directory"},
		{"unix", filepath.Join(dir, strings.Repeat("x", 110)), "the path is too long"},
		{"unix", silent, "a process that does not listen has it"},
		{"tcp", "127.0.0.1", "missing port"},
		{"tcp", "127.0.0.1:x", `port "x" is not a number`},
		{"tcp", "192.0.2.1:0", "cannot assign requested address"},
	} {
		_, err := r.listen(tt.network, tt.address, echoing)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v; want %q", tt.network, tt.address, err, tt.want)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("a file in the way was removed")
	}
}

// Without descriptors the listener rests instead of spinning, and goes on later.
func TestAcceptWithoutDescriptors(t *testing.T) {
	r := newRig(t, Config{})
	ln, err := r.listen("tcp", "127.0.0.1:0", echoing)
	if err != nil {
		t.Fatal(err)
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	defer restore()
	few := old
	few.Cur = 0 // what is open stays open, nothing more can be opened
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	fd := ln.(*listener).fd
	sa, _ := unix.Getsockname(fd)
	if err := unix.Connect(client, sa); err != nil {
		restore()
		t.Fatal(err)
	}
	r.until("resting", func() bool { return len(r.l.paused) == 1 })
	r.mustSleep()
	restore()
	r.until("accepted", func() bool { return r.l.conns == 1 && len(r.l.paused) == 0 })
	unix.Close(client)
	r.until("ended", func() bool { return r.l.conns == 0 })
}
