package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"braid/nbd"
)

const (
	demoWorkers = 8
	demoBlocks  = 64 << 20 / demoBlock // working area
	demoPace    = 2 * time.Second      // of each act
)

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show it all: two sessions, load, a path pulled, a target that forgets",
		Long: "Run a demonstration that needs no root and no set-up: an embedded target with two\n" +
			"portals and a write cache that a restart forgets, a device over two sessions, and a\n" +
			"load that checks every block it reads, while a path is pulled and put back and the\n" +
			"target is restarted without its cache. It takes about 20 seconds.",
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer cancel()
			return demo(ctx, cmd.OutOrStdout())
		},
	}
}

// A play is the demonstration while it runs.
type play struct {
	*stage
	load  *demoLoad
	out   io.Writer
	live  bool // out is a terminal: the progress line is rewritten
	begun time.Time
	lost  time.Duration // from the cut until the first answer over the other path
}

func demo(ctx context.Context, out io.Writer) (err error) {
	s := &play{out: out, live: isTerminal(out), begun: time.Now()}
	s.say("braid demo: one disk, two sessions, and a bad day for the network.\n")
	if s.stage, err = raise(ctx); err != nil {
		return err
	}
	defer func() {
		if e := s.lower(); err == nil && ctx.Err() == nil {
			err = e
		}
		if err == nil {
			s.say("Try it on a target of your own: braid up --help")
		}
	}()
	s.say("   target   %s RAM behind %s, with a write cache that a restart forgets", demoLUN,
		strings.Join(s.portals, " and "))
	s.say("   device   one session to each, served at %s\n", s.socket)
	if s.load, err = newDemoLoad(s.socket, demoWorkers, demoBlocks); err != nil {
		return err
	}
	defer s.load.close()
	if err := s.acts(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return nil
}

// acts are what happens in it, in order.
func (s *play) acts(ctx context.Context) error {
	s.load.run(ctx)
	defer s.load.halt()
	for _, act := range []func(context.Context) error{
		s.actLoad, s.actPull, s.actReturn, s.actFlush, s.actForget, s.actVerify, s.actSummary,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *play) actLoad(ctx context.Context) error {
	s.act("1", "LOAD", "%d clients write and read; every block read is checked", demoWorkers)
	if err := s.watch(ctx, demoPace); err != nil {
		return err
	}
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	for i, p := range st.Paths {
		s.note("session %d carried %s writes and %s reads", i+1, count(p.Writes), count(p.Reads))
	}
	return nil
}

func (s *play) actPull(ctx context.Context) error {
	s.act("2", "PULL", "portal %s is cut off", s.portals[0])
	before, err := s.status(ctx)
	if err != nil {
		return err
	}
	if err := s.target.fault(ctx, "cut portal 1"); err != nil {
		return err
	}
	at, writes := time.Now(), s.load.writes.Load()
	if _, err := s.until(ctx, "session 1 is lost", func(st Status) bool {
		return st.Paths[0].Failovers > before.Paths[0].Failovers
	}); err != nil {
		return err
	}
	if err := s.answered(ctx, writes); err != nil {
		return err
	}
	s.lost = time.Since(at)
	if err := s.watch(ctx, demoPace); err != nil {
		return err
	}
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	s.note("session 1 lost; %s of its own done again over session 2",
		plural(st.Paths[0].Retries-before.Paths[0].Retries, "request"))
	s.note("I/O went on within %v, with no error", s.lost.Round(time.Millisecond))
	return nil
}

func (s *play) actReturn(ctx context.Context) error {
	s.act("3", "RETURN", "portal %s is put back", s.portals[0])
	at := time.Now()
	if err := s.target.fault(ctx, "cut portal 1 off"); err != nil {
		return err
	}
	st, err := s.untilWatching(ctx, "session 1 is back", allActive)
	if err != nil {
		return err
	}
	took := time.Since(at)
	if err := s.watch(ctx, demoPace/2); err != nil {
		return err
	}
	s.note("logged in with the same ISID %s, which ends what the lost session left there",
		st.Paths[0].ISID)
	s.note("verified to lead to %s, striped again after %v", st.WWID, took.Round(10*time.Millisecond))
	return nil
}

// actFlush slows the target down so far that a flush can be watched.
func (s *play) actFlush(ctx context.Context) error {
	s.act("4", "FLUSH", "a barrier across both sessions, in slow motion")
	s.load.flushes.Store(false)
	if err := s.target.fault(ctx, "delay all 250ms"); err != nil {
		return err
	}
	if err := s.watch(ctx, demoPace/2); err != nil {
		return err
	}
	client, err := dialNBD(s.socket)
	if err != nil {
		return err
	}
	defer client.close()
	before, err := s.status(ctx)
	if err != nil {
		return err
	}
	at, done := time.Now(), make(chan error, 1)
	go func() { done <- client.do(nbd.Flush, 0, nil) }()
	st, err := s.until(ctx, "the flush is under way", func(st Status) bool {
		return st.State == "draining" || st.Flushes.Rounds > before.Flushes.Rounds
	})
	if err != nil {
		return err
	}
	s.note("%s are acknowledged but not on stable storage", bytesShort(st.UnstableBytes))
	for i, p := range st.Paths {
		s.note("session %d is draining: %d commands out, then its SYNCHRONIZE CACHE", i+1, p.InFlight)
	}
	if err := <-done; err != nil {
		return err
	}
	s.note("both answered: the flush is done after %v; reads went on all the time",
		time.Since(at).Round(10*time.Millisecond))
	s.load.flushes.Store(true)
	return s.target.fault(ctx, "delay all off")
}

func (s *play) actForget(ctx context.Context) error {
	s.act("5", "FORGET", "the target restarts and loses its cache")
	s.load.flushes.Store(false) // so that there is something to forget
	if err := s.watch(ctx, demoPace/2); err != nil {
		return err
	}
	before, err := s.status(ctx)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := s.target.fault(ctx, "restart lose-cache down 500ms"); err != nil {
		return err
	}
	st, err := s.untilWatching(ctx, "both sessions are back", func(st Status) bool {
		return allActive(st) && st.Replays > before.Replays
	})
	if err != nil {
		return err
	}
	took := time.Since(at)
	s.load.flushes.Store(true)
	if err := s.watch(ctx, demoPace/2); err != nil {
		return err
	}
	s.note("%s of acknowledged writes were in the cache and are gone",
		bytesShort(before.UnstableBytes))
	s.note("braid had kept copies: %s written again (%s), all well after %v",
		bytesShort(st.ReplayedBytes-before.ReplayedBytes), plural(st.Replays-before.Replays, "write"),
		took.Round(10*time.Millisecond))
	return nil
}

func (s *play) actVerify(ctx context.Context) error {
	s.act("6", "VERIFY", "the load stops, and the whole area is read back")
	s.load.halt()
	select {
	case err := <-s.load.fail:
		return err
	default:
	}
	blocks, err := s.load.verifyAll()
	if err != nil {
		return err
	}
	s.note("%s blocks compared with what was written to each last: all are right",
		count(uint64(blocks)))
	return nil
}

func (s *play) actSummary(ctx context.Context) error {
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	l := s.load
	failovers := uint64(0)
	for _, p := range st.Paths {
		failovers += p.Failovers
	}
	s.say("\nNOTHING WAS LOST.\n")
	s.say("   written   %s in %s; read and checked %s in %s", bytesShort(l.writtenBytes.Load()),
		plural(l.writes.Load(), "write"), bytesShort(l.readBytes.Load()), plural(l.reads.Load(), "read"))
	s.say("   flushed   %s, in %s over both sessions", plural(st.Flushes.Requested, "time"),
		plural(st.Flushes.Rounds, "round"))
	s.say("   failover  %s lost and made anew, no error reached a client",
		plural(failovers, "session"))
	s.say("   longest   %v waited the slowest request, while the target was gone or slow",
		time.Duration(l.longest.Load()).Round(time.Millisecond))
	s.say("   took      %v in all\n", time.Since(s.begun).Round(100*time.Millisecond))
	return nil
}

func allActive(st Status) bool {
	for _, p := range st.Paths {
		if p.State != "active" {
			return false
		}
	}
	return len(st.Paths) > 0
}
