//go:build guest

package vmtest

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"braid/iscsi"
)

const (
	program = "/in/braid"
	name    = "disk"
	device  = "/dev/nbd0"

	// stopTime is what an orderly end may take, with what an emulated machine
	// adds.
	stopTime = 20 * time.Second

	// patience is for what comes by itself. A session that was lost may be tried again
	// after half a minute only.
	patience = 90 * time.Second
)

// A daemon is a running `braid up`.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready string // the line that says so
	ended chan error
}

// up starts a daemon and waits until it is ready.
func up(t *testing.T, urls []string, flags ...string) *daemon {
	t.Helper()
	args := append([]string{"up", "--name", name, "--nbd", device}, urls...)
	d := &daemon{t: t, cmd: exec.Command(program, append(args, flags...)...),
		ended: make(chan error, 1)}
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	must(t, err)
	must(t, d.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { d.ended <- d.cmd.Wait() }()
	t.Cleanup(func() { d.cmd.Process.Kill() })
	if err != nil {
		t.Fatalf("braid up: no line, but %v and exit %v", err, <-d.ended)
	}
	if d.ready = strings.TrimSpace(line); d.ready != "ready "+name+" "+device {
		t.Fatalf("braid up says %q", d.ready)
	}
	return d
}

// kill ends the daemon without a chance to do anything.
func (d *daemon) kill() {
	d.t.Helper()
	must(d.t, d.cmd.Process.Kill())
	<-d.ended
}

// stop ends the daemon in good order.
func (d *daemon) stop() {
	d.t.Helper()
	must(d.t, d.cmd.Process.Signal(syscall.SIGTERM))
	d.awaitEnd()
}

func (d *daemon) awaitEnd() {
	d.t.Helper()
	select {
	case err := <-d.ended:
		if err != nil {
			d.t.Errorf("the daemon ended with %v", err)
		}
	case <-time.After(stopTime):
		d.t.Fatalf("the daemon has not ended after %v", stopTime)
	}
}

// down is `braid down`; its error holds what it said.
func (d *daemon) down() (said string, err error) { return runDown(name) }

func runDown(args ...string) (said string, err error) {
	out, err := exec.Command(program, append([]string{"down"}, args...)...).CombinedOutput()
	return string(out), err
}

type status struct {
	WWID  string
	State string
	Paths []struct {
		State       string
		Writes      uint64
		Failovers   uint64
		Recovery    iscsi.Counters
		Connections []struct{ State string }
	}
	Exports []string
	Flushes struct{ Rounds, Failed uint64 }
}

func (d *daemon) status() status {
	d.t.Helper()
	out, err := exec.Command(program, "status", name, "-o", "json").Output()
	must(d.t, err)
	var s status
	must(d.t, json.Unmarshal(out, &s))
	return s
}

// awaitPaths waits until there are so many active paths, each with so many
// connections.
func (d *daemon) awaitPaths(paths, connections int) status {
	d.t.Helper()
	var s status
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		s = d.status()
		active := 0
		for _, p := range s.Paths {
			up := 0
			for _, c := range p.Connections {
				if c.State == "up" {
					up++
				}
			}
			if p.State == "active" && up == connections {
				active++
			}
		}
		if active == paths {
			return s
		}
		time.Sleep(200 * time.Millisecond)
	}
	d.t.Fatalf("no %d active paths of %d connections: %+v", paths, connections, s)
	return s
}

// connected tells whether the kernel has the device.
func connected() bool {
	_, err := os.Stat("/sys/block/nbd0/pid")
	return err == nil
}
