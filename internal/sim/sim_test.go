package sim

import (
	"flag"
	"strings"
	"testing"
)

var (
	seedFlag    = flag.Uint64("sim.seed", 0, "run this seed only")
	firstFlag   = flag.Uint64("sim.first", 1, "the first seed")
	seedsFlag   = flag.Uint64("sim.seeds", 0, "how many seeds; 0: a fixed number")
	workersFlag = flag.Int("sim.workers", 2, "how many runs there are at a time")
	timeFlag    = flag.Duration("sim.time", 0, "run as many seeds as fit in")
	wholeFlag   = flag.Bool("sim.whole", false, "do not look for a shorter history of a finding")
	verboseFlag = flag.Bool("sim.verbose", false, "print the history of every run")
)

// report prints a finding and what led to it.
func report(t *testing.T, res Result) {
	t.Helper()
	var b strings.Builder
	Explain(&b, res, *wholeFlag)
	t.Fatal(b.String())
}

// TestSim runs worlds, two at a time.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		runOne(t, *seedFlag)
		return
	}
	hunt := Hunt{First: *firstFlag, Seeds: *seedsFlag, For: *timeFlag, Workers: *workersFlag}
	switch {
	case hunt.Seeds > 0 || hunt.For > 0:
	case testing.Short():
		hunt.Seeds = 25
	default:
		hunt.Seeds = fixedSeeds
	}
	s := hunt.Run()
	if s.Found != nil {
		t.Logf("found after %d seeds", s.Found.Config.Seed-hunt.First+1)
		report(t, *s.Found)
	}
	var b strings.Builder
	s.Print(&b)
	t.Log(b.String())
}

// fixedSeeds are what takes about two minutes with the race detector on two cores.
const fixedSeeds = 500

func runOne(t *testing.T, seed uint64) {
	var history func(string)
	if *verboseFlag {
		history = func(line string) { t.Log(line) }
	}
	res := Run(Draw(seed), history)
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
		a, b := Run(Draw(seed), nil), Run(Draw(seed), nil)
		if a.Digest != b.Digest || a.Events != b.Events {
			t.Fatalf("seed %d: two runs differ: %d and %d events", seed, a.Events, b.Events)
		}
	}
}
