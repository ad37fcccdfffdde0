package main

import (
	"fmt"
	"strings"
	"time"
)

// repeats finds lines that say the same again. The first of a kind passes at
// once; those that follow within the window are counted, and the last of them
// is passed with the count when the window ends. While they go on, the window
// doubles. Lines are of one kind if level, message and text values agree;
// numbers and durations may differ.
type repeats struct {
	kinds map[string]*repeated
	order []*repeated // oldest first
}

type repeated struct {
	kind   string
	last   logLine
	count  int // lines held back
	window time.Duration
	ends   time.Time
}

func newRepeats() *repeats { return &repeats{kinds: make(map[string]*repeated)} }

// empty reports whether no window is open: due has nothing to do.
func (r *repeats) empty() bool { return len(r.order) == 0 }

// add takes a line and gives those to write now.
func (r *repeats) add(line logLine) []logLine {
	out := r.due(line.at, nil)
	kind := kindOf(line)
	if k := r.kinds[kind]; k != nil {
		k.last = line
		k.count++
		return out
	}
	if len(r.order) == repeatKinds {
		out = r.end(r.order[0], out)
		r.drop(0)
	}
	k := &repeated{kind: kind, window: repeatFirst, ends: line.at.Add(repeatFirst)}
	r.kinds[kind] = k
	r.order = append(r.order, k)
	return append(out, line)
}

// due appends what is to be written because its window has ended.
func (r *repeats) due(now time.Time, out []logLine) []logLine {
	for i := 0; i < len(r.order); {
		k := r.order[i]
		if now.Before(k.ends) {
			i++
			continue
		}
		if k.count == 0 {
			r.drop(i)
			continue
		}
		out = r.end(k, out)
		k.window = min(2*k.window, repeatMost)
		k.ends = now.Add(k.window)
		i++
	}
	return out
}

// flush appends all that is held back.
func (r *repeats) flush(out []logLine) []logLine {
	for _, k := range r.order {
		out = r.end(k, out)
	}
	return out
}

func (r *repeats) end(k *repeated, out []logLine) []logLine {
	if k.count == 0 {
		return out
	}
	line := k.last
	if k.count > 1 {
		line.fields = append(line.fields[:len(line.fields):len(line.fields)],
			logField{"repeated", fmt.Sprintf("%d times", k.count)})
	}
	k.count = 0
	return append(out, line)
}

func (r *repeats) drop(i int) {
	delete(r.kinds, r.order[i].kind)
	r.order = append(r.order[:i], r.order[i+1:]...)
}

func kindOf(line logLine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", line.level, line.msg)
	for _, f := range line.fields {
		b.WriteString("\x00" + f.key)
		if s, ok := f.value.(string); ok {
			b.WriteString("=" + s)
		}
	}
	return b.String()
}
