package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// linear holds the histories of a few blocks against the model of a register: is there one
// order of all that clients asked, each within the time between question and answer, that
// explains what they read? The search is porcupine's. The crash rule is the model's own: a
// crash is an event of the history, at which a block may fall back to what it held before,
// as far as that takes back no write that was promised to stay.
type linear struct {
	blocks [linearBlocks][]linearOp
	events []linearEvent
}

const (
	linearBlocks  = 8  // the hottest
	linearOps     = 64 // of one block, at the most: its first ones
	linearOverlap = 12 // operations at a time, at the most: the search grows with that
	linearSteps   = 20000
	forever       = math.MaxInt64 / 4
	onItsWay      = time.Millisecond // an answer that a daemon gave before an event
)

// A linearOp is one request as far as it concerns one block.
type linearOp struct {
	op        uint32 // of a write
	value     uint32 // that is read or written
	read      bool
	soft      bool // a crash may have taken it back after its answer
	again     int  // how often it was sent again
	call, ret int64
	answered  time.Duration
}

// A linearEvent is a loss of the cache or the death of a daemon.
type linearEvent struct {
	moment int64
	at     time.Duration
}

func (l *linear) each(r *request, do func(lba uint64, ops *[]linearOp)) {
	for lba := r.lba; lba < min(r.lba+r.n, linearBlocks); lba++ {
		do(lba, &l.blocks[lba])
	}
}

// begin takes note of a write.
func (l *linear) begin(r *request) {
	value := r.id
	if r.kind != opWrite {
		value = zeroOp
	}
	l.each(r, func(_ uint64, ops *[]linearOp) {
		*ops = append(*ops, linearOp{op: r.id, value: value, call: int64(r.begun), ret: forever})
	})
}

// acknowledge takes note of the answer to a write.
func (l *linear) acknowledge(r *request, moment uint64, now time.Duration) {
	l.each(r, func(_ uint64, ops *[]linearOp) {
		if o := find(*ops, r.id); o != nil {
			o.ret, o.answered = int64(moment), now
		}
	})
}

// resent takes note that the kernel sends a write again, which may be done twice then.
func (l *linear) resent(r *request) {
	l.each(r, func(_ uint64, ops *[]linearOp) {
		if o := find(*ops, r.id); o != nil {
			o.again++
		}
	})
}

// read takes note of what one block of a read held.
func (l *linear) read(r *request, lba uint64, value uint32, moment uint64) {
	if lba < linearBlocks {
		l.blocks[lba] = append(l.blocks[lba], linearOp{
			read: true, value: value, call: int64(r.begun), ret: int64(moment),
		})
	}
}

// soften takes note that a crash may have taken an acknowledged write back.
func (l *linear) soften(op uint32, lba uint64) {
	if lba < linearBlocks {
		if o := find(l.blocks[lba], op); o != nil {
			o.soft = true
		}
	}
}

func (l *linear) event(moment uint64, now time.Duration) {
	l.events = append(l.events, linearEvent{int64(moment), now})
}

func find(ops []linearOp, op uint32) *linearOp {
	for i := range ops {
		if ops[i].op == op && !ops[i].read {
			return &ops[i]
		}
	}
	return nil
}

// step is what the model sees of an operation.
type step struct {
	value uint32
	read  bool
	may   bool // it may have had no effect
	crash int64
	keep  bool // no crash takes it back

	ensure bool // it takes effect only if nothing is left of it

	call int64
	op   uint32
	ret  int64

	number byte // of a write: see content
}

// steps makes the history of a block.
func (l *linear) steps(lba int) []porcupine.Operation {
	all := slices.Clone(l.blocks[lba])
	slices.SortStableFunc(all, func(a, b linearOp) int { return cmp.Compare(a.call, b.call) })
	end := int64(forever)
	if len(all) > linearOps {
		end = all[linearOps].call
		all = all[:linearOps]
	}
	var h story
	for i := range all {
		o := &all[i]
		switch {
		case !o.read:
			h.write(o, l.events, end)
		case o.ret < end:
			h.add(o.call, o.ret, step{value: o.value, read: true})
		}
	}
	for _, e := range l.events {
		if e.moment < end {
			h.add(e.moment, e.moment, step{crash: e.moment})
		}
	}
	return h.ops
}

type story struct{ ops []porcupine.Operation }

// add enters an operation. Moments are doubled, so that what happens at one has a length.
func (h *story) add(call, ret int64, s step) {
	h.ops = append(h.ops, porcupine.Operation{
		ClientId: len(h.ops), Input: s, Call: 2 * call, Return: 2*ret + 1,
	})
}

// write enters a write. One that was under way at an event may have taken effect before it,
// been taken back, and taken effect again: but if it was answered, it is there after the
// last, with others on top of it or not.
func (h *story) write(o *linearOp, events []linearEvent, end int64) {
	s := step{value: o.value, op: o.op, call: o.call, ret: o.ret, keep: !o.soft}
	ret := o.ret
	if ret >= end {
		ret = forever
	}
	last := o.call
	s.may = true
	for range o.again {
		h.add(o.call, ret, s)
	}
	for _, e := range events {
		if e.moment <= o.call || e.moment >= end || !o.soft && e.moment > ret {
			continue
		}
		h.add(last, max(ret, e.moment), s)
		if last = e.moment + 1; ret < forever && e.at > o.answered-onItsWay && e.moment < ret {
			last = o.call
		}
	}
	if s.may = ret == forever || o.soft; o.soft {
		h.add(o.call, ret, s)
		ret = forever
	}
	s.ensure = last != o.call && !s.may
	h.add(last, ret, s)
}

// A content is what a block holds, and behind it what it may fall back to, the newest first:
// numbers of writes, as bytes. The last is what the block held at the beginning.
type content string

const (
	blank      = content("\x00")
	maxContent = 40
)

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
	case in.read && s.writes[c[0]].value == in.value:
		return append(next, c)
	case in.read:
		return next
	case in.crash != 0:
		return s.crash(next, c, in.crash)
	case in.may && c[0] != in.number:
		return append(next, c, c.push(in.number))
	case in.ensure && strings.IndexByte(string(c), in.number) >= 0:
		return append(next, c)
	case in.ensure && len(c) > maxContent:
		return append(next, c, c.push(in.number))
	}
	return append(next, c.push(in.number))
}

func (c content) push(number byte) content {
	if c[0] == number {
		return c
	}
	return content([]byte{number}) + c[:min(len(c), maxContent)]
}

// crash adds to next what a block may hold after an event.
func (s *search) crash(next contents, c content, moment int64) contents {
	next = append(next, c)
	for i := range len(c) - 1 {
		w := &s.writes[c[i]]
		if w.keep && !(w.call < moment && moment < w.ret) {
			break
		}
		next = append(next, c[i+1:])
	}
	return next
}

// judge looks at every block's history. It returns how many it could look at, and the first
// that no order explains.
func (l *linear) judge() (judged int, fault string) {
	for lba := range l.blocks {
		ops := l.steps(lba)
		if !reads(l.blocks[lba]) || overlap(ops) > linearOverlap {
			continue
		}
		s := newSearch(ops)
		if !porcupine.CheckOperations(s.model(), ops) {
			return judged, fmt.Sprintf("block %d: no order of what was asked explains what was read:%s",
				lba, describe(ops))
		}
		if s.steps <= linearSteps {
			judged++
		}
	}
	return judged, ""
}

func reads(ops []linearOp) bool {
	return slices.ContainsFunc(ops, func(o linearOp) bool { return o.read })
}

// overlap is how many operations there are at a time at the most.
func overlap(ops []porcupine.Operation) int {
	most := 0
	for i := range ops {
		n := 0
		for j := range ops {
			if ops[j].Call <= ops[i].Call && ops[i].Call <= ops[j].Return {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range ops {
		s := o.Input.(step)
		what := fmt.Sprintf("write %d", s.value)
		switch {
		case s.read:
			what = fmt.Sprintf("read %d", s.value)
		case s.crash != 0:
			what = "crash"
		case s.may:
			what += ", maybe"
		}
		ret := "-"
		if o.Return < forever {
			ret = fmt.Sprint(o.Return)
		}
		fmt.Fprintf(&b, "\n  %6d %6s  %s", o.Call, ret, what)
	}
	return b.String()
}
