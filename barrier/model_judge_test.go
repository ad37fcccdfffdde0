package barrier

import "fmt"

// look takes what the ledger and the coordinator have to say, and judges the state.
func (w *world) look() error {
	for o := w.l.Acknowledged(); o != nil; o = w.l.Acknowledged() {
		id := o.(int)
		w.over[id] = true
		for b := w.set.writes[id-1][0]; b < w.set.writes[id-1][1]; b++ {
			if int(w.acked[b]) > id {
				return fmt.Errorf("w%d was acknowledged after w%d, which is newer", id, w.acked[b])
			}
			w.acked[b] = uint8(id)
		}
	}
	for b := w.l.Released(); b != nil; b = w.l.Released() {
		continue
	}
	reported := w.l.Losses() != w.told
	if reported {
		// Clients are told: what was not flushed may be gone, and is not asked for.
		w.acked = w.durable
		for f := range w.floor {
			w.floor[f] = w.durable
		}
		for id := 1; id <= w.begun; id++ {
			if w.over[id] {
				w.unawait(id)
			}
		}
	}
	for f := w.c.Completed(); f != nil; f = w.c.Completed() {
		w.told = w.l.Losses()
		if err := w.flushDone(f.Owner.(int), f.Err, reported); err != nil {
			return err
		}
	}
	return w.judge()
}

func (w *world) flushDone(f int, err error, reported bool) error {
	w.open[f] = false
	if err != nil {
		return fmt.Errorf("flush %d failed: %v", f, err)
	}
	if reported {
		return nil // the client gets an error
	}
	for b := range mBlocks {
		if w.disk.stable[b] < w.floor[f][b] {
			return fmt.Errorf("flush %d (0: the last) is done, and block %d of w%d is not stable",
				f, b, w.floor[f][b])
		}
		w.durable[b] = max(w.durable[b], w.floor[f][b])
		for id := 1; id <= w.begun; id++ {
			r := w.set.writes[id-1]
			if w.await[f]&(1<<id) != 0 && int(r[0]) <= b && b < int(r[1]) && int(w.disk.stable[b]) < id {
				return fmt.Errorf("flush %d is done, and w%d, sent before it, is not stable", f, id)
			}
		}
	}
	return nil
}

// judge holds the state against what was promised.
func (w *world) judge() error {
	for b := range mBlocks {
		if w.disk.stable[b] < w.durable[b] {
			return fmt.Errorf("block %d: w%d was flushed, stable is w%d",
				b, w.durable[b], w.disk.stable[b])
		}
		if !w.unnoticed(0) && !w.unnoticed(1) && w.l.Read(uint64(b), uint64(b)+1) == Clear &&
			w.disk.live(b) < w.acked[b] {
			return fmt.Errorf("block %d: w%d was acknowledged, a read gives w%d",
				b, w.acked[b], w.disk.live(b))
		}
		out := uint8(noChange)
		for i := range w.cmds {
			c := &w.cmds[i]
			if c.done || c.sync || c.payload[b] == noChange {
				continue
			}
			if out != noChange && out != c.payload[b] {
				return fmt.Errorf("block %d: w%d and w%d are out together", b, out, c.payload[b])
			}
			out = c.payload[b]
		}
	}
	return nil
}

// unnoticed reports whether slot's cache was lost and nobody here can know it yet.
func (w *world) unnoticed(slot int) bool {
	for i := range w.cmds {
		if w.cmds[i].refused && w.cmds[i].slot == slot {
			return true
		}
	}
	return w.attention[slot]
}

// ended judges a state in which nothing more happens by itself: everything must have been
// answered. It goes on to flush once more, and looks for what was left behind.
func (w *world) ended() error {
	for id := 1; id <= w.begun; id++ {
		if !w.over[id] {
			return fmt.Errorf("w%d is never answered", id)
		}
	}
	for f := 1; f <= w.flushed; f++ {
		if w.open[f] {
			return fmt.Errorf("flush %d is never done", f)
		}
	}
	w.flush[0] = Flush{Owner: 0, Scope: All}
	w.floor[0], w.await[0], w.open[0] = w.acked, 0, true
	w.c.Flush(&w.flush[0])
	if err := w.look(); err != nil {
		return err
	}
	for range 100 {
		moved := false
		for _, a := range w.actions(nil) {
			if a.kind >= aDie {
				continue
			}
			ok, err := w.take(a)
			if err != nil {
				return fmt.Errorf("%v: %w", a, err)
			}
			if moved = ok; ok {
				break
			}
		}
		if !moved {
			break
		}
	}
	switch {
	case w.open[0]:
		return fmt.Errorf("a last flush is never done")
	case w.l.Used() != 0 || w.l.Kept() != 0 || len(w.l.out.writes) != 0:
		return fmt.Errorf("all is flushed, %d bytes are used, %d copies kept, %d writes out",
			w.l.Used(), w.l.Kept(), len(w.l.out.writes))
	}
	return checkInvariants(w.l)
}
