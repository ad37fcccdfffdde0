package barrier

import "fmt"

// Sizes of the exhaustive model. A block is a byte, its content the number of the
// write that put it there: 0 at first. Of two writes to a block the later one has the
// larger number, and the ledger lets them out in that order.
const (
	mSlots   = 2
	mWrites  = 3
	mFlushes = 2
	mBlocks  = 3
)

type content3 [mBlocks]uint8

// noChange in a payload leaves the block alone.
const noChange = 0xff

// A refDisk is what a disk behind sessions with a volatile cache each may do at worst.
// It has one live image, and for every session the writes that a loss of its cache
// takes back.
type refDisk struct {
	stable content3
	vol    [mBlocks][mSlots]volatileBlock // in the order in which they were executed
	n      [mBlocks]uint8
}

type volatileBlock struct{ val, slot uint8 }

func (d *refDisk) live(b int) uint8 {
	if n := d.n[b]; n > 0 {
		return d.vol[b][n-1].val
	}
	return d.stable[b]
}

func (d *refDisk) remove(b int, i uint8) {
	copy(d.vol[b][i:], d.vol[b][i+1:d.n[b]])
	d.n[b]--
	d.vol[b][d.n[b]] = volatileBlock{}
}

// drop takes slot's volatile content of a block away, and reports where it was.
func (d *refDisk) drop(b, slot int) (volatileBlock, uint8, bool) {
	for i := range d.n[b] {
		if v := d.vol[b][i]; int(v.slot) == slot {
			d.remove(b, i)
			return v, i, true
		}
	}
	return volatileBlock{}, 0, false
}

func (d *refDisk) write(slot int, p content3, fua bool) {
	for b, val := range p {
		if val == noChange {
			continue
		}
		d.drop(b, slot)
		d.vol[b][d.n[b]] = volatileBlock{val, uint8(slot)}
		d.n[b]++
		if fua {
			d.syncBlock(b, slot)
		}
	}
}

// syncBlock makes a session's content of a block stable: what is older is of no
// consequence any more, what is newer stays volatile.
func (d *refDisk) syncBlock(b, slot int) {
	v, at, ok := d.drop(b, slot)
	if !ok {
		return
	}
	d.stable[b] = v.val
	for range at {
		d.remove(b, 0)
	}
}

func (d *refDisk) sync(slot int) {
	for b := range mBlocks {
		d.syncBlock(b, slot)
	}
}

func (d *refDisk) loseCache(slot int) {
	for b := range mBlocks {
		d.drop(b, slot)
	}
}

// A sent command, a write or a SYNC, as the target sees it.
type sent struct {
	slot    int
	sync    bool
	fua     bool
	payload content3
	id      int // of the write; its number
	w       *Write
	token   Token
	ghost   bool // its session is lost: it may be executed, it will not be answered
	done    bool // executed, or refused; not answered yet
	refused bool // by the unit attention that tells of a lost cache
	number  uint64
}

func (c *sent) String() string {
	if c.sync {
		return fmt.Sprintf("SYNC on %d", c.slot)
	}
	return fmt.Sprintf("w%d on %d", c.id, c.slot)
}

func payload(w *Write) content3 {
	p := content3{noChange, noChange, noChange}
	copy(p[w.Off:w.End], w.Data)
	return p
}
