//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is for what should come soon, on a busy machine. A session that was lost
	// may be tried again after half a minute only.
	patience = 60 * time.Second

	tick    = 20 * time.Millisecond // between looks at what cannot be waited for
	lastLog = 16 << 10              // bytes of a child's output that a failure shows
	longest = 120 * time.Second     // that any one client may take
)

// spawn runs a function on a thread that lives as long as the test binary:
// children are told by the kernel when the thread that started them ends.
var spawn = func() func(func()) {
	todo := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range todo {
			f()
		}
	}()
	return func(f func()) {
		done := make(chan struct{})
		todo <- func() { f(); close(done) }
		<-done
	}
}()

// A child is a process that a test started. It ends with the test.
type child struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser // nil unless it was asked for
	stdout *output
	all    *output // standard output and standard error together
	exited chan struct{}
}

// tool finds a program, also where root's lie. Without it the test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, folder := range []string{"/usr/sbin/", "/sbin/"} {
		if _, err := os.Stat(folder + name); err == nil {
			return folder + name
		}
	}
	t.Skipf("SKIPPED, NOTHING WAS TESTED: %s is not installed", name)
	return ""
}

// tempDir makes a folder that goes with the test. Its path is short, for sockets
// lie there, and has no comma, which ends a path for some.
func tempDir(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "braid-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// command prepares a child of the test.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = tempDir(t)
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts a child and sees to its end.
func start(t *testing.T, name string, cmd *exec.Cmd, withStdin bool) *child {
	t.Helper()
	c := &child{t: t, name: name, cmd: cmd, exited: make(chan struct{}),
		stdout: newOutput(), all: newOutput()}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(c.stdout, c.all), c.all
	if withStdin {
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.stdin = in
	}
	var err error
	spawn(func() { err = cmd.Start() })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		cmd.Wait()
		close(c.exited)
		c.stdout.end()
		c.all.end()
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("%s (%v) said:\n%s", name, cmd.ProcessState, c.all.tail())
		}
	})
	return c
}

// signal sends a signal, to this child only.
func (c *child) signal(s os.Signal) { c.cmd.Process.Signal(s) }

// kill ends the child at once.
func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.exited
}

func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// code waits for the child's end and gives its exit code.
func (c *child) code(within time.Duration) int {
	c.t.Helper()
	select {
	case <-c.exited:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		c.t.Fatalf("%s has not ended within %v", c.name, within)
		return -1
	}
}

// say writes a line to the child's standard input.
func (c *child) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		c.t.Fatalf("%s does not listen: %v", c.name, err)
	}
}

// run runs a client to its end and gives its output. It may not fail.
func runTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := start(t, name, command(t, tool(t, name), args...), false)
	if code := c.code(longest); code != 0 {
		t.Fatalf("%s %s: exit code %d", name, strings.Join(args, " "), code)
	}
	return c.stdout.text()
}

// An output collects what a child writes and wakes who waits for it.
type output struct {
	mu      sync.Mutex
	data    bytes.Buffer
	changed chan struct{} // closed and replaced by every write
	ended   bool
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.String()
}

func (o *output) tail() string {
	s := o.text()
	if len(s) > lastLog {
		s = "...\n" + s[len(s)-lastLog:]
	}
	return s
}

// await waits until good likes what was written. It returns an error when the
// time or the child ends before that.
func (o *output) await(within time.Duration, good func(text string) bool) error {
	late := time.After(within)
	for {
		o.mu.Lock()
		text, ended, changed := o.data.String(), o.ended, o.changed
		o.mu.Unlock()
		if good(text) {
			return nil
		}
		if ended {
			return fmt.Errorf("it has ended")
		}
		select {
		case <-changed:
		case <-late:
			return fmt.Errorf("not within %v", within)
		}
	}
}

// eventually waits for something that sends no event, and says what it was if
// that does not come.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	late := time.Now().Add(within)
	for !cond() {
		if time.Now().After(late) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(tick)
	}
}
