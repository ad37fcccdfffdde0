package target

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	defaultWorkers = 8
	zeroChunk      = 256 << 10
)

// FileConfig is how a file becomes a Store.
type FileConfig struct {
	Path     string
	Size     uint64 // bytes; a smaller file is extended (and made), 0 takes it as it is
	ReadOnly bool
	Workers  int // operations at a time; 0 means 8

	// Post runs a function on the engine's thread, soon. It is called from
	// other goroutines.
	Post func(func(now time.Duration))
}

// File is a Store in a file or block device. Its operations are done by a few
// goroutines outside the engine and handed back through FileConfig.Post. OpFlush
// is fdatasync(2).
type File struct {
	file *os.File
	size uint64
	post func(func(now time.Duration))

	mu     sync.Mutex // guards the fields below
	wake   sync.Cond
	queue  []*Op
	closed bool

	workers sync.WaitGroup
	zeroes  []byte
}

// OpenFile opens, and where Size says so makes, the file.
func OpenFile(cfg FileConfig) (*File, error) {
	flags := os.O_RDWR
	if cfg.ReadOnly {
		flags = os.O_RDONLY
	} else if cfg.Size > 0 {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(cfg.Path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	size, err := fitFile(f, cfg)
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &File{file: f, size: size, post: cfg.Post, zeroes: make([]byte, zeroChunk)}
	s.wake.L = &s.mu
	n := cfg.Workers
	if n <= 0 {
		n = defaultWorkers
	}
	for range n {
		s.workers.Go(s.work)
	}
	return s, nil
}

// fitFile returns the size to serve, after making the file as large.
func fitFile(f *os.File, cfg FileConfig) (uint64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	size := cfg.Size
	if size == 0 {
		size = uint64(end)
	}
	if size == 0 {
		return 0, fmt.Errorf("%s is empty and no size is given", cfg.Path)
	}
	if uint64(end) < size {
		if cfg.ReadOnly {
			return 0, fmt.Errorf("%s has %d bytes, not %d", cfg.Path, end, size)
		}
		if err := f.Truncate(int64(size)); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// Size is the capacity in bytes.
func (s *File) Size() uint64 { return s.size }

// Submit queues op for a worker.
func (s *File) Submit(op *Op) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		op.Err = os.ErrClosed
		return true
	}
	s.queue = append(s.queue, op)
	s.wake.Signal()
	return false
}

// Close waits for what is queued, then closes the file.
func (s *File) Close() error {
	s.mu.Lock()
	s.closed = true
	s.wake.Broadcast()
	s.mu.Unlock()
	s.workers.Wait()
	return s.file.Close()
}

func (s *File) work() {
	for {
		op := s.next()
		if op == nil {
			return
		}
		op.Err = kind(s.do(op))
		s.post(op.Done)
	}
}

func (s *File) next() *Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		if s.closed {
			return nil
		}
		s.wake.Wait()
	}
	op := s.queue[0]
	n := copy(s.queue, s.queue[1:])
	s.queue[n] = nil
	s.queue = s.queue[:n]
	return op
}

func (s *File) do(op *Op) error {
	var err error
	switch op.Kind {
	case OpRead:
		_, err = s.file.ReadAt(op.Data, int64(op.Offset))
		return err
	case OpWrite:
		_, err = s.file.WriteAt(op.Data, int64(op.Offset))
	case OpZero:
		err = s.zero(op.Offset, op.Length)
	}
	if err == nil && (op.FUA || op.Kind == OpFlush) {
		err = s.sync()
	}
	return err
}

// kind names the errors that an initiator should be able to tell apart.
func kind(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EBADF),
		errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

func (s *File) sync() error {
	for {
		err := syscall.Fdatasync(int(s.file.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// zero punches a hole, or writes zeroes where that cannot be done.
func (s *File) zero(off, length uint64) error {
	const keepSize, punchHole = 1, 2 // fallocate(2)
	if syscall.Fallocate(int(s.file.Fd()), punchHole|keepSize, int64(off), int64(length)) == nil {
		return nil
	}
	for length > 0 {
		n := min(length, zeroChunk)
		if _, err := s.file.WriteAt(s.zeroes[:n], int64(off)); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}
