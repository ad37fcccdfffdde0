package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds of the search for a shorter history.
const (
	shrinkRuns = 400
	shrinkTime = 40 * time.Second
	tail       = 150 // lines of a history that are printed
)

// A shrinker looks for a smaller run that still ends in a finding. What it leaves out it
// leaves out for good if the finding stays, so the result is one from which nothing it
// knows of can be left out any more, or what was reached when its bounds ended the search.
type shrinker struct {
	best  Result
	runs  int
	until time.Time
}

// Shrink gives the smallest run that it finds to end in a finding like that of r.
func Shrink(r Result) Result {
	s := &shrinker{best: r, until: time.Now().Add(shrinkTime)}
	s.try(func(c *Config) { c.MaxStrikes = r.Strikes }) // those behind it did nothing
	s.try(func(c *Config) { c.Ops = r.Asked })
	s.simpler()
	s.leaveOut(r.Strikes, func(c *Config) []int { return c.Spared },
		func(c *Config, n []int) { c.Spared = slices.Concat(c.Spared, n) })
	s.leaveOut(r.Asked, func(c *Config) []int { return c.Unasked },
		func(c *Config, n []int) { c.Unasked = slices.Concat(c.Unasked, n) })
	s.simpler()
	return s.best
}

// try runs a changed configuration and keeps it if there still is a finding.
func (s *shrinker) try(change func(c *Config)) bool {
	if s.runs >= shrinkRuns || time.Now().After(s.until) {
		return false
	}
	s.runs++
	c := s.best.Config
	change(&c)
	res := Run(c, nil)
	if res.Fault == "" || class(res.Fault) != class(s.best.Fault) {
		return false
	}
	s.best = res
	return true
}

// class is what kind of finding it is: its words without numbers.
func class(fault string) string {
	line, _, _ := strings.Cut(fault, "\n")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, kinds.Replace(line))
}

var kinds = strings.NewReplacer("write", "change", "trim", "change", "zero", "change", " fua", "")

// simpler takes away what makes a run more complicated.
func (s *shrinker) simpler() {
	for _, change := range []func(c *Config){
		func(c *Config) { c.Aim = 0 },
		func(c *Config) { c.Ghosts = false },
		func(c *Config) { c.Reorder = 0 },
		func(c *Config) { c.Clients, c.Kernels = 1, min(c.Kernels, 1) },
		func(c *Config) { c.Kernels = 0 },
		func(c *Config) { c.Slots = 1 },
		func(c *Config) { c.Sessions, c.LaterSessions = 1, 1 },
		func(c *Config) { c.Sessions, c.LaterSessions = min(c.Sessions, 2), min(c.LaterSessions, 2) },
		func(c *Config) { c.LaterSessions = c.Sessions },
		func(c *Config) { c.Conns = 1 },
		func(c *Config) { c.Targets = 1 },
		func(c *Config) { c.Digests, c.Mix = false, c.Mix&^(1<<faultFlip) },
		func(c *Config) { c.Level, c.TargetLevel = 0, 0 },
		func(c *Config) { c.ALUA = false },
		func(c *Config) { c.Welcome = 0 },
		func(c *Config) { c.Growth = 0 },
		func(c *Config) { c.Flaps, c.Failback = 0, 0 },
		func(c *Config) { c.Incoherent = false },
		func(c *Config) { c.Shared = false },
		func(c *Config) { c.Barrier = 2 },
		func(c *Config) { c.Latency = 20 * time.Microsecond },
		func(c *Config) { c.EndByStop = false },
	} {
		s.try(change)
	}
	for kind := range faultKinds {
		if s.best.Faults[kind] > 0 {
			s.try(func(c *Config) { c.Mix &^= 1 << kind })
		}
	}
}

// leaveOut leaves out as many of n numbered things as it can: halves first, single ones at
// the end.
func (s *shrinker) leaveOut(n int, left func(c *Config) []int,
	drop func(c *Config, numbers []int)) {
	for size := (n + 1) / 2; size > 0; size /= 2 {
		for from := 1; from <= n; from += size {
			var numbers []int
			for i := from; i < min(from+size, n+1); i++ {
				if !slices.Contains(left(&s.best.Config), i) {
					numbers = append(numbers, i)
				}
			}
			if len(numbers) == 0 {
				continue
			}
			s.try(func(c *Config) { drop(c, numbers) })
		}
	}
}

// Explain prints a finding: its seed, and the history that led to it, a shorter one unless
// the whole is asked for.
func Explain(w io.Writer, r Result, whole bool) {
	seed := r.Config.Seed
	fmt.Fprintf(w, "%v\nFOUND: %s\n", r.Config, r.Fault)
	if !whole {
		r = Shrink(r)
		fmt.Fprintf(w, "\na shorter run:\n%v\n", r.Config)
	}
	var lines []string
	dropped := 0
	again := Run(r.Config, func(line string) {
		if lines = append(lines, line); len(lines) == 2*tail {
			dropped += tail
			lines = append(lines[:0], lines[tail:]...)
		}
	})
	if again.Fault != r.Fault {
		fmt.Fprintf(w, "a second run differs: %q\n", again.Fault)
	}
	if n := max(len(lines)-tail, 0); n+dropped > 0 {
		fmt.Fprintf(w, "... %d lines before\n", n+dropped)
		lines = lines[n:]
	}
	fmt.Fprintf(w, "%s\n\nFOUND: %s\nreproduce: go run ./internal/sim/cmd/sim -seed %d -verbose\n",
		strings.Join(lines, "\n"), r.Fault, seed)
}
