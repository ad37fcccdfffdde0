package sim

import (
	"flag"
	"math"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("sim.seed", 0, "run this seed only")
	firstFlag   = flag.Uint64("sim.first", 1, "the first seed")
	seedsFlag   = flag.Uint64("sim.seeds", 0, "how many seeds; 0: 250, or 25 with -short")
	timeFlag    = flag.Duration("sim.time", 0, "run as many seeds as fit in, not sim.seeds")
	verboseFlag = flag.Bool("sim.verbose", false, "print the history of every run")
)

// tail is how many lines of a history a failure prints.
const tail = 120

// report runs a seed again and prints what led to its finding.
func report(t *testing.T, res Result) {
	t.Helper()
	var lines []string
	again := Run(res.Config, func(line string) { lines = append(lines, line) })
	if again.Fault != res.Fault {
		t.Errorf("the second run of the seed differs: %q", again.Fault)
	}
	t.Fatalf("%v\n... %s\n\nFOUND: %s\n"+
		"reproduce: go test ./internal/sim -run TestSim -sim.seed=%d -sim.verbose",
		res.Config, strings.Join(lines[max(0, len(lines)-tail):], "\n"), res.Fault, res.Config.Seed)
}

// TestSim runs worlds, one after the other.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		runOne(t, *seedFlag)
		return
	}
	seeds := *seedsFlag
	switch {
	case *timeFlag > 0:
		seeds = math.MaxUint64
	case seeds == 0 && testing.Short():
		seeds = 25
	case seeds == 0:
		seeds = 250
	}
	var sum Result
	start, n := time.Now(), uint64(0)
	for ; n < seeds && (*timeFlag == 0 || time.Since(start) < *timeFlag); n++ {
		res := Run(newConfig(*firstFlag+n), nil)
		if res.Fault != "" {
			t.Logf("found after %d seeds", n+1)
			report(t, res)
		}
		add(&sum, res)
	}
	t.Logf("%d seeds in %v, %d events, %v simulated; %d reads, %d writes, %d flushes, "+
		"%d errors excused, %d blocks judged, %d replays, %d ghosts", n,
		time.Since(start).Round(time.Millisecond), sum.Events,
		sum.Lasted.Round(time.Second), sum.Reads, sum.Writes, sum.Flushes, sum.Errors, sum.Judged,
		sum.Replays, sum.Ghosts)
	for i := range faultKinds {
		t.Logf("%8d %s", sum.Faults[i], faultKinds[i].name)
	}
}

func add(sum *Result, r Result) {
	sum.Events += r.Events
	sum.Lasted += r.Lasted
	sum.Reads += r.Reads
	sum.Writes += r.Writes
	sum.Flushes += r.Flushes
	sum.Judged += r.Judged
	sum.Errors += r.Errors
	sum.Replays += r.Replays
	sum.Ghosts += r.Ghosts
	for i, n := range r.Faults {
		sum.Faults[i] += n
	}
}

func runOne(t *testing.T, seed uint64) {
	var history func(string)
	if *verboseFlag {
		history = func(line string) { t.Log(line) }
	}
	res := Run(newConfig(seed), history)
	if res.Fault != "" {
		if *verboseFlag {
			t.Fatal(res.Fault)
		}
		report(t, res)
	}
	t.Logf("%v\n%d events, %v simulated", res.Config, res.Events, res.Lasted)
}

// TestRepeats runs some seeds twice: one seed is one run.
func TestRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, b := Run(newConfig(seed), nil), Run(newConfig(seed), nil)
		if a.Digest != b.Digest || a.Events != b.Events {
			t.Fatalf("seed %d: two runs differ: %d and %d events", seed, a.Events, b.Events)
		}
	}
}
