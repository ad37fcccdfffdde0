package main

import (
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// watched is what the watchdog needs of the loop.
type watched interface {
	Post(fn func(now time.Duration)) bool
	Done() <-chan struct{}
}

// keepWatch has systemd's watchdog told that the loop answers, three times in
// the period that it allows (WatchdogSec=, sd_watchdog_enabled(3)). A loop that
// does not answer is not vouched for: systemd then ends the process and starts
// another. Without a watchdog it does nothing.
func keepWatch(l watched, log func(slog.Level, string, ...any)) {
	period, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log(slog.LevelWarn, "the watchdog of systemd is not understood", "err", err)
	}
	if err != nil || period <= 0 {
		return
	}
	tick := time.NewTicker(period / 3)
	go func() {
		defer tick.Stop()
		vouch(l, tick.C, func() { notify(log, "WATCHDOG=1") })
	}()
}

// vouch calls ping after each tick that the loop answers, until the loop ends.
// Ticks that pass while an answer is awaited count for nothing.
func vouch(l watched, tick <-chan time.Time, ping func()) {
	answer := make(chan struct{}, 1)
	for {
		select {
		case <-tick:
		case <-l.Done():
			return
		}
		if !l.Post(func(time.Duration) { answer <- struct{}{} }) {
			return
		}
		select {
		case <-answer:
			ping()
		case <-l.Done():
			return
		}
	}
}
