package nbdnl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/pmorjan/kmod"
	"golang.org/x/sys/unix"
)

// Load loads the kernel's NBD driver if it is not there yet.
func Load() error {
	if _, err := os.Stat("/sys/module/nbd"); err == nil {
		return nil
	}
	k, err := kmod.New(kmod.SetInitFunc(initModule))
	if err == nil {
		err = k.Load("nbd", "", 0)
	}
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w, and there is no module of it for this kernel: %w", ErrNoDriver, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: to load it needs root (modprobe nbd): %w", ErrNoDriver, err)
	}
	// A kernel that cannot unpack its modules itself leaves that to this tool.
	if tool, missing := exec.LookPath("modprobe"); missing == nil {
		out, failed := exec.Command(tool, "nbd").CombinedOutput()
		if failed == nil {
			return nil
		}
		err = fmt.Errorf("%w; modprobe: %s", err, strings.TrimSpace(string(out)))
	}
	return fmt.Errorf("%w: %w", ErrNoDriver, err)
}

// initModule hands a module's file to the kernel, which unpacks it if it has
// to: MODULE_INIT_COMPRESSED_FILE, since Linux 5.17.
func initModule(path, params string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".ko") {
		flags |= unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), params, flags)
}
