package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	idleDevices = 100
	settleTime  = 10 * time.Second
	idleTime    = 30 * time.Second
)

// footprint measures what a hundred devices cost that nobody uses.
func footprint(ctx context.Context, s settings, w io.Writer) error {
	l, err := newLab(s)
	if err != nil {
		return err
	}
	defer l.end()
	one := setup{name: "braid", portals: 1, targetFlags: noCache}
	var ready []float64
	for range idleDevices {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := l.bridge(one)
		if err != nil {
			return err
		}
		ready = append(ready, b.ready.Seconds())
	}
	time.Sleep(settleTime)
	before := l.cpu()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleTime):
	}
	used := (l.cpu() - before).Seconds() / idleTime.Seconds()
	var memory []float64
	for _, b := range l.bridges {
		memory = append(memory, float64(b.resident())/mib)
	}
	fmt.Fprintf(os.Stderr, "   %d idle devices: %.2f %% of a core\n", idleDevices, 100*used)
	_, err = fmt.Fprintf(w, "## %d idle devices\n\n| | | bound |\n|---|---|---|\n"+
		"| processor time of all, part of one core | %.2f %% | 1 %% |\n"+
		"| resident memory of one, median and largest | %.1f MiB, %.1f MiB | 40 MiB |\n"+
		"| from the start of the program until a client could connect, median and longest"+
		" | %.2f s, %.2f s | 0.3 s |\n\n",
		idleDevices, 100*used, median(memory), memory[len(memory)-1], median(ready), ready[len(ready)-1])
	return err
}

// cpu is what all bridges have used.
func (l *lab) cpu() time.Duration {
	var sum time.Duration
	for _, b := range l.bridges {
		sum += b.cpu()
	}
	return sum
}
