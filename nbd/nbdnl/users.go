package nbdnl

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A User is one use that is made of a device, or of a partition of it.
type User struct {
	Kind string // mount, swap, holder (another block device), process, claim
	Name string // the mount point, the device or the process
}

// String is for people: "mounted on /srv".
func (u User) String() string {
	switch u.Kind {
	case "mount":
		return "mounted on " + u.Name
	case "swap":
		return "used as swap space: " + u.Name
	case "holder":
		return "part of " + u.Name
	case "process":
		return "open in " + u.Name
	}
	return u.Name
}

// ErrInUse says that somebody uses a device.
type ErrInUse struct {
	Path  string
	Users []User
}

// Error implements error.
func (e *ErrInUse) Error() string {
	words := make([]string, len(e.Users))
	for i, u := range e.Users {
		words[i] = u.String()
	}
	return fmt.Sprintf("%s is in use: %s", e.Path, strings.Join(words, ", "))
}

const (
	maxUsers = 16   // a list for people
	maxParts = 1024 // of one device, and of what is built on it
)

// Users are those who use a device or what is built on it: who mounts it in any
// namespace, swaps to it, holds it or has it open. It finds what the caller may see; what is
// not shown anywhere, such as a pool of the kernel's own file systems, shows as
// a claim.
func Users(index int) ([]User, error) {
	users, err := system.users(index)
	if err != nil || len(users) > 0 {
		return users, err
	}
	claim, err := claim(index)
	if errors.Is(err, unix.EBUSY) {
		return []User{{"claim", "claimed by the kernel"}}, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, claim.Close()
}

// Mounts are the mount points, in the caller's namespace, of a device and of what
// is built on it.
func Mounts(index int) ([]string, error) { return system.mounts(index) }

func (d devices) mounts(index int) ([]string, error) {
	parts, _, err := d.parts(index)
	if err != nil {
		return nil, err
	}
	var points []string
	for _, u := range mounts(filepath.Join(d.proc, "self/mountinfo"), parts) {
		points = append(points, UnescapeMount(u.Name))
	}
	return points, nil
}

// UnescapeMount is a path that is written as in /proc/mounts: blanks and the like
// are octal, \040.
func UnescapeMount(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if len(s) >= 4 && s[0] == '\\' {
			if n, err := strconv.ParseUint(s[1:4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

// part is the device, a partition of it, or a device that is built on one.
type part struct {
	paths  []string // /dev/nbd0p1; /dev/dm-3 and /dev/mapper/vg-lv
	number string   // its major:minor
}

func (p part) is(path string) bool { return slices.Contains(p.paths, path) }

func (d devices) users(index int) ([]User, error) {
	parts, users, err := d.parts(index)
	if err != nil {
		return nil, err
	}
	users = append(users, d.swaps(parts)...)
	processes, err := filepath.Glob(filepath.Join(d.proc, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, p := range processes {
		if namespace, err := os.Readlink(filepath.Join(p, "ns/mnt")); err == nil && !seen[namespace] {
			seen[namespace] = true
			users = append(users, mounts(filepath.Join(p, "mountinfo"), parts)...)
		}
		if len(users) < maxUsers && opens(p, parts) {
			users = append(users, User{"process", processName(p)})
		}
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.String(), b.String()) })
	users = slices.Compact(users)
	return users[:min(len(users), maxUsers)], nil
}

// parts lists the device, its partitions and all that is built on them, and what
// that is.
func (d devices) parts(index int) (parts []part, holders []User, err error) {
	disk := filepath.Join(d.sys, "block", Name(index))
	partitions, err := filepath.Glob(filepath.Join(disk, Name(index)+"p[0-9]*"))
	if err != nil {
		return nil, nil, err
	}
	folders := append([]string{disk}, partitions...)
	for i := 0; i < len(folders) && i < maxParts; i++ {
		folder := folders[i]
		number, err := os.ReadFile(filepath.Join(folder, "dev"))
		if err != nil {
			return nil, nil, err
		}
		p := part{
			paths:  []string{filepath.Join(d.dev, filepath.Base(folder))},
			number: strings.TrimSpace(string(number)),
		}
		if name, err := os.ReadFile(filepath.Join(folder, "dm/name")); err == nil {
			p.paths = append(p.paths, filepath.Join(d.dev, "mapper", strings.TrimSpace(string(name))))
		}
		parts = append(parts, p)
		held, err := filepath.Glob(filepath.Join(folder, "holders", "*"))
		if err != nil {
			return nil, nil, err
		}
		for _, h := range held {
			holders = append(holders, User{"holder", filepath.Base(h)})
			above := filepath.Join(d.sys, "block", filepath.Base(h))
			if _, err := os.Stat(filepath.Join(above, "dev")); err == nil &&
				!slices.Contains(folders, above) {
				folders = append(folders, above)
			}
		}
	}
	return parts, holders, nil
}

func (d devices) swaps(parts []part) []User {
	var users []User
	eachLine(filepath.Join(d.proc, "swaps"), func(fields []string) {
		if slices.ContainsFunc(parts, func(p part) bool { return p.is(fields[0]) }) {
			users = append(users, User{"swap", fields[0]})
		}
	})
	return users
}

// mounts looks through a mountinfo (proc(5)): the number of the mounted device
// is the third field, its path the one after next to a lone dash. A file system
// of several devices has a number of its own.
func mounts(file string, parts []part) []User {
	var users []User
	eachLine(file, func(fields []string) {
		dash := slices.Index(fields, "-")
		if dash < 5 || dash+2 >= len(fields) {
			return
		}
		if slices.ContainsFunc(parts, func(p part) bool {
			return p.number == fields[2] || p.is(fields[dash+2])
		}) {
			users = append(users, User{"mount", fields[4]})
		}
	})
	return users
}

func eachLine(file string, fn func(fields []string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 {
			fn(fields)
		}
	}
}

// opens tells whether a process has a descriptor of the device. Only links are
// read: to look at the file itself could wait for the device.
func opens(process string, parts []part) bool {
	entries, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return false
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(process, "fd", e.Name()))
		if err == nil && slices.ContainsFunc(parts, func(p part) bool { return p.is(target) }) {
			return true
		}
	}
	return false
}

func processName(process string) string {
	name, _ := os.ReadFile(filepath.Join(process, "comm"))
	return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), filepath.Base(process))
}

// claimTimeout is how long opening a device may take: it reads the partition
// table if that has changed, and there may be nobody to answer.
const claimTimeout = 2 * time.Second

var errClaimTimeout = fmt.Errorf("the device could not be opened within %v", claimTimeout)

// claim opens a device for nobody else to mount or build on. The error is
// unix.EBUSY if somebody has, also where to open it would wait.
func claim(index int) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(Path(index), os.O_RDONLY|unix.O_EXCL|unix.O_NONBLOCK, 0)
		done <- opened{f, err}
	}()
	timer := time.NewTimer(claimTimeout)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.f, o.err
	case <-timer.C:
		go func() {
			if o := <-done; o.err == nil {
				o.f.Close()
			}
		}()
		return nil, errClaimTimeout
	}
}
