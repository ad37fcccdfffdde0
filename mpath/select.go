package mpath

// choose picks the active path for a command of size bytes, nil if there is none.
// Suspect paths, and slots named in avoid, are taken only
// when no other is left.
func (d *Device) choose(size uint64, avoid uint64, write bool) *slot {
	if s := d.pick(size, func(s *slot) bool {
		return avoid&(1<<s.index) == 0 && s.suspectAt == never && !(write && d.rounds.Fresh(s.index))
	}); s != nil {
		return s
	}
	return d.pick(size, func(*slot) bool { return true })
}

func (d *Device) pick(size uint64, may func(*slot) bool) *slot {
	var best *slot
	n := len(d.slots)
	for i := 1; i <= n; i++ {
		s := d.slots[(d.turn+i)%n]
		if s.state != active || !may(s) {
			continue
		}
		if best == nil || d.better(s, best) {
			best = s
		}
	}
	if best != nil {
		d.turn = best.index
	}
	return best
}

// better compares two paths by the selector's measure. In a tie the one whose turn it
// is keeps its place, so that idle paths take turns.
func (d *Device) better(a, b *slot) bool {
	switch d.cfg.Selector {
	case QueueLength:
		return a.out.n < b.out.n
	case RoundRobin:
		return false
	}
	return a.bytes < b.bytes
}

// place picks the path of a write: the drain path for requests that came while a
// flush drains.
func (d *Device) place(o *op) *slot {
	if o.req != nil {
		if i, must := d.rounds.Place(o.req.tag); must {
			if i < 0 || d.slots[i].state != active {
				return nil
			}
			return d.slots[i]
		}
	}
	return d.choose(o.size, o.avoid, true)
}
