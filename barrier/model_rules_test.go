package barrier

// rules are the calls by which the model tells the ledger what happened. Mutants make
// one of the mistakes that the ledger is there to avoid.
type rules interface {
	sent(w *world, c *sent)
	answered(w *world, c *sent)
	unknown(w *world, c *sent)
	lost(w *world, slot int)
	synced(w *world, t Token)
}

type honest struct{}

func (honest) sent(w *world, c *sent) { w.l.Sent(c.w, c.slot) }

func (honest) answered(w *world, c *sent) {
	w.l.Answered(c.w)
	if c.w.state == ready {
		w.unawait(c.id)
	}
}

func (honest) unknown(w *world, c *sent) { w.l.Unknown(c.w, true) }
func (honest) lost(w *world, slot int)   { w.l.Lost(slot) }
func (honest) synced(w *world, t Token)  { w.c.Synced(t) }

// scratch is what mutants remember.
type scratch struct {
	numbers [mSlots]uint64 // given at send
	stash   [4]stashed     // copies that should have been cut
	n       int
}

type stashed struct {
	slot     int
	off, end uint64
	id       uint8
}

func (s *scratch) key(k []byte, w *world) []byte {
	for i := range s.numbers {
		k = append(k, byte(s.numbers[i]-w.l.slots[i].acked))
	}
	for i := range w.cmds {
		if n := w.cmds[i].number; n > 0 {
			k = append(k, byte(n-w.l.slots[w.cmds[i].slot].acked))
		}
	}
	for _, x := range s.stash[:s.n] {
		k = append(k, byte(x.slot), byte(x.off), byte(x.end), x.id)
	}
	return k
}

// dirtyFlag sets a flag before a write and clears it after the sync: the count goes up
// when a write is sent, and a SYNC raises "synced" to what it is when it is answered.
type dirtyFlag struct{ honest }

func (dirtyFlag) sent(w *world, c *sent) {
	w.l.Sent(c.w, c.slot)
	w.l.slots[c.slot].acked++
}

func (dirtyFlag) answered(w *world, c *sent) {
	s := &w.l.slots[c.slot]
	before := s.acked
	s.acked--
	w.l.Answered(c.w)
	s.acked = before
}

func (dirtyFlag) synced(w *world, t Token) {
	t.upTo = w.l.slots[t.Slot].acked
	w.c.Synced(t)
}

// numberedAtSend gives a write its number when it is sent.
type numberedAtSend struct{ honest }

func (numberedAtSend) sent(w *world, c *sent) {
	n := &w.scratch.numbers[c.slot]
	*n = max(*n, w.l.slots[c.slot].acked) + 1
	c.number = *n
	w.l.Sent(c.w, c.slot)
}

func (numberedAtSend) answered(w *world, c *sent) {
	s := &w.l.slots[c.slot]
	before := s.acked
	s.acked = c.number - 1
	w.l.Answered(c.w)
	s.acked = max(before, c.number)
}

// deadSkipped forgets what a dead session has not synced.
type deadSkipped struct{ honest }

func (deadSkipped) lost(w *world, slot int) {
	s := &w.l.slots[slot]
	w.l.release(s, s.acked)
	s.bare = 0
	w.l.Lost(slot)
}

// copyForgotten keeps no copy, and believes that it does.
type copyForgotten struct{ honest }

func (copyForgotten) answered(w *world, c *sent) {
	w.l.Answered(c.w)
	w.l.release(&w.l.slots[c.slot], w.l.slots[c.slot].acked)
}

// ackedUnfenced acknowledges a doubtful write as soon as it is answered.
type ackedUnfenced struct{ honest }

func (ackedUnfenced) answered(w *world, c *sent) {
	c.w.unknown = 0
	w.l.Answered(c.w)
}

// copiesUncut does not take the blocks of newer writes out of older copies.
type copiesUncut struct{ honest }

func (copiesUncut) answered(w *world, c *sent) {
	x := c.w
	var old []stashed
	if !x.Replay {
		for k := w.l.kept.first(x.Off, x.End); k != nil; k = w.l.kept.first(k.End, x.End) {
			if k.state == kept {
				old = append(old, stashed{k.at, max(k.Off, x.Off), min(k.End, x.End), k.Data[0]})
			}
		}
	}
	w.l.Answered(x)
	for _, o := range old {
		if w.scratch.n < len(w.scratch.stash) {
			w.scratch.stash[w.scratch.n] = o
			w.scratch.n++
		}
	}
}

func (copiesUncut) lost(w *world, slot int) {
	w.l.Lost(slot)
	for _, o := range w.scratch.stash[:w.scratch.n] {
		if o.slot == slot {
			x := w.l.New()
			x.Off, x.End, x.Data = o.off, o.end, datas[o.id][o.off:o.end]
			w.l.replay(x)
		}
	}
}
