// Command storm measures what a target meets when hundreds of sessions come back at once:
// daemons with several sessions each, a target that takes so many logins at a time and
// resets the connections beyond, and that is away for a while. It prints how many logins
// were under way at the same time, how many had to be refused, and how long it took until
// every session was there again.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"braid/internal/loop"
)

type settings struct {
	braid     string
	daemons   int
	sessions  int // of each daemon
	logins    int
	loginTime time.Duration
	away      time.Duration
	limit     time.Duration
	label     string
}

// A result is what one storm was like.
type result struct {
	Label         string  `json:"label"`
	Sessions      int     `json:"sessions"`
	Limit         int     `json:"limit"`           // logins at a time
	AwaySeconds   float64 `json:"away_seconds"`    // nothing answered for so long
	KnocksAway    int     `json:"knocks_away"`     // connections while it was away
	PeakLogins    int     `json:"peak_logins"`     // wanted at the same time, refused ones included
	PeakPerSecond int     `json:"peak_per_second"` // connections within one second, after it was back
	Logins        int     `json:"logins"`          // begun after it was back
	Refused       int     `json:"refused"`         // connections reset because of the limit
	HalfSeconds   float64 `json:"half_seconds"`    // until half of the sessions were back
	AllSeconds    float64 `json:"all_seconds"`
}

func main() {
	runtime.LockOSThread() // the daemons end with the thread that started them
	var s settings
	flag.StringVar(&s.braid, "braid", "braid", "the program")
	flag.IntVar(&s.daemons, "daemons", 30, "how many of it")
	flag.IntVar(&s.sessions, "sessions", 10, "sessions of each")
	flag.IntVar(&s.logins, "logins", 32, "logins that the target takes at a time")
	flag.DurationVar(&s.loginTime, "login-time", 50*time.Millisecond, "that a login takes at least")
	flag.DurationVar(&s.away, "away", 10*time.Second, "how long the target is away")
	flag.DurationVar(&s.limit, "limit", 3*time.Minute, "for each phase")
	flag.StringVar(&s.label, "label", "", "what the result is called")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := storm(ctx, s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(r)
}

// storm lets all sessions be made, takes the target away, and watches them come back.
func storm(ctx context.Context, s settings) (result, error) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		return result{}, err
	}
	g, err := newGate(l, s)
	if err != nil {
		return result{}, err
	}
	go l.Run(g)
	defer l.Stop()

	d := &daemons{settings: s, portals: g.addresses}
	defer d.end()
	if err := d.start(ctx); err != nil {
		return result{}, err
	}
	all := s.daemons * s.sessions
	if _, err := waitFor(ctx, s.limit, func() bool { return g.look().sessions == all }); err != nil {
		return result{}, fmt.Errorf("%d of %d sessions came up: %w", g.look().sessions, all, err)
	}
	g.takeAway(s.away)
	time.Sleep(s.away)
	r := result{Label: s.label, Sessions: all, Limit: s.logins, AwaySeconds: s.away.Seconds()}
	half, err := waitFor(ctx, s.limit, func() bool { return g.look().sessions >= all/2 })
	if err != nil {
		return r, fmt.Errorf("%d of %d sessions came back: %w", g.look().sessions, all, err)
	}
	rest, err := waitFor(ctx, s.limit, func() bool { return g.look().sessions == all })
	if err != nil {
		return r, fmt.Errorf("%d of %d sessions came back: %w", g.look().sessions, all, err)
	}
	v := g.look()
	r.KnocksAway, r.PeakLogins, r.Logins, r.Refused = v.knocksAway, v.peak, v.logins, v.refused
	r.PeakPerSecond = v.perSecond
	r.HalfSeconds, r.AllSeconds = half.Seconds(), (half + rest).Seconds()
	return r, nil
}

// waitFor waits until something holds, and tells how long that took.
func waitFor(ctx context.Context, limit time.Duration, holds func() bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := time.Now()
	for !holds() {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return time.Since(begun), nil
}
