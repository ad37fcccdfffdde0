package mpath

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

// TestStranger: only what a stranger's logins look like ends the device.
func TestStranger(t *testing.T) {
	type end struct {
		err     error
		lived   time.Duration
		refused bool // the target took no login for a while after it
	}
	quarrel := end{err: io.EOF, lived: time.Second}
	tests := []struct {
		name  string
		slots int
		ends  []end // of the first slot's session; the others' end with it
		want  bool
	}{
		{"three times", 1, []end{quarrel, quarrel, quarrel}, true},
		{"over every session", 2, []end{quarrel, quarrel, quarrel}, true},
		{"twice", 1, []end{quarrel, quarrel}, false},
		{"a network that resets", 1, []end{
			{err: syscall.ECONNRESET}, {err: syscall.ECONNRESET}, {err: syscall.ECONNRESET}}, false},
		{"a target that keeps restarting", 1, []end{
			{err: io.EOF, refused: true}, {err: io.EOF, refused: true},
			{err: io.EOF, refused: true}, {err: io.EOF, refused: true}}, false},
		{"sessions that last", 1, []end{
			quarrel, quarrel, {err: io.EOF, lived: 6 * time.Second}, quarrel, quarrel}, false},
		{"now and then", 1, []end{quarrel, quarrel, {err: syscall.EPIPE}, quarrel, quarrel}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := ready(t, test.slots, func(c *Config, _ *fakeLUN) { c.StrangerLimit = 3 })
			for _, e := range test.ends {
				r.after(e.lived)
				for i := range test.slots {
					r.path(i).kill(e.err)
					if e.refused {
						r.refuse[i] = errCut
					}
				}
				r.after(5 * time.Second)
				clear(r.refuse)
				r.awaitActive(test.slots)
			}
			var quarrel *StrangerError
			if got := errors.As(r.d.Fatal(), &quarrel); got != test.want {
				t.Errorf("the device ends with %v", r.d.Fatal())
			}
		})
	}
	t.Run("one session of two", func(t *testing.T) {
		r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.StrangerLimit = 3 })
		for range 6 {
			r.path(1).kill(io.EOF)
			r.awaitActive(2)
		}
		if err := r.d.Fatal(); err != nil {
			t.Errorf("the device ends with %v", err)
		}
	})
}

// awaitActive lets time pass until all paths carry I/O.
func (r *rig) awaitActive(slots int) {
	r.t.Helper()
	for range 600 {
		up := 0
		for i := range slots {
			if r.state(i) == "active" {
				up++
			}
		}
		if up == slots {
			return
		}
		r.after(100 * ms)
	}
	r.t.Fatal("the paths do not come up")
}
