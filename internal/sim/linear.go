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
// as far as that takes back no write that was promised to stay. And so is the rule of the
// copies: see read.
type linear struct {
	blocks [linearBlocks][]linearOp
	events []linearEvent
	bare   bool // no copies are kept
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
	copied    int64 // of a write: behind that there is no copy of it any more
	failed    int64 // of a write: when it ended with an error
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
		*ops = append(*ops, linearOp{op: r.id, value: value, call: int64(r.begun), ret: forever,
			copied: forever, failed: forever})
	})
}

// acknowledge takes note of the answer to a write.
func (l *linear) acknowledge(r *request, moment uint64, now time.Duration) {
	l.each(r, func(_ uint64, ops *[]linearOp) {
		if o := find(*ops, r.id); o != nil {
			o.ret, o.answered = int64(moment), now
			if r.fua {
				o.copied = o.ret
			}
		}
	})
}

// fail takes note that a write ended with an error.
func (l *linear) fail(r *request, moment uint64) {
	l.each(r, func(_ uint64, ops *[]linearOp) {
		if o := find(*ops, r.id); o != nil {
			o.failed = int64(moment)
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

// flushed takes note that a flush which covers an acknowledged write was answered.
func (l *linear) flushed(op uint32, lba uint64, moment uint64) {
	if lba < linearBlocks {
		if o := find(l.blocks[lba], op); o != nil {
			o.copied = min(o.copied, int64(moment))
		}
	}
}

// died takes note that all copies went with their daemon.
func (l *linear) died(moment uint64) {
	for lba := range l.blocks {
		for i := range l.blocks[lba] {
			if o := &l.blocks[lba][i]; o.ret != forever {
				o.copied = min(o.copied, int64(moment))
			}
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

	call   int64
	op     uint32
	ret    int64
	copied int64 // see linearOp
	failed int64

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
	h := story{bare: l.bare}
	for i := range all {
		o := &all[i]
		switch {
		case !o.read:
			h.write(o, l.events, end)
		case o.ret < end:
			h.add(o.call, o.ret, step{value: o.value, read: true, call: o.call})
		}
	}
	for _, e := range l.events {
		if e.moment < end {
			h.add(e.moment, e.moment, step{crash: e.moment})
		}
	}
	return h.ops
}

type story struct {
	ops  []porcupine.Operation
	bare bool
}

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
	s := step{value: o.value, op: o.op, call: o.call, ret: o.ret, keep: !o.soft,
		copied: o.copied, failed: o.failed}
	if h.bare {
		s.copied = 0
	}
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
