package sim

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Hunt runs seeds, one after the other or several at a time.
type Hunt struct {
	First, Seeds uint64        // Seeds 0: without end
	For          time.Duration // 0: without end
	Workers      int
	// Enough is asked before each run whether to end; nil never does.
	Enough func() bool
	// Progress is told now and then how far it is; nil tells nobody.
	Progress func(s *Summary)
}

// A Summary is what came of many runs.
type Summary struct {
	Result // sums; Fault is empty
	Seeds  uint64
	Took   time.Duration
	Found  *Result // the first finding by its seed, nil if there is none
}

// Run runs the seeds until there are no more, time is up, or something was found.
func (h *Hunt) Run() *Summary {
	s := &Summary{}
	start := time.Now()
	var (
		next atomic.Uint64
		stop atomic.Bool
		mu   sync.Mutex
		wg   sync.WaitGroup
	)
	work := func() {
		for !stop.Load() {
			n := next.Add(1) - 1
			if h.Seeds > 0 && n >= h.Seeds || h.For > 0 && time.Since(start) >= h.For ||
				h.Enough != nil && h.Enough() {
				return
			}
			res := Run(Draw(h.First+n), nil)
			mu.Lock()
			s.add(&res)
			s.Took = time.Since(start)
			if res.Fault != "" && (s.Found == nil || res.Config.Seed < s.Found.Config.Seed) {
				s.Found = &res
				stop.Store(true)
			}
			if h.Progress != nil {
				h.Progress(s)
			}
			mu.Unlock()
		}
	}
	for range max(h.Workers, 1) {
		wg.Go(work)
	}
	wg.Wait()
	return s
}

func (s *Summary) add(r *Result) {
	s.Seeds++
	s.Events += r.Events
	s.Lasted += r.Lasted
	s.Reads += r.Reads
	s.Writes += r.Writes
	s.Flushes += r.Flushes
	s.Judged += r.Judged
	s.Errors += r.Errors
	s.Replays += r.Replays
	s.Ghosts += r.Ghosts
	s.Deaths += r.Deaths
	s.Resent += r.Resent
	s.Histories += r.Histories
	for i, n := range r.Faults {
		s.Faults[i] += n
	}
	for i := range r.Pairs {
		for j, n := range r.Pairs[i] {
			s.Pairs[i][j] += n
		}
	}
}

// Rate is how many seeds were run in a minute.
func (s *Summary) Rate() float64 { return float64(s.Seeds) / s.Took.Minutes() }

// Print writes the counts: how often each fault struck, and in the middle of what.
func (s *Summary) Print(w io.Writer) {
	fmt.Fprintf(w, "%d seeds in %v, %.0f a minute; %d events, %v simulated\n",
		s.Seeds, s.Took.Round(time.Millisecond), s.Rate(), s.Events, s.Lasted.Round(time.Second))
	fmt.Fprintf(w, "%d reads, %d writes, %d flushes answered, %d errors that were allowed; "+
		"%d blocks judged, %d histories of a block found linear\n",
		s.Reads, s.Writes, s.Flushes, s.Errors, s.Judged, s.Histories)
	fmt.Fprintf(w, "%d copies written again, %d commands executed late, %d daemons died, "+
		"%d requests asked again by the kernel\n", s.Replays, s.Ghosts, s.Deaths, s.Resent)
	fmt.Fprintf(w, "%-42s %8s", "faults, and of these in the middle of or after", "all")
	for _, name := range circumstanceNames {
		fmt.Fprintf(w, " %s |", name)
	}
	fmt.Fprintln(w)
	for kind := range faultKinds {
		fmt.Fprintf(w, "%-42s %12d", faultKinds[kind].name, s.Faults[kind])
		for i, name := range circumstanceNames {
			fmt.Fprintf(w, " %*d |", len(name), s.Pairs[i][kind])
		}
		fmt.Fprintln(w)
	}
}
