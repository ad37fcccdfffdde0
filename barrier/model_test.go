package barrier

import (
	"flag"
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
)

// An explorer walks through every state that can come of a setting, depth first.
type explorer struct {
	root   *world
	stack  []*world
	trace  []act
	seen   map[[2]uint64]struct{}
	seeds  [2]maphash.Seed
	buf    []byte
	edges  int
	ends   int
	limit  int // of states; 0 none
	passed error
}

func explore(set *setting, r rules, limit int) *explorer {
	x := &explorer{seen: map[[2]uint64]struct{}{}, limit: limit,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	x.root = newWorld(set, r)
	x.isNew(x.root)
	x.passed = x.walk(0)
	return x
}

func (x *explorer) at(depth int) *world {
	for len(x.stack) <= depth {
		x.stack = append(x.stack, newWorld(x.root.set, x.root.rules))
	}
	return x.stack[depth]
}

func (x *explorer) isNew(w *world) bool {
	x.buf = w.key(x.buf[:0])
	k := [2]uint64{maphash.Bytes(x.seeds[0], x.buf), maphash.Bytes(x.seeds[1], x.buf)}
	if _, ok := x.seen[k]; ok {
		return false
	}
	x.seen[k] = struct{}{}
	return true
}

func (x *explorer) walk(depth int) (err error) {
	var from *world
	if depth == 0 {
		from = x.root
	} else {
		from = x.stack[depth-1]
	}
	to := x.at(depth)
	var list [32]act
	acts := from.actions(list[:0])
	if from.set.eager && from.l.round.active {
		to.copyFrom(from)
		if _, ok := to.c.NextSync(); ok && !from.mustSend() {
			acts = append(list[:0], act{aSync, 0})
		}
	}
	ended := true
	for _, a := range acts {
		if x.limit > 0 && len(x.seen) > x.limit {
			return nil
		}
		to.copyFrom(from)
		x.trace = append(x.trace[:depth], a)
		ok, err := x.take(to, a)
		if err != nil {
			return x.story(err)
		}
		if !ok {
			continue
		}
		x.edges++
		ended = ended && a.kind >= aDie
		if !x.isNew(to) {
			continue
		}
		if len(x.seen)%64 == 0 {
			if err := checkInvariants(to.l); err != nil {
				return x.story(err)
			}
		}
		if err := x.walk(depth + 1); err != nil {
			return err
		}
	}
	if !ended {
		return nil
	}
	x.ends++
	to.copyFrom(from)
	x.trace = x.trace[:depth]
	if err := to.ended(); err != nil {
		return x.story(err)
	}
	return nil
}

// take makes a panic of the ledger an error.
func (x *explorer) take(w *world, a act) (ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return w.take(a)
}

// story tells how an error came about, by playing the trace once more.
func (x *explorer) story(err error) error {
	var b strings.Builder
	w := newWorld(x.root.set, x.root.rules)
	for _, a := range x.trace {
		what := a.String()
		if (a.kind == aExec || a.kind == aAnswer) && a.arg < len(w.cmds) {
			what = strings.TrimRight(what, "0123456789") + w.cmds[a.arg].String()
		}
		fmt.Fprintln(&b, "  ", what)
		x.take(w, a)
	}
	return fmt.Errorf("%w, after\n%s", err, b.String())
}

// Shapes of the writes over three blocks.
var shapes = map[string][][2]byte{
	"same":    {{0, 1}, {0, 1}, {0, 1}},
	"chain":   {{0, 2}, {1, 3}, {0, 1}},
	"inside":  {{0, 3}, {1, 2}, {0, 3}},
	"apart":   {{0, 1}, {1, 2}, {2, 3}},
	"covered": {{0, 1}, {2, 3}, {0, 3}},
	"two":     {{0, 1}, {1, 2}},
	"twice":   {{0, 2}, {1, 3}},
	"one":     {{0, 1}},
}

var modeNames = [...]string{Drain: "drain", Hold: "hold", Epoch: "epoch"}

var exhaustive = flag.Bool("exhaustive", false,
	"explore the settings of the model that take minutes")

// settings lists what is explored: all three modes, with and without copies.
func settings() (list []setting) {
	add := func(s setting, names ...string) {
		for _, s.shape = range names {
			s.writes = shapes[s.shape]
			for _, s.mode = range []Mode{Drain, Hold, Epoch} {
				for _, s.keep = range []bool{true, false} {
					list = append(list, s)
				}
			}
		}
	}
	// A session lost and fenced at every point.
	add(setting{flushes: 1, deaths: 1, eager: true}, "same", "chain")
	add(setting{flushes: 2, deaths: 1, eager: true}, "one", "twice")
	// Nothing is sent at once, as if each thing happened in a Step of its own.
	add(setting{flushes: 2, deaths: 1}, "twice")
	// A cache lost at every point, between execution and answer too.
	add(setting{flushes: 1, losses: 1, eager: true, split: true}, "twice")
	// Two losses, of one session or of both.
	add(setting{flushes: 1, deaths: 2, eager: true}, "one")
	// The owner of a write is told an error by policy. A write goes with FUA.
	add(setting{flushes: 1, deaths: 1, abandons: 1, eager: true}, "twice")
	add(setting{flushes: 1, deaths: 1, fua: 2, eager: true}, "twice")
	if raceEnabled {
		return list[:6]
	}
	// Three writes, two flushes.
	add(setting{flushes: 2, deaths: 1, eager: true}, "same")
	if *exhaustive {
		add(setting{flushes: 2, deaths: 1, eager: true}, "chain", "covered", "inside", "apart")
		add(setting{flushes: 1, deaths: 2, eager: true}, "twice")
		add(setting{flushes: 2, losses: 1, eager: true, split: true}, "same", "chain")
		add(setting{flushes: 1, losses: 1, deaths: 1, eager: true, split: true}, "twice")
		add(setting{flushes: 2, deaths: 2, eager: true}, "same")
		add(setting{flushes: 2, deaths: 1, abandons: 1, eager: true}, "same")
		add(setting{flushes: 2, deaths: 1, fua: 2, eager: true}, "same")
	}
	return list
}

func (s *setting) name() string {
	n := fmt.Sprintf("%s/%s,flushes=%d,deaths=%d,losses=%d", modeNames[s.mode], s.shape, s.flushes,
		s.deaths, s.losses)
	for _, o := range []struct {
		on   bool
		name string
	}{
		{s.keep, "keep"}, {s.eager, "eager"}, {s.split, "split"}, {s.fua > 0, "fua"},
		{s.abandons > 0, "abandons"},
	} {
		if o.on {
			n += "," + o.name
		}
	}
	return n
}

// TestModel explores every interleaving of a few writes and flushes with everything that
// may befall them, against a reference disk whose caches may be lost.
func TestModel(t *testing.T) {
	states, steps := 0, 0
	for _, set := range settings() {
		t.Run(set.name(), func(t *testing.T) {
			x := explore(&set, honest{}, 0)
			if x.passed != nil {
				t.Fatal(x.passed)
			}
			if x.ends == 0 {
				t.Fatal("no history came to an end")
			}
			t.Logf("%d states, %d steps, %d ends", len(x.seen), x.edges, x.ends)
			states, steps = states+len(x.seen), steps+x.edges
		})
	}
	t.Logf("%d states, %d steps", states, steps)
}
