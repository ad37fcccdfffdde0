package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Lock makes this process the only one that works on a LUN of a target under
// an initiator name. Two would reinstate each other's sessions without end. It
// is an abstract unix socket, which reaches across users and dies with the
// process, and a locked file, which reaches across network namespaces and says
// who holds it.
type Lock struct {
	socket net.Listener
	file   *os.File
}

// A Holder is who has a lock.
type Holder struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// A LockedError says who works on the LUN already.
type LockedError struct {
	Target string
	LUN    uint16
	Holder Holder // zero where it is not known
}

func (e *LockedError) Error() string {
	who := "another daemon"
	if e.Holder.PID != 0 {
		who = fmt.Sprintf("process %d", e.Holder.PID)
		if e.Holder.Name != "" {
			who += fmt.Sprintf(" (device %s)", e.Holder.Name)
		}
	}
	remedy := "end it first, or use another --initiator-name"
	if e.Holder.Name != "" {
		remedy = fmt.Sprintf("end it first (braid down %s), or use another --initiator-name",
			e.Holder.Name)
	}
	return fmt.Sprintf("LUN %d of %s is in use by %s: %s", e.LUN, e.Target, who, remedy)
}

// A lockSet is the locks of one device. Its methods may be called from any goroutine.
type lockSet struct {
	folder, initiator, name string

	mu   sync.Mutex
	held map[string]*Lock
}

func newLockSet(folder, initiator, name string) *lockSet {
	return &lockSet{folder: folder, initiator: initiator, name: name, held: map[string]*Lock{}}
}

// take takes the locks of every target and LUN that the URLs name, unless it has them, and
// gives their names. After an error it has taken none.
func (s *lockSet) take(urls ...URL) (taken []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range urls {
		id := lockID(s.initiator, u)
		if s.held[id] != nil {
			continue
		}
		l, err := acquireLock(s.folder, id, Holder{os.Getpid(), s.name}, u)
		if err != nil {
			s.drop(taken)
			return nil, err
		}
		s.held[id] = l
		taken = append(taken, id)
	}
	return taken, nil
}

// release gives locks back. The files stay: removing one would let two processes lock two
// files of one name.
func (s *lockSet) release(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(ids)
}

// drop is release with mu held.
func (s *lockSet) drop(ids []string) {
	for _, id := range ids {
		if l := s.held[id]; l != nil {
			l.release()
			delete(s.held, id)
		}
	}
}

// releaseAll gives all of them back.
func (s *lockSet) releaseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(slices.Collect(maps.Keys(s.held)))
}

func lockID(initiator string, u URL) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d",
		strings.ToLower(initiator), strings.ToLower(u.Target), u.LUN))
	return fmt.Sprintf("%x", sum[:12])
}

func acquireLock(folder, id string, me Holder, u URL) (*Lock, error) {
	path := filepath.Join(folder, id+".lock")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	socket, err := net.Listen("unix", "@braid/"+id)
	if errors.Is(err, syscall.EADDRINUSE) {
		holder := readHolder(path)
		if holder.PID == 0 {
			holder.PID = socketOwner("@braid/" + id)
		}
		return nil, &LockedError{u.Target, u.LUN, holder}
	}
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", u.Target, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("lock of %s: %w", u.Target, err)
	}
	l := &Lock{socket, file}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer l.release()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{u.Target, u.LUN, readHolder(path)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	data, err := json.Marshal(me)
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(append(data, '\n'), 0)
	}
	if err != nil {
		l.release()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

func (l *Lock) release() {
	l.file.Close()
	l.socket.Close()
}

// readHolder gives what the lock file says, zero if that cannot be read.
func readHolder(path string) Holder {
	var h Holder
	data, err := readBounded(path, 4096)
	if err != nil || json.Unmarshal(data, &h) != nil {
		return Holder{}
	}
	return h
}

// socketOwner asks the kernel for the process behind an abstract socket, 0 if
// it does not tell: SO_PEERCRED, unix(7).
func socketOwner(address string) int {
	conn, err := net.Dial("unix", address)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
