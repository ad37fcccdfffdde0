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
