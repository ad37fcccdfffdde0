package sim

import (
	"slices"

	"github.com/anishathalye/porcupine"
)

// A content is what a block holds, and behind it what it may fall back to, the newest first:
// numbers of writes, as bytes. The last is what the block held at the beginning.
type content string

const (
	blank      = content("\x00")
	maxContent = 40
	uncopied   = 0x80 // beside a number: there is no copy of that write any more
)

// top is the number of the write that a block holds.
func (c content) top() byte { return c[0] &^ uncopied }

// A search is one search for an order. It may not take for ever: once it has used up its
// steps everything fits, and nothing is known.
type search struct {
	writes []step // by their numbers
	steps  int
}

func newSearch(ops []porcupine.Operation) *search {
	s := &search{writes: []step{{value: zeroOp, keep: true}}}
	for i := range ops {
		if in := ops[i].Input.(step); !in.read && in.crash == 0 {
			in.number = s.number(in)
			ops[i].Input = in
		}
	}
	return s
}

// number gives a write its number; the parts of one request have the same.
func (s *search) number(in step) byte {
	for i := range s.writes[1:] {
		if s.writes[i+1].op == in.op {
			return byte(i + 1)
		}
	}
	s.writes = append(s.writes, in)
	return byte(len(s.writes) - 1)
}

// model is the register: its state is the set of contents that a block may have.
func (s *search) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return contents{blank} },
		Step: func(state, input, _ any) (bool, any) {
			next := s.stepAll(state.(contents), input.(step))
			return len(next) > 0, next
		},
		Equal: func(a, b any) bool { return slices.Equal(a.(contents), b.(contents)) },
	}
}

// contents are sorted.
type contents []content

func (s *search) stepAll(set contents, in step) contents {
	if s.steps += len(set); s.steps > linearSteps {
		return set
	}
	var next contents
	for _, c := range set {
		next = s.step(next, c, in)
	}
	if len(next) > 1 {
		slices.Sort(next)
		next = slices.Compact(next)
	}
	return next
}

// step adds to next what a block may hold after an operation that held c.
func (s *search) step(next contents, c content, in step) contents {
	switch {
	case in.read:
		return s.read(next, c, in)
	case in.crash != 0:
		return s.crash(next, c, in.crash)
	case in.may && c.top() != in.number:
		return append(next, c, s.on(c, in))
	case in.ensure && c.has(in.number):
		return append(next, c)
	case in.ensure && len(c) > maxContent:
		return append(next, c, s.on(c, in))
	}
	return append(next, s.on(c, in))
}

// on puts a write on top.
func (s *search) on(c content, in step) content {
	if s.unsure(in.number) {
		c = s.age(c, 0, in.call)
	}
	return c.push(in.number)
}

func (c content) push(number byte) content {
	if c.top() == number {
		return c
	}
	return content([]byte{number}) + c[:min(len(c), maxContent)]
}

func (c content) has(number byte) bool {
	return slices.ContainsFunc([]byte(c), func(b byte) bool { return b&^uncopied == number })
}

// read adds what a block may hold in which a read found a value. When a session was lost, the
// copies of what it acknowledged are written again. Only an acknowledged write cuts a copy,
// so that this takes back those on top that were never answered, or with an error. Whether it
// did shows in what is read: until then both are possible.
func (s *search) read(next contents, c content, in step) contents {
	if s.writes[c.top()].value == in.value {
		return append(next, s.age(c, 1, in.call))
	}
	failed := int64(forever) // the first of those on top; what began later waited for it
	for i := 1; i < len(c) && s.unsure(c[i-1]); i++ {
		failed = min(failed, s.writes[c[i-1]&^uncopied].failed)
		if c[i]&uncopied != 0 || s.writes[c[i]].call > failed {
			continue
		}
		if s.writes[c[i]].value == in.value {
			next = append(next, s.age(c[i:], 1, in.call))
		}
	}
	return next
}

// unsure reports whether a write was never answered, or with an error. It may still have been
// acknowledged within the product, and have a copy: as a part of a larger one, or before the
// flush that was to make it stable failed.
func (s *search) unsure(number byte) bool { return s.writes[number&^uncopied].ret == forever }

// age takes note of the copies that are gone at a moment at which what is in front of from
// is still there. Others than those cannot come back.
func (s *search) age(c content, from int, moment int64) content {
	for i := from; i < len(c) && (i == 0 || s.unsure(c[i-1])); i++ {
		if c[i]&uncopied == 0 && s.writes[c[i]].copied <= moment {
			c = c[:i] + content([]byte{c[i] | uncopied}) + c[i+1:]
		}
	}
	return c
}

// crash adds to next what a block may hold after an event.
func (s *search) crash(next contents, c content, moment int64) contents {
	next = append(next, c)
	for i := range len(c) - 1 {
		w := &s.writes[c[i]&^uncopied]
		if w.keep && !(w.call < moment && moment < w.ret) {
			break
		}
		next = append(next, c[i+1:])
	}
	return next
}
