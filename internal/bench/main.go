// Command bench measures braid beside what a user would pick instead, in the same run:
// qemu-nbd with its iSCSI driver, before the same target, with the same client. Figures of
// a busy machine mean little by themselves; their ratios within one round do. So each round
// runs every setup once, in an order that is turned round each time, and a run during which
// others took too much of the machine is thrown away and counted.
//
// The files:
//
//	experiment.go   what is compared with what: rows (workloads), setups (bridges)
//	peers.go        the processes: targets, braid, qemu-nbd, tgtd
//	process.go      starting and ending them, and what they cost, from /proc
//	fio.go load.go  the clients
//	rounds.go       the order of the runs
//	footprint.go    devices that nobody uses
//	network.go      paths of a given rate
//	table.go plot.go head.go   what comes out
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

type settings struct {
	braid   string
	out     string
	rounds  int
	length  time.Duration
	foreign float64 // cores
	retries int
	only    *regexp.Regexp
	rows    *regexp.Regexp
}

func main() {
	runtime.LockOSThread() // children end with the thread that started them
	var s settings
	var only, rows string
	flag.StringVar(&s.braid, "braid", "", "the program")
	flag.StringVar(&s.out, "out", "", "folder for tables, plots and JSON lines")
	flag.IntVar(&s.rounds, "rounds", 5, "clean runs that are wanted of each")
	flag.DurationVar(&s.length, "length", 5*time.Second, "of one run")
	flag.Float64Var(&s.foreign, "foreign", 0.15, "cores that others may use during a run")
	flag.IntVar(&s.retries, "retries", 2, "runs more, for each wanted one, to replace dirty ones")
	flag.StringVar(&only, "only", "", "regular expression of experiments; `list` shows them")
	flag.StringVar(&rows, "rows", "", "regular expression of rows")
	flag.Parse()
	all := experiments()
	if only == "list" {
		for _, e := range all {
			fmt.Printf("%-10s %s\n", e.name, e.title)
		}
		return
	}
	s.only, s.rows = regexp.MustCompile(only), regexp.MustCompile(rows)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, all); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, all []experiment) error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	lines, err := os.Create(filepath.Join(s.out, "runs.jsonl"))
	if err != nil {
		return err
	}
	defer lines.Close()
	report, err := os.Create(filepath.Join(s.out, "report.md"))
	if err != nil {
		return err
	}
	defer report.Close()
	if err := writeHead(report, s); err != nil {
		return err
	}
	for _, e := range all {
		if !s.only.MatchString(e.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", e.title)
		if e.whole != nil {
			if err := e.whole(ctx, s, report); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			continue
		}
		r, err := e.run(ctx, s, lines)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		r.table(report)
		if err := r.plot(filepath.Join(s.out, e.name+".svg")); err != nil {
			return err
		}
	}
	return nil
}
