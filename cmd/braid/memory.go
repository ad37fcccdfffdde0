package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// baseMemory is what the Go heap may grow to before it is collected
	// eagerly. The pool's books and the ledger grow with the pool.
	baseMemory     = 256 << 20
	memoryOfBuffer = 64 // one byte of books for so many of the pool

	neverKilled = -1000 // oom_score_adj, proc(5)

	// flusherFlag is PF_MEMALLOC_NOIO, which PR_SET_IO_FLUSHER gives a thread,
	// in the ninth field of /proc/PID/stat.
	flusherFlag = 0x00080000
)

// A protection is one thing that keeps the process going when memory is short:
// what would free the memory may be waiting for the very device that it serves.
type protection struct {
	does   string // completes "without it ..."
	remedy string
	apply  func() error
}

var protections = []protection{
	{"the process may be killed when memory is short", "OOMScoreAdjust=-1000 in the unit, or root",
		forbidKilling},
	{"the process may be paged out, and then wait for the device that it serves",
		"LimitMEMLOCK=infinity in the unit, ulimit -l unlimited, or CAP_IPC_LOCK", lockMemory},
	{"an allocation of the process may wait for the device that it serves",
		"CAP_SYS_RESOURCE, and a build with CGO_ENABLED=0", becomeFlusher},
}

// protect does all that can be done, and says what could not. It is for a
// process that serves a device of the kernel; pool is the size of its buffers.
func protect(pool int64, log func(slog.Level, string, ...any)) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(pool))
	}
	for _, p := range protections {
		if err := p.apply(); err != nil {
			log(slog.LevelWarn, "not protected from a shortage of memory", "risk", p.does,
				"because", err, "remedy", p.remedy)
		}
	}
}

func memoryLimit(pool int64) int64 { return baseMemory + pool/memoryOfBuffer }

// forbidKilling takes the process out of the choice of the out-of-memory killer.
func forbidKilling() error {
	const file = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if score, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil &&
		score == neverKilled {
		return nil
	}
	return os.WriteFile(file, strconv.AppendInt(nil, neverKilled, 10), 0)
}

// lockMemory keeps every page in memory once it has been used. It is not tried
// under a limit: each later allocation beyond that would fail.
func lockMemory() error {
	if !capable(unix.CAP_IPC_LOCK) {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		if limit.Max != math.MaxUint64 {
			return fmt.Errorf("only %s may be locked in memory", bytesShort(limit.Max))
		}
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	return os.NewSyscallError("mlockall", err)
}

var errNotAllThreads = errors.New("a thread is left out")

// becomeFlusher tells the kernel that its own I/O may depend on every thread of
// this process: PR_SET_IO_FLUSHER, prctl(2). Threads that are made later
// inherit it.
func becomeFlusher() error {
	_, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0, 0)
	switch errno {
	case 0:
	case syscall.ENOTSUP:
		return errors.New("this program was built with cgo, and cannot reach its threads")
	default:
		return os.NewSyscallError("prctl PR_SET_IO_FLUSHER", errno)
	}
	return eachThread("/proc/self/task", func(flags uint64) error {
		if flags&flusherFlag == 0 {
			return errNotAllThreads
		}
		return nil
	})
}

// eachThread calls fn with the flags of each thread. One that ends meanwhile is
// left out.
func eachThread(tasks string, fn func(flags uint64) error) error {
	files, err := filepath.Glob(filepath.Join(tasks, "*", "stat"))
	if err != nil {
		return err
	}
	seen := 0
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return err
		}
		flags, err := threadFlags(stat)
		if err == nil {
			err = fn(flags)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		seen++
	}
	if seen == 0 {
		return fmt.Errorf("no thread found in %s", tasks)
	}
	return nil
}

// threadFlags reads the flags in a thread's stat, proc(5). The name before them
// is in parentheses and may hold anything, more of those included.
func threadFlags(stat []byte) (uint64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const flags = 6 // after state, ppid, pgrp, session, tty_nr, tpgid
	if len(fields) <= flags {
		return 0, fmt.Errorf("%q is no stat of a thread", stat)
	}
	return strconv.ParseUint(string(fields[flags]), 10, 64)
}

// capable tells whether the process has a capability, capabilities(7).
func capable(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[number/32].Effective&(1<<(number%32)) != 0
}

// kernelDevice tells whether a device of the kernel is to be served.
func (c *Config) kernelDevice() bool {
	return slices.ContainsFunc(c.NBD, func(e Export) bool { return e.Network == "nbd" })
}
