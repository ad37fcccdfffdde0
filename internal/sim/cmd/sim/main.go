// Command sim runs the simulator for as long as it is told:
//
//	go run ./internal/sim/cmd/sim -for 1h
//	go run ./internal/sim/cmd/sim -seeds 100000 -first 1000000
//	go run ./internal/sim/cmd/sim -seed 4711 -verbose
//
// It ends with status 1 when something was found: the seed, what it is, and the shortest
// history that still ends in it are printed. SIGINT and SIGTERM end it after the runs that are
// under way; the counts are printed then too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"braid/internal/sim"
)

func main() {
	var h sim.Hunt
	flag.Uint64Var(&h.First, "first", 1, "the first seed")
	flag.Uint64Var(&h.Seeds, "seeds", 0, "how many seeds; 0: as many as there is time for")
	flag.DurationVar(&h.For, "for", 0, "how long; 0: without end, if -seeds is not given either")
	flag.IntVar(&h.Workers, "workers", runtime.NumCPU(), "how many runs there are at a time")
	every := flag.Duration("report", time.Minute, "how often to say how far it is")
	seed := flag.Uint64("seed", 0, "run this seed only")
	verbose := flag.Bool("verbose", false, "with -seed: print its history")
	whole := flag.Bool("whole", false, "print the history of a finding as it is, not a shorter one")
	flag.Parse()
	debug.SetGCPercent(400)
	if *seed != 0 {
		os.Exit(one(*seed, *verbose, *whole))
	}
	last := time.Duration(0)
	h.Progress = func(s *sim.Summary) {
		if s.Took-last >= *every {
			last = s.Took
			fmt.Printf("%v: %d seeds, %.0f a minute\n", s.Took.Round(time.Second), s.Seeds, s.Rate())
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	h.Enough = func() bool { return ctx.Err() != nil }
	s := h.Run()
	s.Print(os.Stdout)
	if s.Found != nil {
		sim.Explain(os.Stdout, *s.Found, *whole)
		os.Exit(1)
	}
}

// one runs a single seed.
func one(seed uint64, verbose, whole bool) int {
	var history func(string)
	if verbose {
		history = func(line string) { fmt.Println(line) }
	}
	res := sim.Run(sim.Draw(seed), history)
	switch {
	case res.Fault == "":
		fmt.Printf("%v\n%d events, %v simulated\n", res.Config, res.Events, res.Lasted)
		return 0
	case verbose:
		fmt.Println("FOUND:", res.Fault)
	default:
		sim.Explain(os.Stdout, res, whole)
	}
	return 1
}
