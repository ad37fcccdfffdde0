package conformance

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server is a Target with a disk on real TCP ports, one per portal.
type server struct {
	t       *testing.T
	target  *Target
	disk    *disk
	plan    LoginPlan
	portals []string
	all     sync.WaitGroup
}

// listen serves on n portals until the test ends. Sessions may come one after the
// other; one Judge sees each.
func listen(t *testing.T, n int, keys ...string) *server {
	t.Helper()
	s := &server{t: t, disk: newDisk(), plan: LoginPlan{Answers: map[string]string{}}}
	for _, k := range keys {
		key, value, _ := strings.Cut(k, "=")
		s.plan.Answers[key] = value
	}
	s.target = NewTarget()
	s.target.Judge.Apart = true
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.portals = append(s.portals, l.Addr().String())
		s.all.Go(func() { s.accept(l) })
		t.Cleanup(func() { l.Close() })
	}
	return s
}

func (s *server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.all.Go(func() { s.serve(c) })
	}
}

// serve plays one connection from login to logout.
func (s *server) serve(c net.Conn) {
	defer c.Close()
	s.disk.mu.Lock()
	link := s.target.Open(func(b []byte) { c.Write(b) }, captured.file.Stream())
	stream := link.Tap.Number()
	captured.tests[stream] = s.t.Name()
	s.disk.mu.Unlock()
	b := make([]byte, 256<<10)
	next := func() []*PDU {
		s.disk.mu.Unlock()
		n, err := c.Read(b)
		s.disk.mu.Lock()
		if err != nil {
			return []*PDU{New(0x3f, 0, nil)} // which ends a login
		}
		link.Receive(bytes.Clone(b[:n]))
		got := link.Take()
		captured.sent[stream] = append(captured.sent[stream], got...)
		return got
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	defer func() { s.target.Judge.Lost(link.ID); link.Tap.Close() }()
	if !link.GrantLogin(s.plan, next) {
		return
	}
	for {
		for _, p := range next() {
			if p.Op() == Reject || s.disk.take(link, p) {
				return
			}
		}
	}
}

// judged ends the test: every connection has ended, and the Judge has no complaint.
func (s *server) judged() {
	s.t.Helper()
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	for _, c := range s.target.Judge.Complaints {
		s.t.Errorf("RFC 7143 section %s", c)
	}
	if len(s.target.Judge.tasks) == 0 {
		s.t.Error("no command came")
	}
}

// saw waits until a command was seen.
func (s *server) saw(op byte, what string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s.disk.mu.Lock()
		n := s.disk.seen[op]
		s.disk.mu.Unlock()
		if n > 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("no %s was seen", what)
		}
	}
}

func (s *server) url() string {
	return "iscsi://" + strings.Join(s.portals, ",") + "/" + targetName + "/5"
}

// build makes the command.
func build(t *testing.T) (braid string) {
	t.Helper()
	braid = filepath.Join(t.TempDir(), "braid")
	out, err := exec.Command("go", "build", "-o", braid, "braid/cmd/braid").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return braid
}

// command prepares a call of it.
func command(t *testing.T, braid string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(braid, args...)
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+t.TempDir())
	return cmd
}

// The built command over TCP, under the same judgement: `braid inquire`, `braid
// discover`, and a device that is written, read and flushed by an NBD client while
// writes are refused for the reasons of cases 16.4.1 to 16.4.6.
func TestBuiltCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	braid := build(t)
	for _, c := range []struct {
		name    string
		portals int
		keys    []string
	}{
		{"inquire", 1, nil},
		{"discover", 1, nil},
		{"one connection", 1, nil},
		{"digests", 1, []string{"HeaderDigest=CRC32C", "DataDigest=CRC32C"}},
		{"three connections", 3, []string{"MaxBurstLength=8192", "FirstBurstLength=4096"}},
		{"level 0, nothing unsolicited", 2, []string{"ErrorRecoveryLevel=0", "InitialR2T=Yes",
			"ImmediateData=No", "MaxOutstandingR2T=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t, c.portals, c.keys...)
			defer s.judged()
			switch c.name {
			case "inquire":
				out, err := command(t, braid, "inquire", s.url()).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "5001405001020304") {
					t.Fatalf("%v: %s", err, out)
				}
			case "discover":
				out, err := command(t, braid, "discover", s.portals[0]).CombinedOutput()
				if err != nil || !strings.Contains(string(out), targetName) {
					t.Fatalf("%v: %s", err, out)
				}
			default:
				serveDevice(t, s, braid)
			}
		})
	}
}

// serveDevice runs `braid up` and uses the device.
func serveDevice(t *testing.T, s *server, braid string) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "nbd")
	cmd := command(t, braid, "up", s.url(), "--name", "conformance", "--nbd", "unix:"+socket,
		"--control", "unix:"+filepath.Join(dir, "control"), "--initiator-name", initiatorName,
		"--nop-interval", "300ms")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	c := dialNBD(t, socket, ended)
	use(t, s, c)
	c.Close()
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("braid up: %v", err)
		}
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Error("braid up does not end")
	}
}

// use writes and reads all over the device, with refusals in between.
func use(t *testing.T, s *server, c *nbdClient) {
	t.Helper()
	want := make([]byte, len(s.disk.data))
	put := func(at, n int) {
		t.Helper()
		b := pattern(n + at/7)[at/7:]
		copy(want[at:], b)
		if e := c.do(t, 1, at, b, nil); e != 0 {
			t.Errorf("write of %d at %d: error %d", n, at, e)
		}
	}
	for i, n := range []int{512, 4096, 8192, 65536, 1 << 20, 300 << 10} {
		put(i<<20, n)
	}
	for _, r := range []refusal{
		{2, 0x0b, 0x47, 0x05}, // 16.4.1
		{2, 0x0b, 0x0c, 0x0c}, // 16.4.3
		{2, 0x0b, 0x0c, 0x0d}, // 16.4.4
		{0x08, 0, 0, 0},       // 16.4.5
	} {
		s.disk.mu.Lock()
		s.disk.script = []refusal{r}
		s.disk.mu.Unlock()
		put(6<<20, 8192)
		if e := c.do(t, 3, 0, nil, nil); e != 0 {
			t.Errorf("flush: error %d", e)
		}
	}
	got := make([]byte, len(want))
	for at := 0; at < len(got); at += 1 << 20 {
		if e := c.do(t, 0, at, nil, got[at:at+1<<20]); e != 0 {
			t.Errorf("read at %d: error %d", at, e)
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("the device has other data than was written")
	}
	s.saw(0x91, "SYNCHRONIZE CACHE(16)")
	s.saw(nopSeen, "NOP-Out") // of the idle connection
	// 16.4.6: another host has reserved the LUN. That is an answer, not a fault
	// of the path: it is given to the client.
	s.disk.mu.Lock()
	s.disk.script = []refusal{{0x18, 0, 0, 0}}
	s.disk.mu.Unlock()
	if e := c.do(t, 1, 7<<20, make([]byte, 512), nil); e == 0 {
		t.Error("a write that met a reservation ended well")
	}
}

// An nbdClient speaks just enough NBD.
type nbdClient struct{ net.Conn }

// dialNBD waits for the socket and opens its export.
func dialNBD(t *testing.T, socket string, ended chan error) *nbdClient {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; {
		c, err := net.Dial("unix", socket)
		if err == nil {
			n := &nbdClient{c}
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			n.take(t, 18)
			n.Write([]byte{0, 0, 0, 3})
			n.Write([]byte("IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"))
			n.take(t, 10)
			return n
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("braid up ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (c *nbdClient) take(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("NBD: %v", err)
	}
	return b
}

// do sends one request and gives the error of its reply.
func (c *nbdClient) do(t *testing.T, op, at int, write, read []byte) uint32 {
	t.Helper()
	q := binary.BigEndian.AppendUint32(nil, 0x25609513)
	q = binary.BigEndian.AppendUint32(q, uint32(op))
	q = append(q, "handle01"...)
	q = binary.BigEndian.AppendUint64(q, uint64(at))
	q = binary.BigEndian.AppendUint32(q, uint32(len(write)+len(read)))
	if _, err := c.Write(append(q, write...)); err != nil {
		t.Fatalf("NBD: %v", err)
	}
	e := binary.BigEndian.Uint32(c.take(t, 16)[4:])
	if e == 0 && len(read) > 0 {
		copy(read, c.take(t, len(read)))
	}
	return e
}
