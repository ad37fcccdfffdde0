package mpath

import "braid/barrier"

// Bounds of one command that carries no data.
const (
	maxZero = 8 << 20 // bytes of one WRITE SAME
	maxTrim = 1 << 30 // bytes of one UNMAP
)

// zeroes is written where WRITE SAME cannot be used.
var zeroes [Chunk]byte

// partLimit is how many bytes one READ or WRITE may have.
func (d *Device) partLimit() uint64 {
	limit := uint64(Chunk)
	if m := uint64(d.lun.MaxTransfer); m != 0 && m < limit {
		limit = m &^ uint64(d.lun.BlockSize-1)
	}
	if d.lun.short {
		limit = min(limit, 0xffff*uint64(d.lun.BlockSize))
	}
	return limit
}

// eachPart cuts a request's data into commands: none spans two pieces of memory.
func (d *Device) eachPart(r *Request, part func(off uint64, data []byte, piece int)) {
	limit := d.partLimit()
	off := r.Offset
	for i, mem := range r.Data {
		for len(mem) > 0 {
			n := min(uint64(len(mem)), limit)
			part(off, mem[:n:n], i)
			mem, off = mem[n:], off+n
		}
	}
}

// read sends a read's parts on their way.
func (d *Device) read(r *Request) {
	r.parts = 1 // until all are begun
	d.eachPart(r, func(off uint64, data []byte, piece int) {
		o := d.newOp(opRead)
		o.req, o.off, o.data = r, off, data
		o.piece, o.whole = piece, len(data) == len(r.Data[piece])
		r.parts++
		d.sendRead(o)
	})
	d.partDone(r)
}

// write begins a write's parts. Room for its copies has been reserved.
func (d *Device) write(r *Request) {
	r.parts = 1
	keep := !r.bare
	r.Retained = keep
	var buf *barrier.Buffer
	last := -1
	d.eachPart(r, func(off uint64, data []byte, piece int) {
		w := d.ledger.New()
		w.Off, w.End, w.Kind, w.Data = off, off+uint64(len(data)), barrier.Data, data
		w.Stable, w.Keep = r.stable, keep
		if keep {
			if piece != last {
				buf, last = d.ledger.Buffer(r.Data[piece]), piece
			}
			d.ledger.Attach(w, buf)
		}
		d.beginWrite(r, w)
	})
	d.partDone(r)
}

// ranges cuts a trim or a zeroing into commands.
func (d *Device) ranges(r *Request) {
	r.parts = 1
	off, end := r.Offset, r.Offset+r.Length
	for off < end {
		n := min(end-off, d.rangeLimit(r.Op))
		w := d.ledger.New()
		w.Off, w.End, w.Stable, w.Keep = off, off+n, r.stable, !r.bare
		w.Kind, w.NoUnmap = barrier.Zero, r.NoHole
		if r.Op == Trim {
			w.Kind = barrier.Trim
		}
		d.beginWrite(r, w)
		off += n
	}
	d.partDone(r)
}

// rangeLimit is how many bytes one command of a trim or a zeroing may have.
func (d *Device) rangeLimit(op Op) uint64 {
	bs := uint64(d.lun.BlockSize)
	var limit uint64
	switch {
	case op == Trim && d.lun.Unmap:
		limit = min(maxTrim, uint64(d.lun.MaxUnmap)*bs)
	case d.lun.noSame:
		return d.partLimit()
	default:
		limit = maxZero
		if d.lun.MaxWriteSame != 0 {
			limit = min(limit, d.lun.MaxWriteSame*bs)
		}
	}
	return max(limit&^(bs-1), bs)
}

// rangeCount is how many commands a trim or a zeroing takes.
func (d *Device) rangeCount(r *Request) uint64 {
	limit := d.rangeLimit(r.Op)
	return (r.Length + limit - 1) / limit
}

func (d *Device) beginWrite(r *Request, w *barrier.Write) {
	o := d.newOp(opWrite)
	o.req, o.w = r, w
	w.Owner = o
	r.parts++
	d.ledger.Begin(w)
}

// partDone counts one part of a request as over; with the last the request is.
func (d *Device) partDone(r *Request) {
	if r.parts--; r.parts > 0 {
		return
	}
	if r.changes() && r.FUA && !r.stable && r.Err == OK {
		d.makeStable(r)
		return
	}
	if r.changes() && !r.stable && r.losses != d.ledger.Losses() {
		d.tellAgain() // a part of it may be among what was lost
	}
	d.finish(r)
}
