package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (s *play) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// act announces a part of the play.
func (s *play) act(number, title, format string, args ...any) {
	title = fmt.Sprintf("%s %-7s", number, title)
	if s.live {
		title = "\x1b[1m" + title + "\x1b[0m"
	}
	s.say(" %s %s", title, fmt.Sprintf(format, args...))
}

func (s *play) note(format string, args ...any) {
	s.say("            %s", fmt.Sprintf(format, args...))
}

// watch shows the progress line for a while.
func (s *play) watch(ctx context.Context, d time.Duration) error {
	end := time.After(d)
	return s.progress(ctx, func() bool {
		select {
		case <-end:
			return true
		default:
			return false
		}
	})
}

// answered waits until the load has had more than so many writes answered.
func (s *play) answered(ctx context.Context, writes uint64) error {
	for s.load.writes.Load() <= writes {
		select {
		case err := <-s.load.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// untilWatching is until with the progress line.
func (s *play) untilWatching(ctx context.Context, what string,
	wanted func(Status) bool) (Status, error) {
	var st Status
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		st, err = s.until(ctx, what, wanted)
	}()
	failed := s.progress(ctx, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	<-done
	if failed != nil {
		return st, failed
	}
	return st, err
}

// progress shows what the load does until over says so, or something fails. On
// a terminal the line is rewritten, else it is printed once.
func (s *play) progress(ctx context.Context, over func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	from, begun := s.load.bytes(), time.Now()
	line := ""
	for {
		select {
		case err := <-s.load.fail:
			s.endLine(line)
			return err
		case <-ctx.Done():
			s.endLine(line)
			return ctx.Err()
		case <-tick.C:
		}
		line = s.line(s.load.bytes()-from, time.Since(begun))
		if s.live {
			fmt.Fprintf(s.out, "\r\x1b[K%s", line)
		}
		if over() {
			s.endLine(line)
			return nil
		}
	}
}

func (s *play) endLine(line string) {
	if s.live {
		fmt.Fprintln(s.out)
	} else if line != "" {
		s.say("%s", line)
	}
}

func (s *play) line(moved uint64, took time.Duration) string {
	rate := float64(moved) / max(took.Seconds(), 0.001)
	return fmt.Sprintf("            %s writes, %s reads, %s flushes, %s/s, %s blocks checked, 0 wrong",
		count(s.load.writes.Load()), count(s.load.reads.Load()), count(s.load.synced.Load()),
		bytesShort(uint64(rate)), count(s.load.verified.Load()))
}

func (l *demoLoad) bytes() uint64 { return l.readBytes.Load() + l.writtenBytes.Load() }

// count writes a number with its thousands apart.
func count(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
