package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 20 * time.Second

// A process is one that the benchmark started.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	line chan string // of standard output; only if lines were asked for
	in   io.WriteCloser
}

// start starts a program. Its standard error goes to a file, beside which braid keeps what it
// keeps.
func start(log string, lines bool, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	var err error
	if p.log, err = os.Create(log); err != nil {
		return nil, err
	}
	p.cmd.Stderr, p.cmd.WaitDelay = p.log, time.Second
	folder := filepath.Dir(log)
	p.cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+folder, "RUNTIME_DIRECTORY="+folder)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if lines {
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		p.line = make(chan string, 100)
		go func() {
			s := bufio.NewScanner(out)
			for s.Scan() {
				p.line <- s.Text()
			}
			close(p.line)
		}()
	} else {
		p.cmd.Stdout = p.log
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// await waits for a line that begins so, and gives its words.
func (p *process) await(prefix string) ([]string, error) {
	limit := time.After(patience)
	for {
		select {
		case l, ok := <-p.line:
			if !ok {
				return nil, fmt.Errorf("%s ended; see %s", p.cmd.Path, p.log.Name())
			}
			if strings.HasPrefix(l, prefix) {
				return strings.Fields(l), nil
			}
		case <-limit:
			return nil, fmt.Errorf("%s did not say %q; see %s", p.cmd.Path, prefix, p.log.Name())
		}
	}
}

func (p *process) end() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	p.cmd.Wait()
	late.Stop()
	p.log.Close()
}

// cpu is the processor time that it has used, all threads, user and system.
func (p *process) cpu() time.Duration { return cpuOf(p.cmd.Process.Pid) }

// tick is the unit of /proc/PID/stat; it is the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(text, []byte(") "))
	f := strings.Fields(string(after))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick
}

// busy is the processor time of the whole machine that was not idle, steal included.
func busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum int
	names := []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}
	for i, name := range names {
		n, err := strconv.Atoi(f[1+i])
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %s: %w", name, err)
		}
		if name != "idle" && name != "iowait" {
			sum += n
		}
	}
	return time.Duration(sum) * tick, nil
}

// resident is how much memory a process has, in bytes.
func (p *process) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}
