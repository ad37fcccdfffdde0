package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// socketFile is the file of a listening unix socket, known by its inode so that
// a successor's file is not taken for our own. A nil *socketFile is no file.
type socketFile struct {
	path string
	dev  uint64
	ino  uint64
}

func (f *socketFile) remove() {
	if f == nil {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(f.path, &st) == nil && uint64(st.Dev) == f.dev && st.Ino == f.ino {
		unix.Unlink(f.path)
	}
}

// listenUnix binds, replacing a stale file once.
func (ln *listener) listenUnix(mode fs.FileMode) error {
	path := ln.address
	if path == "" {
		return errors.New("the path is empty")
	}
	abstract := strings.HasPrefix(path, "@")
	sa := &unix.SockaddrUnix{Name: path}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, sa)
	if errors.Is(err, unix.EADDRINUSE) {
		if err = clearStale(path, abstract); err == nil {
			err = unix.Bind(fd, sa)
		}
	}
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("the path is too long (%d bytes, 107 at most): %w", len(path), err)
	}
	if err == nil && !abstract {
		// Before listen, nobody can connect yet.
		err = ln.claimFile(path, mode)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, listenBacklog))
	}
	if err != nil {
		unix.Close(fd)
		ln.file.remove()
		return err
	}
	ln.fd = fd
	return nil
}

// claimFile sets the mode and remembers which file is ours.
func (ln *listener) claimFile(path string, mode fs.FileMode) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	ln.file = &socketFile{path: path, dev: uint64(st.Dev), ino: st.Ino}
	if mode != 0 {
		return os.Chmod(path, mode)
	}
	return nil
}

// clearStale removes a socket file that nobody listens behind. An error says why
// the address cannot be had.
func clearStale(path string, abstract bool) error {
	if !abstract {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("a file that is no socket is in the way: %w", unix.EADDRINUSE)
		}
	}
	owner, err := probe(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s answers on it already: %w", owner, unix.EADDRINUSE)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("a process that does not accept its clients has it: %w",
			unix.EADDRINUSE)
	case errors.Is(err, unix.ECONNREFUSED) && abstract:
		return fmt.Errorf("a process that does not listen has it: %w", unix.EADDRINUSE)
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, unix.ENOENT):
		return nil
	}
	return fmt.Errorf("the socket there cannot be probed: %w", err)
}

// probe connects to a unix socket and names the process that listens.
func probe(path string) (owner string, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return "", err
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return "another process", nil
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cred.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", cred.Pid), nil
	}
	return fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), cred.Pid), nil
}
