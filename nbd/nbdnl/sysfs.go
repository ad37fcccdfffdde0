package nbdnl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Name is the device of an index: nbd0.
func Name(index int) string { return "nbd" + strconv.Itoa(index) }

// Path is its block device: /dev/nbd0.
func Path(index int) string { return "/dev/" + Name(index) }

// ParsePath is the index of a path like /dev/nbd0.
func ParsePath(path string) (int, error) {
	number, ok := strings.CutPrefix(path, "/dev/nbd")
	index, err := strconv.Atoi(number)
	if !ok || err != nil || index < 0 || index > maxIndex || path != Path(index) {
		return 0, fmt.Errorf("%q is no NBD device: want /dev/nbd0, /dev/nbd1 and so on", path)
	}
	return index, nil
}

// devices reads and writes what the kernel shows of its NBD devices in files.
type devices struct {
	sys, proc, dev string // usually /sys, /proc and /dev
}

var system = devices{"/sys", "/proc", "/dev"}

func (d devices) attribute(index int, name string) string {
	return filepath.Join(d.sys, "block", Name(index), name)
}

func (d devices) read(index int, name string) (string, error) {
	data, err := os.ReadFile(d.attribute(index, name))
	return strings.TrimSuffix(string(data), "\n"), err
}

// connected tells whether a device has sockets, living or dead.
func (d devices) connected(index int) bool {
	_, err := os.Stat(d.attribute(index, "pid"))
	return err == nil
}

// backend is what a device was made for, empty if that was not said.
func (d devices) backend(index int) (string, error) {
	s, err := d.read(index, "backend")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return s, err
}

// find is the connected device that was made for a backend; -1 if there is none.
func (d devices) find(backend string) (int, error) {
	paths, err := filepath.Glob(filepath.Join(d.sys, "block", "nbd*", "backend"))
	if err != nil {
		return -1, err
	}
	slices.Sort(paths)
	for _, p := range paths {
		index, err := ParsePath("/dev/" + filepath.Base(filepath.Dir(p)))
		if err != nil || !d.connected(index) {
			continue
		}
		if s, err := d.backend(index); err == nil && s == backend {
			return index, nil
		}
	}
	return -1, nil
}

// sockets is how many a connected device was made with: the driver makes a queue
// for each, but no more than there are processors.
func (d devices) sockets(index int) (int, error) {
	queues, err := os.ReadDir(d.attribute(index, "mq"))
	if err == nil && len(queues) == 0 {
		err = fmt.Errorf("%s has no queue", Path(index))
	}
	return len(queues), err
}

// size is in bytes; sysfs counts in sectors of 512.
func (d devices) size(index int) (uint64, error) {
	s, err := d.read(index, "size")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 54)
	return n << 9, err
}

// setIOTimeout sets how often a request's timer ticks. The value stays with the
// index from one use to the next, so it is set at each.
func (d devices) setIOTimeout(index int, t time.Duration) error {
	return d.write(index, "queue/io_timeout", t.Milliseconds())
}

// setMaxRequest sets the largest READ or WRITE, in bytes. The driver takes 32 MiB,
// but asks for no more than 128 KiB unless it is told to.
func (d devices) setMaxRequest(index, bytes int) error {
	return d.write(index, "queue/max_sectors_kb", int64(bytes>>10))
}

func (d devices) write(index int, name string, value int64) error {
	return os.WriteFile(d.attribute(index, name), strconv.AppendInt(nil, value, 10), 0)
}
