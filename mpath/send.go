package mpath

import "braid/barrier"

// sendRead sends one part of a read, or lets it wait.
func (d *Device) sendRead(o *op) {
	end := o.off + uint64(len(o.data))
	switch v := d.ledger.Read(o.off, end); {
	case v == barrier.Spoilt && o.mended:
		d.endPart(o, EIO, errSpoilt)
		return
	case v == barrier.Spoilt:
		o.mended = true // once: that the device takes writes again need not have been told
		d.ledger.Retry(o.off, end)
		fallthrough
	case v == barrier.Held:
		d.blocked.push(o)
		return
	}
	d.buildRead(o)
	o.epoch = d.ledger.Epoch()
	s := d.choose(o, o.avoid)
	if s == nil {
		d.stall(o)
		return
	}
	d.submit(s, o)
}

// unblock tries the reads that waited for copies.
func (d *Device) unblock() bool {
	before := d.blocked.n
	for n := d.blocked.n; n > 0; n-- {
		d.sendRead(d.blocked.pop())
	}
	return d.blocked.n < before
}

// sendWrites sends every write that the ledger gives out.
func (d *Device) sendWrites() bool {
	moved := false
	for w := d.ledger.Ready(); w != nil; w = d.ledger.Ready() {
		d.sendWrite(d.opOf(w))
		moved = true
	}
	return moved
}

func (d *Device) sendWrite(o *op) {
	if o.w.Dropped() {
		d.ledger.Discard(o.w)
		d.freeOp(o)
		return
	}
	o.at = o.w.Off
	d.buildWrite(o)
	s := d.place(o)
	if s == nil {
		d.stall(o)
		return
	}
	if o.req != nil {
		o.req.scope |= 1 << s.index
	}
	d.ledger.Sent(o.w, s.index)
	if o.w.Kind == barrier.Trim && !d.lun.CanTrim() {
		d.skipTrim(o)
		return
	}
	d.submit(s, o)
}

// stall lets a command wait for a path.
func (d *Device) stall(o *op) { d.stalled.push(o) }

// unstall tries the commands that waited for a path.
func (d *Device) unstall() bool {
	before := d.stalled.n
	if before == 0 || !d.anyActive() {
		return false
	}
	for n := d.stalled.n; n > 0; n-- {
		o := d.stalled.pop()
		if o.kind == opRead {
			d.sendRead(o)
		} else {
			d.sendWrite(o)
		}
	}
	return d.stalled.n < before
}

// submit hands a command to a path.
func (d *Device) submit(s *slot, o *op) {
	s.serial++
	o.slot, o.serial, o.sent = s, s.serial, d.now
	s.out.push(o)
	if o.kind <= opWrite {
		o.rested = s.load == 0 && s.service.rested(d.now)
		s.load += o.load()
		o.behind, s.service.used = s.load, d.now
	}
	switch o.kind {
	case opRead:
		s.stats.Reads++
		s.stats.ReadBytes += o.size
	case opWrite:
		s.stats.Writes++
		s.stats.WriteBytes += o.size
	}
	s.path.Submit(d.now, &o.cmd)
}

// resend sends a command again that was refused for a reason that passes.
func (d *Device) resend(o *op) {
	switch w := o.w; o.kind {
	case opRead:
		d.sendRead(o)
	case opSync:
		d.rounds.Retry(o.token)
		d.freeOp(o)
	default:
		if o.req == nil {
			d.freeOp(o)
		}
		d.ledger.Again(w)
	}
}
