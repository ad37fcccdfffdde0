package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A child is a braid that the demonstration runs as a process of its own.
type child struct {
	what  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of its standard output
	said  tail        // the end of its standard error
}

// startChild runs this program again. It ends with the context, in order.
func startChild(ctx context.Context, what string, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{what: what, cmd: exec.CommandContext(ctx, self, args...),
		lines: make(chan string, 16)}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = &c.said
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = 15 * time.Second
	// Of its own process group: Ctrl-C reaches the demonstration only, which
	// ends its children in the right order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c, nil
}

// line waits for the next line of output.
func (c *child) line(ctx context.Context) (string, error) {
	select {
	case l, ok := <-c.lines:
		if !ok {
			return "", fmt.Errorf("the %s ended: %s", c.what, c.said.last())
		}
		return l, nil
	case <-ctx.Done():
		return "", fmt.Errorf("the %s: %w: %s", c.what, ctx.Err(), c.said.last())
	}
}

// words waits for the line that says that it is ready, and gives what is in it.
func (c *child) words(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	l, err := c.line(ctx)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(l)
	if len(words) < 3 || words[0] != "ready" {
		return nil, fmt.Errorf("the %s said %q instead of being ready", c.what, l)
	}
	return words[1:], nil
}

// fault has the target do a fault, and waits until it is done.
func (c *child) fault(ctx context.Context, what string) error {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := c.line(ctx)
	if err == nil && answer != "ok" {
		err = fmt.Errorf("fault %q: %s", what, answer)
	}
	return err
}

// stop ends it in order and waits.
func (c *child) stop() error {
	c.in.Close()
	// An error means that it has ended already, which Wait tells.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	for range c.lines {
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s: %w: %s", c.what, err, c.said.last())
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte // guarded by mu
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - tailBytes; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.data))
}

// A stage is the two processes of the demonstration: a target with two portals
// and the device over them.
type stage struct {
	folder  string
	target  *child
	device  *child
	portals []string
	socket  string
	control *controlClient
}

const (
	demoLUN  = "256MiB"
	demoName = "demo"
)

// raise starts both processes.
func raise(ctx context.Context) (s *stage, err error) {
	s = &stage{}
	if s.folder, err = os.MkdirTemp("", "braid-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lower()
		}
	}()
	s.target, err = startChild(ctx, "target", nil, "target", "--faults", "-",
		"--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--lun", "1=ram:"+demoLUN,
		"--write-cache", "nexus", "--log-level", "error")
	if err != nil {
		return s, err
	}
	words, err := s.target.words(ctx)
	if err != nil {
		return s, err
	}
	name := words[0]
	s.portals = words[1:]
	s.socket = filepath.Join(s.folder, "nbd.sock")
	control := filepath.Join(s.folder, "control.sock")
	args := []string{"up", "--name", demoName, "--nbd", "unix:" + s.socket,
		"--control", "unix:" + control, "--nop-interval", "1s", "--nop-timeout", "1s",
		"--log-level", "error",
		"--initiator-name", fmt.Sprintf("%sdemo-%d", ownNames, os.Getpid())}
	for _, p := range s.portals {
		args = append(args, fmt.Sprintf("iscsi://%s/%s/1", p, name))
	}
	env := []string{"STATE_DIRECTORY=" + s.folder, "RUNTIME_DIRECTORY=" + s.folder}
	if s.device, err = startChild(ctx, "device", env, args...); err != nil {
		return s, err
	}
	if _, err = s.device.words(ctx); err != nil {
		return s, err
	}
	s.control = newControlClient(demoName, control)
	return s, nil
}

// lower ends both, the device first, which flushes and logs out.
func (s *stage) lower() error {
	var first error
	for _, c := range []*child{s.device, s.target} {
		if c == nil {
			continue
		}
		if err := c.stop(); first == nil {
			first = err
		}
	}
	os.RemoveAll(s.folder)
	return first
}

func (s *stage) status(ctx context.Context) (Status, error) {
	st, _, err := s.control.status(ctx)
	return st, err
}

// until asks for the status until it is as wanted.
func (s *stage) until(ctx context.Context, what string, wanted func(Status) bool) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		st, err := s.status(ctx)
		if err == nil && wanted(st) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("waited 30s in vain until %s (%v)", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
