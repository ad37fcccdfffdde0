package mpath

import "math"

// choose picks the active path for a command, nil if there is none that has room. Suspect
// paths, and slots named in avoid, are taken only when no other is left.
func (d *Device) choose(o *op, avoid uint64) *slot {
	write := o.kind == opWrite
	s := d.pick(o, func(s *slot) bool {
		return avoid&(1<<s.index) == 0 && s.suspectAt == never && !(write && d.rounds.Fresh(s.index))
	})
	if s == nil {
		s = d.pick(o, func(*slot) bool { return true })
	}
	if s == nil || s.full() {
		return nil
	}
	return s
}

// pick takes the path that is best by the selector's measure. In a tie it is the one whose
// turn it is, so that idle paths take turns.
func (d *Device) pick(o *op, may func(*slot) bool) *slot {
	var best *slot
	var least uint64
	load, n := o.load(), len(d.slots)
	for i := 1; i <= n; i++ {
		s := d.slots[(d.turn+i)%n]
		if s.state != active || !may(s) {
			continue
		}
		if m := d.measure(s, load); best == nil || m < least {
			best, least = s, m
		}
	}
	if best != nil {
		d.turn = best.index
	}
	return best
}

// measure is what a path is chosen by: the one with the least takes the command. One that is
// full is the last. But where times are compared it may be the best all the same: its time
// is that of a command that waits for it, and another one would take longer.
func (d *Device) measure(s *slot, load uint64) uint64 {
	if s.full() && (d.cfg.Selector != ServiceTime || s.service.price == 0) {
		return math.MaxUint64
	}
	switch d.cfg.Selector {
	case QueueLength:
		return uint64(s.out.n)
	case RoundRobin:
		return 0
	}
	return s.expected(d.now, load)
}

// slow are the paths, as bits, that take several times as long as the best one. They are
// passed over for the drain path, which has no choice for each command.
func (d *Device) slow() uint64 {
	least := uint64(math.MaxUint64)
	for _, s := range d.slots {
		if s.state == active {
			least = min(least, s.service.price)
		}
	}
	slow := uint64(0)
	for _, s := range d.slots {
		if s.state == active && s.service.price/slowPrice > least {
			slow |= 1 << s.index
		}
	}
	return slow
}

// slowPrice is how many times the least price makes a path slow.
const slowPrice = 4

// place picks the path of a write: the drain path for requests that came while a
// flush drains.
func (d *Device) place(o *op) *slot {
	if o.req != nil {
		if i, must := d.rounds.Place(o.req.tag); must {
			if i < 0 || d.slots[i].state != active || d.slots[i].full() {
				return nil
			}
			return d.slots[i]
		}
	}
	return d.choose(o, o.avoid)
}
