package barrier

import "fmt"

// A setting is what one exploration is about.
type setting struct {
	shape    string
	mode     Mode
	keep     bool      // copies are kept
	writes   [][2]byte // [off, end) of each write
	flushes  int
	deaths   int  // how often a session is lost
	losses   int  // how often a cache is
	abandons int  // how many writes are given up by policy
	fua      int  // number of the write that goes with FUA, 0 none
	eager    bool // what can be sent is sent before anything else happens
	split    bool // a write is executed some time before it is answered
}

// A world is the ledger, the target, and what the model knows of both.
type world struct {
	set   *setting
	rules rules
	l     *Ledger
	c     *Coordinator
	disk  refDisk

	cmds    []sent
	cmdsBuf [16]sent
	pairs   []writePair
	flush   *[mFlushes + 1]Flush

	begun, flushed          int
	deaths, lost, abandoned int
	tags                    [mWrites + 1]uint64
	over                    [mWrites + 1]bool // acknowledged or given up
	down                    [mSlots]bool
	unfenced                [mSlots]bool
	attention               [mSlots]bool // the next command meets the sign of a lost cache
	told                    uint64       // losses that a flush has reported

	acked   content3 // the newest acknowledged write of each block
	durable content3 // the newest that a flush has answered for
	floor   [mFlushes + 1]content3
	await   [mFlushes + 1]uint8 // writes out when it was admitted, as bits
	open    [mFlushes + 1]bool

	scratch scratch // of mutants
}

func newWorld(set *setting, r rules) *world {
	w := &world{set: set, rules: r, l: NewLedger(1 << 20), flush: new([mFlushes + 1]Flush)}
	w.c = NewCoordinator(w.l, set.mode)
	w.cmds = w.cmdsBuf[:0]
	for i := range mSlots {
		w.l.Up(i)
		w.l.slots[i].synced = w.l.slots[i].acked // the first flush is over
	}
	return w
}

// Actions. Each has an argument: a slot, or the place of a command.
const (
	aBegin = iota
	aFlush
	aSend
	aSync
	aExec
	aAnswer
	aUp
	aFence
	aDie // from here on: what need not happen
	aLoseCache
	aLoseAll
	aAbandon
)

type act struct{ kind, arg int }

func (a act) String() string {
	n := [...]string{"begin", "flush", "send to", "sync", "execute", "answer", "up", "fence", "die",
		"lose the cache of", "lose all caches", "abandon"}
	return fmt.Sprintf("%s %d", n[a.kind], a.arg)
}

// actions lists what may be possible now; take tells what is.
func (w *world) actions(list []act) []act {
	add := func(kind, arg int) { list = append(list, act{kind, arg}) }
	if w.set.eager && w.mustSend() {
		for s := range mSlots {
			if !w.down[s] {
				add(aSend, s)
			}
		}
		return list
	}
	if w.begun < len(w.set.writes) {
		add(aBegin, w.begun+1)
	}
	if w.flushed < w.set.flushes {
		add(aFlush, w.flushed+1)
	}
	for i := range w.cmds {
		if c := &w.cmds[i]; c.done {
			add(aAnswer, i)
		} else {
			add(aExec, i)
		}
	}
	if w.l.round.active {
		add(aSync, 0)
	}
	for s := range mSlots {
		if !w.down[s] && w.l.ready.n > 0 {
			add(aSend, s)
		}
		if w.down[s] {
			add(aUp, s)
		}
		if w.unfenced[s] {
			add(aFence, s)
		}
		if !w.down[s] && w.deaths < w.set.deaths {
			add(aDie, s)
		}
		if w.lost < w.set.losses && w.mayLose(s) {
			add(aLoseCache, s)
		}
	}
	if w.lost < w.set.losses && (w.set.keep || !w.down[0] && !w.down[1]) {
		add(aLoseAll, 0)
	}
	if w.abandoned < w.set.abandons {
		for i := 1; i <= w.begun; i++ {
			add(aAbandon, i)
		}
	}
	return list
}

// mustSend reports whether a write can be sent.
func (w *world) mustSend() bool { return w.l.ready.n > 0 && !(w.down[0] && w.down[1]) }

// admit lets the ledger admit copies, which it does when it is asked for a write.
func (w *world) admit() {
	if x := w.l.Ready(); x != nil {
		w.l.ready.insertAfter(nil, x)
	}
}

// mayLose reports whether slot's cache may be lost. Without copies the loss must show:
// on the living session, or because both are gone.
func (w *world) mayLose(s int) bool {
	return w.set.keep || !w.down[s] || w.down[0] && w.down[1]
}

// take does what an action says. It is false if that is not possible now.
func (w *world) take(a act) (bool, error) {
	switch a.kind {
	case aBegin:
		return w.begin()
	case aFlush:
		w.beginFlush()
	case aSend:
		if !w.send(a.arg) {
			return false, nil
		}
	case aSync:
		t, ok := w.c.NextSync()
		if !ok {
			return false, nil
		}
		w.cmds = append(w.cmds, sent{slot: t.Slot, sync: true, token: t})
	case aExec:
		if !w.mayExec(a.arg) {
			return false, nil
		}
		w.exec(a.arg)
	case aAnswer:
		if !w.answer(a.arg) {
			return false, nil
		}
	case aUp:
		w.down[a.arg], w.attention[a.arg] = false, false
		w.l.Up(a.arg)
	case aFence:
		w.fence(a.arg)
	case aDie:
		if !w.set.keep && w.unnoticed(a.arg) {
			return false, nil // a loss that does not show, and no copies: there is no help
		}
		w.die(a.arg)
	case aLoseCache, aLoseAll:
		w.loseCache(a)
	case aAbandon:
		if !w.abandon(a.arg) {
			return false, nil
		}
	}
	w.c.Step()
	w.admit()
	return true, w.look()
}

func (w *world) begin() (bool, error) {
	tag := w.c.Tag()
	if w.c.Holds(tag) {
		return false, nil
	}
	w.begun++
	id := w.begun
	r := w.set.writes[id-1]
	x := w.l.New()
	x.Off, x.End, x.Owner = uint64(r[0]), uint64(r[1]), id
	x.Data = datas[id][r[0]:r[1]:r[1]]
	x.Stable = id == w.set.fua
	if x.Keep = w.set.keep && !x.Stable; x.Keep {
		w.l.Reserve(x.End - x.Off)
		w.l.Attach(x, w.l.Buffer(x.Data))
	}
	w.tags[id] = tag
	w.l.Begin(x)
	w.c.Step()
	w.admit()
	return true, w.look()
}

// datas are what the writes write: their number.
var datas = [mWrites + 1][mBlocks]byte{{}, {1, 1, 1}, {2, 2, 2}, {3, 3, 3}}

func (w *world) beginFlush() {
	w.flushed++
	f := w.flushed
	w.floor[f], w.await[f], w.open[f] = w.acked, 0, true
	if w.set.mode != Epoch {
		for i := range w.cmds {
			if c := &w.cmds[i]; !c.sync && !c.ghost && c.w.unknown == 0 {
				w.await[f] |= 1 << c.id
			}
		}
	}
	w.flush[f] = Flush{Owner: f, Scope: All}
	w.c.Flush(&w.flush[f])
}

// unawait: a write that has to be sent again is not awaited any more.
func (w *world) unawait(id int) {
	for f := range w.await {
		w.await[f] &^= 1 << id
	}
}

func (w *world) send(slot int) bool {
	x := w.l.Ready()
	if x == nil {
		return false
	}
	id := int(x.Data[0])
	if !x.Replay {
		if s, must := w.c.Place(w.tags[id]); must && s != slot {
			return false
		}
	}
	c := sent{slot: slot, w: x, id: id, payload: payload(x), fua: x.Stable}
	w.rules.sent(w, &c)
	w.cmds = append(w.cmds, c)
	return true
}

// mayExec reports whether a command may be executed. Commands are delivered in the order in
// which they were sent, and the first meets the sign of a lost cache.
func (w *world) mayExec(i int) bool {
	c := &w.cmds[i]
	if c.ghost || !w.attention[c.slot] {
		return true
	}
	for j := range i {
		if o := &w.cmds[j]; o.slot == c.slot && !o.ghost && !o.done {
			return false
		}
	}
	return true
}

// exec lets the target execute a command. Without split it is answered at once.
func (w *world) exec(i int) {
	c := &w.cmds[i]
	c.done = true
	switch {
	case c.ghost && !c.sync:
		w.disk.write(c.slot, c.payload, c.fua)
		w.drop(i)
		return
	case w.attention[c.slot]:
		w.attention[c.slot] = false
		c.refused = true
	case c.sync:
		w.disk.sync(c.slot)
	default:
		w.disk.write(c.slot, c.payload, c.fua)
	}
	if !c.sync && !w.set.split {
		w.answer(i)
	}
}

func (w *world) drop(i int) { w.cmds = append(w.cmds[:i], w.cmds[i+1:]...) }

// answer brings the answer of an executed command. A SYNC counts only when all that was
// sent on its session before it has been answered.
func (w *world) answer(i int) bool {
	c := w.cmds[i]
	for j := range i {
		if o := &w.cmds[j]; c.sync && !c.refused && o.slot == c.slot && !o.ghost {
			return false
		}
	}
	w.drop(i)
	switch {
	case c.refused:
		w.l.CacheLost()
		if c.sync {
			w.c.Aborted(c.token)
		} else {
			w.unawait(c.id)
			w.l.Again(c.w)
		}
	case c.sync:
		w.rules.synced(w, c.token)
	default:
		w.rules.answered(w, &c)
	}
	return true
}

func (w *world) fence(slot int) {
	w.unfenced[slot] = false
	for i := len(w.cmds) - 1; i >= 0; i-- {
		if c := &w.cmds[i]; c.ghost && c.slot == slot {
			w.drop(i)
		}
	}
	w.l.Fenced(slot)
}

// die loses a session. What it was sent and has not executed may be executed until it is
// fenced.
func (w *world) die(slot int) {
	w.deaths++
	w.down[slot], w.unfenced[slot], w.attention[slot] = true, true, false
	for i := 0; i < len(w.cmds); {
		c := &w.cmds[i]
		if c.slot != slot || c.ghost {
			i++
			continue
		}
		if !c.sync {
			w.unawait(c.id)
			w.rules.unknown(w, c)
			c.w = nil
		}
		if c.ghost = true; c.sync || c.done {
			w.drop(i)
		} else {
			i++
		}
	}
	w.rules.lost(w, slot)
	if w.down[0] && w.down[1] {
		w.l.Lose(0)
		w.l.Lose(1)
	}
}

func (w *world) loseCache(a act) {
	w.lost++
	for s := range mSlots {
		if a.kind == aLoseAll || a.arg == s {
			w.disk.loseCache(s)
			w.attention[s] = !w.down[s]
		}
	}
}

// abandon gives a write up that is not out.
func (w *world) abandon(id int) bool {
	for _, x := range w.l.Unanswered() {
		if x.Owner == id {
			w.abandoned++
			w.over[id] = true
			w.unawait(id)
			w.l.Abandon(x)
			return true
		}
	}
	return false
}
