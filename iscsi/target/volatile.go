package target

import (
	"cmp"
	"fmt"
	"slices"
)

// Volatility says which writes a SYNCHRONIZE CACHE makes stable.
type Volatility uint8

// Kinds of volatility.
const (
	PerLUN   Volatility = iota // every write to the logical unit, as SBC has it
	PerNexus                   // only writes that came over the same nexus
)

// Volatile is RAM behind a volatile write cache that can be lost.
//
// There is one live image, which every nexus reads, and for each block that was
// written but not flushed a list of what it may fall back to: its stable content
// and, in the order of the writes, the last content that each nexus put there.
// The newest is the live one. A flush by a nexus makes its own last content the
// stable one; contents older than that are gone for good, and newer ones, by
// other nexuses, stay unstable. So if A and then B wrote a block, a flush by A
// makes A's data stable under B's; a flush by B makes B's stable, and a later
// flush by A brings nothing back.
type Volatile struct {
	ram   *RAM
	bs    uint64
	per   Volatility
	table [][]*dirtyBlock // by block, in two levels
	dirty []*dirtyBlock   // all of them, in no order
	order []*dirtyBlock   // scratch
	free  [][]byte
	spare []*dirtyBlock
}

const slabBlocks = 64 // blocks of bookkeeping that are allocated at a time

type dirtyBlock struct {
	lba      uint64
	index    int // in Volatile.dirty
	stable   []byte
	versions []version  // in the order of writing; at most one of a nexus
	first    [1]version // where versions begins, since most blocks have one
}

type version struct {
	nexus uint32
	data  []byte // nil for the newest, whose data is the live image's
}

// NewVolatile returns a cache over ram that is lost in blocks of blockSize bytes.
func NewVolatile(ram *RAM, blockSize int, per Volatility) (*Volatile, error) {
	if blockSize < 512 || blockSize > minPageSize || blockSize&(blockSize-1) != 0 {
		return nil, fmt.Errorf("target: block size %d is no power of two from 512 to %d",
			blockSize, minPageSize)
	}
	v := &Volatile{ram: ram, bs: uint64(blockSize), per: per}
	v.table = make([][]*dirtyBlock, (ram.Size()/v.bs+dirEntries)/dirEntries)
	return v, nil
}

// Size is the capacity in bytes.
func (v *Volatile) Size() uint64 { return v.ram.Size() }

// Unstable is how many blocks have unstable content.
func (v *Volatile) Unstable() int { return len(v.dirty) }

// ReadStable fills dst with what block lba would fall back to.
func (v *Volatile) ReadStable(dst []byte, lba uint64) {
	if d := v.at(lba); d != nil {
		copy(dst, d.stable)
		return
	}
	v.ram.read(dst[:v.bs], lba*v.bs)
}

// Submit executes op at once. Writes and flushes are of whole blocks.
func (v *Volatile) Submit(op *Op) bool {
	nexus := op.Nexus
	if v.per == PerLUN {
		nexus = 0
	}
	switch op.Kind {
	case OpFlush:
		v.flush(op.Offset, op.Length, nexus)
		op.Err = nil
		return true
	case OpWrite, OpZero:
		n := op.Length
		if op.Kind == OpWrite {
			n = uint64(len(op.Data))
		}
		for lba := op.Offset / v.bs; lba < (op.Offset+n+v.bs-1)/v.bs; lba++ {
			if !op.FUA {
				v.keep(lba, nexus)
			} else if d := v.at(lba); d != nil {
				v.settle(d)
			}
		}
	}
	return v.ram.Submit(op)
}

// keep remembers what block lba holds before nexus overwrites it.
func (v *Volatile) keep(lba uint64, nexus uint32) {
	d := v.at(lba)
	if d == nil {
		d = v.newDirty(lba)
		d.stable = v.copyLive(lba)
		d.versions = append(d.versions, version{nexus: nexus})
		return
	}
	newest := &d.versions[len(d.versions)-1]
	if newest.nexus == nexus {
		return
	}
	newest.data = v.copyLive(lba)
	if i := d.of(nexus); i >= 0 {
		v.free = append(v.free, d.versions[i].data)
		d.versions = slices.Delete(d.versions, i, i+1)
	}
	d.versions = append(d.versions, version{nexus: nexus})
}

// flush makes nexus's last content of each block of the range the stable one. It
// goes backwards, since settle puts the last block into the place of one.
func (v *Volatile) flush(off, length uint64, nexus uint32) {
	first, end := off/v.bs, (off+length+v.bs-1)/v.bs
	for n := len(v.dirty) - 1; n >= 0; n-- {
		d := v.dirty[n]
		if d.lba < first || length > 0 && d.lba >= end {
			continue
		}
		i := d.of(nexus)
		switch {
		case i < 0:
		case i == len(d.versions)-1:
			v.settle(d)
		default:
			v.free = append(v.free, d.stable)
			d.stable = d.versions[i].data
			for _, older := range d.versions[:i] {
				v.free = append(v.free, older.data)
			}
			d.versions = slices.Delete(d.versions, 0, i+1)
		}
	}
}

// Lose implements Forgetful.
func (v *Volatile) Lose(choose func(lba uint64, versions int) int) {
	v.order = append(v.order[:0], v.dirty...)
	slices.SortFunc(v.order, func(a, b *dirtyBlock) int { return cmp.Compare(a.lba, b.lba) })
	for _, d := range v.order {
		switch n := choose(d.lba, len(d.versions)); {
		case n <= 0:
			v.ram.write(d.stable, d.lba*v.bs)
		case n < len(d.versions):
			v.ram.write(d.versions[n-1].data, d.lba*v.bs)
		}
		v.settle(d)
	}
}

// settle forgets all contents but the live one, which is stable then.
func (v *Volatile) settle(d *dirtyBlock) {
	v.free = append(v.free, d.stable)
	d.stable = nil
	for _, o := range d.versions {
		if o.data != nil {
			v.free = append(v.free, o.data)
		}
	}
	clear(d.versions)
	d.versions = d.versions[:0]
	v.table[d.lba/dirEntries][d.lba%dirEntries] = nil
	last := len(v.dirty) - 1
	v.dirty[d.index] = v.dirty[last]
	v.dirty[d.index].index = d.index
	v.dirty[last] = nil
	v.dirty = v.dirty[:last]
	v.spare = append(v.spare, d)
}

func (v *Volatile) at(lba uint64) *dirtyBlock {
	if t := v.table[lba/dirEntries]; t != nil {
		return t[lba%dirEntries]
	}
	return nil
}

func (v *Volatile) newDirty(lba uint64) *dirtyBlock {
	if len(v.spare) == 0 {
		slab := make([]dirtyBlock, slabBlocks)
		for i := range slab {
			slab[i].versions = slab[i].first[:0]
			v.spare = append(v.spare, &slab[i])
		}
	}
	d := v.spare[len(v.spare)-1]
	v.spare = v.spare[:len(v.spare)-1]
	d.lba, d.index = lba, len(v.dirty)
	v.dirty = append(v.dirty, d)
	t := &v.table[lba/dirEntries]
	if *t == nil {
		*t = make([]*dirtyBlock, dirEntries)
	}
	(*t)[lba%dirEntries] = d
	return d
}

func (v *Volatile) copyLive(lba uint64) []byte {
	if len(v.free) == 0 {
		slab := make([]byte, slabBlocks*v.bs)
		for ; len(slab) > 0; slab = slab[v.bs:] {
			v.free = append(v.free, slab[:v.bs:v.bs])
		}
	}
	n := len(v.free) - 1
	b := v.free[n]
	v.free = v.free[:n]
	v.ram.read(b, lba*v.bs)
	return b
}

func (d *dirtyBlock) of(nexus uint32) int {
	for i := range d.versions {
		if d.versions[i].nexus == nexus {
			return i
		}
	}
	return -1
}

func (v *Volatile) lend(off uint64, n int) ([]byte, *page) { return v.ram.lend(off, n) }

func (v *Volatile) giveBack(p *page) { v.ram.giveBack(p) }

func (v *Volatile) extent(off uint64) (bool, uint64) { return v.ram.extent(off) }
