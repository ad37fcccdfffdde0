package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// results are the samples of one experiment.
type results struct {
	experiment
	samples []sample
	ready   []time.Duration // of each setup
	idle    []int64         // resident bytes of each setup before the first load
}

// run measures every row with every setup.
func (e experiment) run(ctx context.Context, s settings, lines io.Writer) (*results, error) {
	l, err := newLab(s)
	if err != nil {
		return nil, err
	}
	defer l.end()
	r := &results{experiment: e}
	for _, s := range e.setups {
		b, err := l.bridge(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		r.ready = append(r.ready, b.ready)
		r.idle = append(r.idle, b.idle)
	}
	out := json.NewEncoder(lines)
	for _, w := range e.rows {
		if !s.rows.MatchString(w.name) {
			continue
		}
		if err := l.warm(ctx, e, w); err != nil {
			return nil, err
		}
		clean := make([]int, len(e.setups))
		for round := 0; round < s.rounds*(1+s.retries) && ctx.Err() == nil; round++ {
			if enough(clean, s.rounds) {
				break
			}
			for i := range e.setups {
				if round%2 == 1 {
					i = len(e.setups) - 1 - i
				}
				m, err := l.measure(ctx, e, w, i, round)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", w.name, e.setups[i].name, err)
				}
				if !m.Dirty {
					clean[i]++
				}
				r.samples = append(r.samples, m)
				out.Encode(m)
				fmt.Fprintf(os.Stderr, "   %-40s %-24s %9.0f IOPS %8.1f us %5.2f foreign\n",
					w.name, m.Setup, m.IOPS, m.BridgeUS, m.Foreign)
			}
		}
	}
	return r, ctx.Err()
}

// warm lets every setup touch what it needs for a row.
func (l *lab) warm(ctx context.Context, e experiment, w row) error {
	for i := range e.setups {
		s := *l
		s.length = time.Second
		if _, err := s.measure(ctx, e, w, i, 0); err != nil {
			return fmt.Errorf("%s, %s: %w", w.name, e.setups[i].name, err)
		}
	}
	return nil
}

func enough(clean []int, wanted int) bool {
	for _, n := range clean {
		if n < wanted {
			return false
		}
	}
	return true
}

// measure is one run of one setup.
func (l *lab) measure(ctx context.Context, e experiment, w row, i, round int) (sample, error) {
	b := l.bridges[i]
	bridge, target := b.cpu(), b.target.cpu()
	machine, err := busy()
	if err != nil {
		return sample{}, err
	}
	begun := time.Now()
	var d load
	if e.batching {
		d, err = batch(w, b.socket, l.length)
	} else {
		d, err = fio(ctx, w, b.socket, l.length)
	}
	if err != nil {
		return sample{}, err
	}
	wall := time.Since(begun)
	after, err := busy()
	if err != nil {
		return sample{}, err
	}
	bridge, target = b.cpu()-bridge, b.target.cpu()-target
	foreign := (after - machine - bridge - target - d.cpu).Seconds() / wall.Seconds()
	us := func(t time.Duration) float64 { return t.Seconds() * 1e6 / d.ios }
	return sample{
		Experiment: e.name, Row: w.name, Setup: e.setups[i].name, Round: round,
		IOPS: d.ios / d.seconds, MBps: d.ios * float64(w.block) / d.seconds / 1e6,
		LatencyUS: d.latency, P99US: d.p99,
		BridgeUS: us(bridge), TargetUS: us(target), ClientUS: us(d.cpu),
		Foreign: max(foreign, 0), Dirty: foreign > l.foreign,
	}, nil
}
