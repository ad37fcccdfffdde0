package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"braid/iscsi/login"
	"braid/mpath"
	"braid/nbd/nbdnl"
)

// Size is a count of bytes, written like 256MiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40},
	{"B", 1}, {"", 1},
}

// UnmarshalText reads 4096, 64KiB, 256MiB, 1GiB, 2TiB or 256M.
func (s *Size) UnmarshalText(text []byte) error {
	in := string(text)
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(in, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.factor {
			break
		}
		*s = Size(n * unit.factor)
		return nil
	}
	return fmt.Errorf("%q is not a size: write it like 256MiB or 0", in)
}

// String uses the largest unit that divides it.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		u := sizeUnits[i]
		if s != 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Duration is a time.Duration that is written with its unit.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, never a negative one.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write it like 5s, 1m30s or 0", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// NoPath is how long I/O waits when no path is left: Queue for ever, 0 not at
// all.
type NoPath time.Duration

// Queue lets I/O wait for a path as long as it takes.
const Queue NoPath = -1

// UnmarshalText reads queue, fail or a duration.
func (n *NoPath) UnmarshalText(text []byte) error {
	switch string(text) {
	case "queue":
		*n = Queue
		return nil
	case "fail":
		*n = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is none of queue, fail and a duration like 30s", text)
	}
	*n = NoPath(v)
	return nil
}

// wait is the same for the device.
func (n NoPath) wait() time.Duration {
	if n == Queue {
		return mpath.Forever
	}
	return time.Duration(n)
}

// noPathOf is what the device waits, as a setting.
func noPathOf(wait time.Duration) NoPath {
	if wait == mpath.Forever {
		return Queue
	}
	return NoPath(wait)
}

func (n NoPath) String() string {
	switch n {
	case Queue:
		return "queue"
	case 0:
		return "fail"
	}
	return time.Duration(n).String()
}

// An Export is where the device is served: a kernel device or a socket.
type Export struct {
	Network string // "unix", "tcp", or "nbd" for a kernel device
	Address string // path, HOST:PORT, or /dev/nbdN and "auto"
}

const maxSocketPath = 107 // sun_path without its final zero, unix(7)

// UnmarshalText reads /dev/nbdN, auto, unix:PATH or tcp:HOST:PORT.
func (e *Export) UnmarshalText(text []byte) error {
	in := string(text)
	switch {
	case in == "auto" || isKernelDevice(in):
		*e = Export{"nbd", in}
		return nil
	case strings.HasPrefix(in, "unix:"):
		path, err := parseSocketPath(in)
		if err != nil {
			return err
		}
		*e = Export{"unix", path}
		return nil
	case strings.HasPrefix(in, "tcp:"):
		host, port, err := net.SplitHostPort(in[len("tcp:"):])
		if err != nil || host == "" {
			return fmt.Errorf("%q: write it like tcp:127.0.0.1:10809", in)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q: port %q is not a number from 1 to 65535", in, port)
		}
		*e = Export{"tcp", net.JoinHostPort(host, port)}
		return nil
	}
	return fmt.Errorf("%q is none of /dev/nbdN, auto, unix:PATH and tcp:HOST:PORT", in)
}

func isKernelDevice(s string) bool {
	_, err := nbdnl.ParsePath(s)
	return err == nil
}

func parseSocketPath(s string) (string, error) {
	path, ok := strings.CutPrefix(s, "unix:")
	if !ok || path == "" {
		return "", fmt.Errorf("%q: write it like unix:/run/braid/NAME.sock", s)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("%q: a socket's path has at most %d bytes", s, maxSocketPath)
	}
	return path, nil
}

func (e Export) String() string {
	if e.Network == "nbd" {
		return e.Address
	}
	return e.Network + ":" + e.Address
}

// Exports is a list of exports; in a file a single one may stand without
// brackets.
type Exports []Export

// UnmarshalText reads one export and adds it.
func (e *Exports) UnmarshalText(text []byte) error {
	var one Export
	if err := one.UnmarshalText(text); err != nil {
		return err
	}
	*e = append(*e, one)
	return nil
}

// URLs is a list of URLs; in a file a single one may stand without brackets.
type URLs []URL

// UnmarshalText reads one URL and adds it.
func (u *URLs) UnmarshalText(text []byte) error {
	one, err := ParseURL(string(text))
	if err == nil {
		*u = append(*u, one)
	}
	return err
}

// A SocketPath is the path of a unix socket, written unix:PATH.
type SocketPath string

// UnmarshalText reads unix:PATH and makes the path absolute.
func (p *SocketPath) UnmarshalText(text []byte) error {
	path, err := parseSocketPath(string(text))
	*p = SocketPath(path)
	return err
}

// A Name is a device's name: it stands in paths and in log lines.
type Name string

// UnmarshalText takes letters, digits, dot, dash and underscore.
func (n *Name) UnmarshalText(text []byte) error {
	if err := checkDeviceName(string(text)); err != nil {
		return err
	}
	*n = Name(text)
	return nil
}

func checkDeviceName(s string) error {
	if s == "" || len(s) > 64 {
		return fmt.Errorf("name %q: 1 to 64 letters, digits, dots, dashes, underscores", s)
	}
	if s[0] == '.' || s[0] == '-' {
		return fmt.Errorf("name %q: it begins with a letter or a digit", s)
	}
	for _, r := range s {
		if !nameRune(r) {
			return fmt.Errorf("name %q: %q may not stand in it", s, r)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		r == '.' || r == '-' || r == '_'
}

// An InitiatorName is an iSCSI name.
type InitiatorName string

// UnmarshalText checks the name.
func (n *InitiatorName) UnmarshalText(text []byte) error {
	if err := login.ValidName(string(text)); err != nil {
		return fmt.Errorf("initiator %w", err)
	}
	*n = InitiatorName(text)
	return nil
}

// errEmpty is the answer to an empty value where one is needed.
var errEmpty = errors.New("it may not be empty")
