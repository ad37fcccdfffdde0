package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats runs a script of lines at given seconds; what is written stands
// beside each step.
func TestRepeats(t *testing.T) {
	start := time.Unix(0, 0)
	r := newRepeats()
	line := func(sec int, msg string, fields ...logField) logLine {
		return logLine{start.Add(time.Duration(sec) * time.Second), slog.LevelWarn, msg, fields}
	}
	show := func(lines []logLine) string {
		var out []string
		for _, l := range lines {
			s := l.msg
			for _, f := range l.fields {
				s += fmt.Sprintf(" %s=%v", f.key, f.value)
			}
			out = append(out, s)
		}
		return strings.Join(out, "; ")
	}
	a := logField{"path", "a"}
	b := logField{"path", "b"}
	retry := func(n int) logField { return logField{"retry", time.Duration(n) * time.Second} }
	steps := []struct {
		line logLine
		want string
	}{
		{line(0, "lost", a, retry(1)), "lost path=a retry=1s"},
		{line(1, "lost", b), "lost path=b"},
		{line(2, "lost", a, retry(2)), ""},
		{line(3, "lost", a, retry(4)), ""},
		{line(9, "up", a), "up path=a"},
		// The window of the first ended at 10 s; that of path b passed in silence.
		{line(12, "other"), "lost path=a retry=4s repeated=2 times; other"},
		{line(20, "lost", b), "lost path=b"},
		{line(21, "lost", a, retry(8)), ""},
		// The second window is twice as long. A single repeat stands for itself.
		{line(33, "x"), "lost path=a retry=8s; x"},
		// Nothing came in the third window, so the next is the first of its kind.
		{line(90, "lost", a, retry(9)), "lost path=a retry=9s"},
		{line(91, "lost", a, retry(9)), ""},
		{line(92, "lost", a, retry(9)), ""},
	}
	for i, s := range steps {
		if got := show(r.add(s.line)); got != s.want {
			t.Errorf("step %d wrote %q, want %q", i, got, s.want)
		}
	}
	if got := show(r.flush(nil)); got != "lost path=a retry=9s repeated=2 times" {
		t.Errorf("flush wrote %q", got)
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	r := newRepeats()
	for i := range 10 * repeatKinds {
		if got := r.add(logLine{time.Unix(0, 0), 0, fmt.Sprint(i), nil}); len(got) != 1 {
			t.Fatalf("line %d wrote %d lines", i, len(got))
		}
	}
	if len(r.kinds) != repeatKinds || len(r.order) != repeatKinds {
		t.Errorf("%d kinds, %d in order", len(r.kinds), len(r.order))
	}
}

func TestLogJSON(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out, "info", "json")
	l.Log(slog.LevelDebug, "hidden")
	l.Log(slog.LevelWarn, "path lost", "device", "disk", "portal", "h:3260", "err", errors.New("reset"),
		"after", 1500*time.Millisecond, "n", 3)
	l.Close()
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	want := map[string]any{"level": "warn", "message": "path lost", "device": "disk",
		"portal": "h:3260", "err": "reset", "after": "1.5s", "n": 3.0}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
}

// stuck is a writer that waits until it is let go.
type stuck struct {
	bytes.Buffer
	begun, let chan struct{}
	once       bool
}

func (s *stuck) Write(p []byte) (int, error) {
	if !s.once {
		s.once = true
		close(s.begun)
		<-s.let
	}
	return s.Buffer.Write(p)
}

// A pipe that nobody reads does not keep the process from ending.
func TestLogCloseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{begun: make(chan struct{}), let: make(chan struct{})}
		l := NewLog(w, "info", "json")
		l.Log(slog.LevelInfo, "first")
		<-w.begun
		began := time.Now()
		l.Close()
		if took := time.Since(began); took != closeMost {
			t.Errorf("it took %v", took)
		}
		close(w.let)
	})
}

func TestLogDrops(t *testing.T) {
	w := &stuck{begun: make(chan struct{}), let: make(chan struct{})}
	l := NewLog(w, "info", "json")
	l.Log(slog.LevelInfo, "first")
	<-w.begun
	const more = logRing + 100
	for i := range more {
		l.Log(slog.LevelInfo, "line", "n", fmt.Sprint(i)) // never waits
	}
	if n := l.drops.Load(); n != 100 {
		t.Errorf("%d lines dropped, want 100", n)
	}
	close(w.let)
	l.Close()
	l.Log(slog.LevelInfo, "too late") // must not panic
	if n := strings.Count(w.String(), "\n"); n != 1+logRing+1 {
		t.Errorf("%d lines written, want %d", n, 1+logRing+1)
	}
	if !strings.Contains(w.String(), `"count":100,`) {
		t.Error("the dropped lines are not told of")
	}
}
