package barrier

import (
	"errors"
	"math/rand/v2"
	"testing"
)

const (
	fSlots  = 3
	fBlocks = 64
	fLimit  = 2048
)

// A fuzzer makes calls on a ledger and its coordinator as bytes say, never against the
// life of a write, and checks the ledger after each.
type fuzzer struct {
	t  *testing.T
	l  *Ledger
	c  *Coordinator
	in []byte

	given  []*Write // by Ready
	out    []*Write
	tokens []Token
	up     [fSlots]bool
	owners map[int]bool // whose write is not over
	begun  int
	memory int // pieces of memory that have not come back
	opened int // flushes that are not done
}

var errFuzz = errors.New("by policy")

func (f *fuzzer) byte() int {
	if len(f.in) == 0 {
		return 0
	}
	b := f.in[0]
	f.in = f.in[1:]
	return int(b)
}

// slot is a session that is up, or not; -1 if there is none.
func (f *fuzzer) slot(up bool) int {
	at := f.byte()
	for i := range fSlots {
		if s := (at + i) % fSlots; f.up[s] == up {
			return s
		}
	}
	return -1
}

func pick[T any](f *fuzzer, list *[]T) (x T, ok bool) {
	if len(*list) == 0 {
		return x, false
	}
	i := f.byte() % len(*list)
	x = (*list)[i]
	*list = append((*list)[:i], (*list)[i+1:]...)
	return x, true
}

func (f *fuzzer) step() {
	op := f.byte()
	switch op % 20 {
	case 0, 1, 2, 3:
		f.begin()
	case 4, 5, 6, 7:
		f.send()
	case 8, 9, 10, 11:
		f.answer()
	case 12, 13:
		f.flush()
	case 14:
		for t, ok := f.c.NextSync(); ok; t, ok = f.c.NextSync() {
			f.tokens = append(f.tokens, t)
		}
	case 15:
		f.answerSync()
	case 16:
		f.lose()
	case 17:
		if s := f.slot(false); s >= 0 {
			f.up[s] = true
			f.l.Up(s)
		}
	case 18:
		f.l.Fenced(f.byte() % fSlots)
	case 19:
		f.rare()
	}
	f.c.Step()
	f.collect()
}

func (f *fuzzer) begin() {
	if len(f.owners) >= 24 {
		return // long queues only take time
	}
	w := f.l.New()
	flags := f.byte()
	w.Off = uint64(f.byte() % fBlocks)
	w.End = w.Off + 1 + uint64(f.byte()%16)
	w.Kind, w.Stable, w.Keep = Kind(flags%3), flags&4 != 0, flags&8 != 0
	room := f.l.RangeCharge()
	if w.Kind == Data {
		room = w.End - w.Off
		w.Data = make([]byte, room)
	}
	if w.Keep = w.Keep && !w.Stable && f.l.Reserve(room); w.Keep && w.Kind == Data {
		f.l.Attach(w, f.l.Buffer(w.Data))
		f.memory++
	}
	f.begun++
	w.Owner = f.begun
	f.owners[f.begun] = true
	f.l.Begin(w)
}

func (f *fuzzer) send() {
	w := f.l.Ready()
	if w != nil {
		f.given = append(f.given, w)
	}
	s := f.slot(true)
	if s < 0 {
		return
	}
	w, ok := pick(f, &f.given)
	switch {
	case !ok:
	case w.Dropped():
		f.l.Discard(w)
	default:
		if p, must := f.c.Place(f.c.Tag()); must && f.up[p] {
			s = p
		}
		f.l.Sent(w, s)
		f.out = append(f.out, w)
	}
}

func (f *fuzzer) answer() {
	w, ok := pick(f, &f.out)
	if !ok {
		return
	}
	owner, _ := w.Owner.(int)
	switch f.byte() % 8 {
	case 0:
		f.l.Again(w)
	case 1:
		delete(f.owners, owner)
		f.l.Refused(w)
	case 2: // answered while a session's death is being told
		f.l.Unknown(w, f.byte()%2 == 0)
	default:
		f.l.Answered(w)
	}
}

func (f *fuzzer) flush() {
	fl := &Flush{Scope: All, Moves: f.l.Moves(), Owner: f}
	switch how := f.byte(); {
	case how%4 == 0:
		fl.Scope = uint64(how>>2)%(1<<fSlots-1) + 1
	case how%4 == 1:
		fl.Background = true
	}
	f.opened++
	f.c.Flush(fl)
}

func (f *fuzzer) answerSync() {
	t, ok := pick(f, &f.tokens)
	if !ok {
		return
	}
	switch f.byte() % 8 {
	case 0:
		f.c.Refused(t)
	case 1:
		f.c.Aborted(t)
	case 2:
		f.c.Retry(t)
	default:
		f.c.Synced(t)
	}
}

func (f *fuzzer) lose() {
	s := f.slot(true)
	if s < 0 {
		return
	}
	f.up[s] = false
	kept := f.out[:0]
	for _, w := range f.out {
		if w.Slot() == s {
			f.l.Unknown(w, f.byte()%2 == 0)
		} else {
			kept = append(kept, w)
		}
	}
	f.out = kept
	f.l.Lost(s)
}

func (f *fuzzer) rare() {
	switch f.byte() % 8 {
	case 0, 1:
		f.l.CacheLost()
	case 2:
		f.l.DropCopies()
	case 3:
		if s := f.slot(true); s >= 0 {
			f.l.Changed(s)
		}
	case 4:
		if s := f.slot(false); s >= 0 {
			f.l.Lose(s)
		}
	case 5:
		f.abandon()
	case 6:
		f.c.Fail(errFuzz)
	case 7:
		if s := f.slot(false); s >= 0 {
			f.l.Settled(s)
		}
	}
}

func (f *fuzzer) abandon() {
	list := f.l.Unanswered()
	if w, ok := pick(f, &list); ok {
		delete(f.owners, w.Owner.(int))
		f.l.Abandon(w)
		return
	}
	for i, w := range f.given {
		if !w.Replay {
			f.given = append(f.given[:i], f.given[i+1:]...)
			delete(f.owners, w.Owner.(int))
			f.l.Abandon(w)
			return
		}
	}
}

// collect takes what the ledger gives back: every owner once, every piece of memory once.
func (f *fuzzer) collect() {
	for o := f.l.Acknowledged(); o != nil; o = f.l.Acknowledged() {
		if !f.owners[o.(int)] {
			f.t.Fatalf("write %d is acknowledged, and was over", o)
		}
		delete(f.owners, o.(int))
	}
	for b := f.l.Released(); b != nil; b = f.l.Released() {
		if f.memory--; f.memory < 0 {
			f.t.Fatal("more memory comes back than was given")
		}
	}
	for fl := f.c.Completed(); fl != nil; fl = f.c.Completed() {
		if f.opened--; f.opened < 0 {
			f.t.Fatal("more flushes are done than were asked for")
		}
	}
	if err := checkInvariants(f.l); err != nil {
		f.t.Fatal(err)
	}
}

// finish lets everything go well from now on: all must come to an end.
func (f *fuzzer) finish() {
	for s := range fSlots {
		if !f.up[s] {
			f.up[s] = true
			f.l.Up(s)
		}
		f.l.Fenced(s)
	}
	f.in = nil
	for range 2 { // the first may report what went wrong before
		f.flush0()
		for range 10000 {
			f.send()
			if w, ok := pick(f, &f.out); ok {
				f.l.Answered(w)
			}
			for t, ok := f.c.NextSync(); ok; t, ok = f.c.NextSync() {
				f.tokens = append(f.tokens, t)
			}
			if t, ok := pick(f, &f.tokens); ok {
				f.c.Synced(t)
			}
			f.c.Step()
			f.collect()
			if f.opened == 0 && len(f.out)+len(f.given)+f.l.Replays() == 0 && f.l.ready.n == 0 {
				break
			}
		}
	}
	switch l := f.l; {
	case f.opened != 0:
		f.t.Fatalf("%d flushes are never done", f.opened)
	case len(f.owners) != 0:
		f.t.Fatalf("%d writes are never answered", len(f.owners))
	case l.Used() != 0 || l.Kept() != 0 || f.memory != 0:
		f.t.Fatalf("all is flushed; %d bytes are used, %d copies kept, %d pieces of memory out",
			l.Used(), l.Kept(), f.memory)
	case len(l.out.writes) != 0 || l.waiting.n != 0 || l.inAir != 0:
		f.t.Fatalf("%d writes are out, %d wait", len(l.out.writes), l.waiting.n)
	}
}

func (f *fuzzer) flush0() {
	f.opened++
	f.c.Flush(&Flush{Scope: All, Owner: f})
}

func newFuzzer(t *testing.T, in []byte) *fuzzer {
	f := &fuzzer{t: t, in: in, owners: map[int]bool{}}
	f.l = NewLedger(fLimit)
	f.c = NewCoordinator(f.l, Mode(f.byte()%3))
	if f.byte()%4 == 0 {
		f.l.MarkDirty(2)
	}
	return f
}

func (f *fuzzer) run() {
	for range 500 {
		if len(f.in) == 0 {
			break
		}
		f.step()
	}
	f.finish()
}

func FuzzLedger(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) { newFuzzer(t, in).run() })
}

// TestRandomCalls is a long walk of the kind that FuzzLedger takes.
func TestRandomCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	for range 300 {
		b := make([]byte, 3000)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		newFuzzer(t, b).run()
	}
}
