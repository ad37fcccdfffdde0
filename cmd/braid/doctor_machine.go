package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is what the doctor looks at. In a test it is made of a folder and a
// few values.
type machine struct {
	root     string // the folder that stands for /
	release  string // uname -r
	user     int    // effective user id
	rights   uint64 // effective capabilities, one bit each
	memlock  uint64 // most bytes that may be locked in memory
	threads  bool   // all threads of the process can be reached
	stateDir string
	runDir   string

	devices func() map[string][]string // exports of each running device, by name
	run     func(name string, args ...string) (string, error)
}

func thisMachine(ctx context.Context) (*machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, os.NewSyscallError("uname", err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	m := &machine{
		root:    "/",
		release: unix.ByteSliceToString(name.Release[:]),
		user:    os.Geteuid(),
		devices: func() map[string][]string { return servedDevices(ctx) },
		run: func(name string, args ...string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, name, args...).Output()
			return string(out), err
		},
	}
	if m.rights, err = effectiveCapabilities(string(status)); err != nil {
		return nil, err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	m.memlock = limit.Max
	_, _, errno := syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0)
	m.threads = errno == 0
	m.stateDir, m.runDir = m.folders()
	return m, nil
}

// folders are where state and sockets are kept, not made if they are not there.
func (m *machine) folders() (state, run string) {
	state = "/var/lib/braid"
	if m.user != 0 {
		base := os.Getenv("XDG_STATE_HOME")
		if home, err := os.UserHomeDir(); base == "" && err == nil {
			base = filepath.Join(home, ".local", "state")
		}
		state = filepath.Join(base, "braid")
	}
	run, err := runtimeFolder()
	if err != nil {
		run = ""
	}
	return state, run
}

// effectiveCapabilities reads them in a process's status, proc(5).
func effectiveCapabilities(status string) (uint64, error) {
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, errors.New("no CapEff in the status of a process")
}

// servedDevices asks the daemons that run what they serve.
func servedDevices(ctx context.Context) map[string][]string {
	served := make(map[string][]string)
	names, err := runningDevices()
	if err != nil {
		return served
	}
	for _, name := range names {
		if s, err := askStatus(ctx, name); err == nil {
			served[s.Name] = s.Exports
		}
	}
	return served
}

// askTime is how long a daemon may take to tell its status. One that works
// answers in a millisecond.
const askTime = 2 * time.Second

func askStatus(ctx context.Context, name string) (Status, error) {
	path, err := controlPath(name)
	if err != nil {
		return Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s, _, err := newControlClient(name, path).status(ctx)
	return s, err
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

// text is what is in a file, without blanks around it; empty if it cannot be
// read.
func (m *machine) text(name string) string {
	data, err := readPseudo(m.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number is a number at the start of a file; false if there is none.
func (m *machine) number(name string) (int64, bool) {
	fields := strings.Fields(m.text(name))
	if len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	return n, err == nil
}

func (m *machine) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

// glob gives names below the root, in order.
func (m *machine) glob(pattern string) []string {
	found, err := filepath.Glob(m.path(pattern))
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(found))
	for _, f := range found {
		name, err := filepath.Rel(m.root, f)
		if err == nil {
			names = append(names, "/"+name)
		}
	}
	return names
}

func (m *machine) may(capability int) bool { return m.rights&(1<<capability) != 0 }

func (m *machine) mayLock() bool {
	return m.may(unix.CAP_IPC_LOCK) || m.memlock == math.MaxUint64
}

// kernel is the version's first two numbers, 6 and 1 of 6.1.0-37-amd64.
func (m *machine) kernel() (major, minor int, err error) {
	if _, err := fmt.Sscanf(m.release, "%d.%d", &major, &minor); err != nil {
		return 0, 0, fmt.Errorf("kernel release %q: %w", m.release, err)
	}
	return major, minor, nil
}

// readPseudo reads a file of /proc, /sys or /etc, at most a mebibyte of it.
// Those of the kernel say that they are empty.
func readPseudo(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfigSize || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not what belongs there", path)
	}
	return os.ReadFile(path)
}
