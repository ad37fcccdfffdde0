package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestThreadFlags(t *testing.T) {
	const rest = " S 1 2 3 0 -1 4718976 10 0 0 0 1 2"
	for _, stat := range []string{"12 (braid)" + rest, "12 (a) R 1 (b)" + rest, "12 ( )) )" + rest} {
		flags, err := threadFlags([]byte(stat))
		if err != nil || flags != 4718976 {
			t.Errorf("%q: %d, %v", stat, flags, err)
		}
	}
	for _, stat := range []string{"", "12 (braid)", "12 (braid) S 1 2 3 0 -1",
		"1 (b) S 1 2 3 0 -1 x"} {
		if flags, err := threadFlags([]byte(stat)); err == nil {
			t.Errorf("%q: %d, no error", stat, flags)
		}
	}
}

func TestEachThread(t *testing.T) {
	seen := 0
	if err := eachThread("/proc/self/task", func(uint64) error { seen++; return nil }); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no thread")
	}
	if err := eachThread(t.TempDir(), func(uint64) error { return nil }); err == nil {
		t.Error("nothing is no error")
	}
	tasks := t.TempDir()
	for name, stat := range map[string]string{
		"1": "1 (b) S 1 2 3 0 -1 524288 0", "2": "2 (b) S 1 2 3 0 -1 64 0"} {
		if err := os.Mkdir(filepath.Join(tasks, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tasks, name, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := eachThread(tasks, func(flags uint64) error {
		if flags&flusherFlag == 0 {
			return errNotAllThreads
		}
		return nil
	})
	if !errors.Is(err, errNotAllThreads) || !strings.Contains(err.Error(), "/2/stat") {
		t.Errorf("thread 2 is left out, told: %v", err)
	}
}

// TestProtect runs each step with the rights that the test has: what it says it
// did is there, and what it could not do is told.
func TestProtect(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetMemoryLimit(before)
		unix.Munlockall()
	})
	t.Setenv("GOMEMLIMIT", "")
	told := map[string]bool{}
	protect(64<<20, func(level slog.Level, msg string, args ...any) {
		told[args[1].(string)] = true
		if level != slog.LevelWarn || len(args) != 6 || args[5] == "" {
			t.Errorf("%v %s %v", level, msg, args)
		}
	})
	if got := debug.SetMemoryLimit(-1); got != memoryLimit(64<<20) {
		t.Errorf("memory limit %d", got)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	locked := !strings.Contains(string(status), "VmLck:\t       0 kB")
	if locked == told[protections[1].does] {
		t.Errorf("locked %v, told of %v:\n%s", locked, told, status)
	}
	flusher := eachThread("/proc/self/task", func(flags uint64) error {
		if flags&flusherFlag == 0 {
			return errNotAllThreads
		}
		return nil
	}) == nil
	if flusher == told[protections[2].does] {
		t.Errorf("flusher %v, told of %v", flusher, told)
	}
}

func TestMemoryLimit(t *testing.T) {
	if got := memoryLimit(0); got != baseMemory {
		t.Error(got)
	}
	if got := memoryLimit(maxRetain + poolExtra); got <= baseMemory || got == math.MaxInt64 {
		t.Error(got)
	}
}

func TestCapable(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	effective, err := effectiveCapabilities(string(status))
	if err != nil {
		t.Fatal(err)
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if capable(c) != (effective&(1<<c) != 0) {
			t.Errorf("capability %d: %v", c, capable(c))
		}
	}
}
