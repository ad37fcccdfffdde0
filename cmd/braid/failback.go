package main

import (
	"fmt"
	"strconv"
	"time"

	"braid/mpath"
)

// Failback is how long after its return a better group of paths takes over: 0 is at once.
type Failback time.Duration

// failbackManual leaves I/O where it is as long as there is a path.
const failbackManual Failback = -1

// UnmarshalText reads immediate, manual, a number of seconds as multipath.conf has it, or a
// duration.
func (f *Failback) UnmarshalText(text []byte) error {
	switch string(text) {
	case "immediate":
		*f = 0
		return nil
	case "manual":
		*f = failbackManual
		return nil
	}
	if n, err := strconv.ParseUint(string(text), 10, 31); err == nil {
		*f = Failback(time.Duration(n) * time.Second)
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is none of immediate, manual and a number of seconds", text)
	}
	*f = Failback(v)
	return nil
}

func (f Failback) String() string {
	switch f {
	case failbackManual:
		return "manual"
	case 0:
		return "immediate"
	}
	return time.Duration(f).String()
}

func (f Failback) delay() time.Duration {
	if f == failbackManual {
		return mpath.FailbackManual
	}
	return time.Duration(f)
}
