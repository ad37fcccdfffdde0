package mpath

import (
	"time"

	"braid/barrier"
)

// admit lets a request that changes blocks begin, or queues it.
func (d *Device) admit(r *Request) {
	r.tag = d.rounds.Tag()
	if d.admission.n > 0 || !d.mayBegin(r) {
		d.admission.push(r)
		return
	}
	d.begin(r)
}

// admitWaiting begins what no longer has to wait, in order.
func (d *Device) admitWaiting() bool {
	moved := false
	for d.admission.n > 0 && d.mayBegin(d.admission.head) {
		d.begin(d.admission.pop())
		moved = true
	}
	if d.admission.n > 0 && !d.unfenced() && !d.rounds.Holds(d.admission.head.tag) {
		d.squeeze(true) // there is no room for its copies
	}
	return moved
}

// mayBegin asks for all that a write needs before its first command goes out: that
// no nexus of a former process can still write, that no flush holds it, and room for
// its copies.
func (d *Device) mayBegin(r *Request) bool {
	if d.unfenced() || d.rounds.Holds(r.tag) {
		return false
	}
	r.stable = r.Op == Write && r.FUA && d.lun.FUA || d.writeThrough()
	r.bare = d.cfg.Retain == 0 || r.stable
	if r.bare {
		return true
	}
	room := d.room(r)
	if room > d.ledger.Limit() && r.Op == Write && d.lun.FUA {
		r.bare, r.stable = true, true
		return true
	}
	return d.ledger.Reserve(room)
}

// room is what the copies of a request need.
func (d *Device) room(r *Request) uint64 {
	if r.Op != Write {
		return d.rangeCount(r) * d.ledger.RangeCharge()
	}
	n := uint64(0)
	for _, b := range r.Data {
		n += uint64(cap(b))
	}
	return n
}

// writeThrough reports whether what the LUN acknowledges is taken as stable.
func (d *Device) writeThrough() bool { return d.cfg.TrustWCE && !d.lun.WriteCache }

func (d *Device) begin(r *Request) {
	r.moves, r.losses = d.ledger.Moves(), d.ledger.Losses()
	d.wrote = true
	if r.Op == Write {
		d.write(r)
	} else {
		d.ranges(r)
	}
}

// squeeze begins a flush in the background when copies take three quarters of their
// room, or when memory is needed. After one that failed the next has to wait.
func (d *Device) squeeze(need bool) {
	full := d.ledger.Used()*4 > d.ledger.Limit()*3
	if d.flushing || d.now < d.squeezeAt || d.ledger.Kept() == 0 || !full && !need {
		return
	}
	d.flushing = true
	d.background = barrier.Flush{Scope: barrier.All, Background: true}
	d.rounds.Flush(&d.background)
}

// squeezePause is how long that is.
const squeezePause = time.Second

// Squeeze asks for memory back: copies are flushed to stable storage in the
// background.
func (d *Device) Squeeze() { d.squeeze(true) }
