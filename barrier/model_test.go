package barrier

import (
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

// Shapes of three writes over three blocks.
var shapes = map[string][][2]byte{
	"same":    {{0, 1}, {0, 1}, {0, 1}},
	"chain":   {{0, 2}, {1, 3}, {0, 1}},
	"inside":  {{0, 3}, {1, 2}, {0, 3}},
	"apart":   {{0, 1}, {1, 2}, {2, 3}},
	"covered": {{0, 1}, {2, 3}, {0, 3}},
}

var modeNames = map[Mode]string{Drain: "drain", Hold: "hold", Epoch: "epoch"}

func TestModel(t *testing.T) {
	for _, mode := range []Mode{Drain, Hold, Epoch} {
		for _, keep := range []bool{true, false} {
			for _, shape := range []string{"same", "chain", "inside", "apart", "covered"} {
				set := &setting{mode: mode, keep: keep, writes: shapes[shape], flushes: 2, deaths: 1, eager: true}
				t.Run(fmt.Sprintf("%s keep=%v %s", modeNames[mode], keep, shape), func(t *testing.T) {
					x := explore(set, honest{}, 0)
					if x.passed != nil {
						t.Fatal(x.passed)
					}
					t.Logf("%d states, %d steps, %d ends", len(x.seen), x.edges, x.ends)
				})
			}
		}
	}
}
