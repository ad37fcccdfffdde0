package loop

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	for i := range busyRounds {
		if !p.idle() {
			t.Fatalf("busy after %d short rounds", i)
		}
		p.round(idleRound - 1)
	}
	for range 3 {
		p.round(time.Microsecond)
		if p.idle() {
			t.Fatal("idle after a short round")
		}
	}
	p.round(idleRound)
	if !p.idle() {
		t.Fatal("busy after a long round")
	}
}

func TestQuietWait(t *testing.T) {
	busy := pace{short: busyRounds}
	for _, c := range []struct {
		name  string
		p     pace
		until time.Duration
		want  time.Duration
	}{
		{"idle", pace{}, maxTime, 0},
		{"nearly busy", pace{short: busyRounds - 1}, maxTime, 0},
		{"busy", busy, maxTime, shortWait},
		{"busy, a deadline just behind it", busy, shortWait, shortWait},
		{"busy, a deadline within it", busy, shortWait - 1, 0},
		{"busy, a deadline that is over", busy, -time.Second, 0},
		{"busy, one place", pace{short: busyRounds, alone: true}, maxTime, 0},
	} {
		if got := c.p.quietly(c.until); got != c.want {
			t.Errorf("%s: waits %v without the scheduler's knowledge, want %v", c.name, got, c.want)
		}
	}
}
