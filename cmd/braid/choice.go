package main

import (
	"fmt"
	"strings"
)

// The words that a setting may have.
type (
	// Barrier is how a flush treats writes that come while it is under way.
	Barrier string
	// PathSelector is how the path of a command is chosen.
	PathSelector string
	// Fence is what makes sure that a lost nexus executes nothing any more.
	Fence string
	// Digest is a digest that is demanded; empty leaves it to the target.
	Digest string
	// LogLevel is the least level that is logged.
	LogLevel string
	// LogFormat is how log lines are written.
	LogFormat string
)

// UnmarshalText takes one of the words.
func (v *Barrier) UnmarshalText(t []byte) error {
	return choose(v, t, "drain", "hold", "epoch")
}

// UnmarshalText takes one of the words.
func (v *PathSelector) UnmarshalText(t []byte) error {
	return choose(v, t, "service-time", "queue-length", "round-robin")
}

// UnmarshalText takes one of the words.
func (v *Fence) UnmarshalText(t []byte) error {
	return choose(v, t, "auto", "reinstate", "reserve", "reset", "wait", "none")
}

// UnmarshalText takes one of the words.
func (v *Digest) UnmarshalText(t []byte) error {
	return choose(v, t, "none", "crc32c")
}

// UnmarshalText takes one of the words.
func (v *LogLevel) UnmarshalText(t []byte) error {
	return choose(v, t, "debug", "info", "warn", "error")
}

// UnmarshalText takes one of the words.
func (v *LogFormat) UnmarshalText(t []byte) error {
	return choose(v, t, "console", "json")
}

func choose[T ~string](v *T, text []byte, words ...string) error {
	for _, w := range words {
		if w == string(text) {
			*v = T(w)
			return nil
		}
	}
	hint := ""
	if near := nearest(string(text), words); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%q is none of %s%s", text, strings.Join(words, ", "), hint)
}

// nearest gives the word that a typing error away from s, or "" if none is near.
func nearest(s string, words []string) string {
	best, bestDistance := "", 3
	if len(s) < 6 {
		bestDistance = 2
	}
	for _, w := range words {
		d := distance(s, w)
		if d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance counts the insertions, deletions, changes and swaps of neighbours
// that lead from a to b.
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row before the last
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
