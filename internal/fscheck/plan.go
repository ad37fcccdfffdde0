package fscheck

import (
	"fmt"
	"math/rand/v2"
)

// A kind is what an operation does.
type kind int

const (
	read kind = iota
	readDirect
	readMapped
	write
	writeDirect
	writeMapped
	truncate
	allocate
	allocateKeep
	punch
	zeroRange
	sync
	syncData
	drop
	reopen
	rename
	replace
	whole
	kinds
)

// table says how often a kind is picked, and what it is called.
var table = [kinds]struct {
	weight int
	name   string
}{
	read:         {16, "read"},
	readDirect:   {8, "read, direct"},
	readMapped:   {8, "read, mapped"},
	write:        {24, "write"},
	writeDirect:  {16, "write, direct"},
	writeMapped:  {12, "write, mapped"},
	truncate:     {3, "truncate"},
	allocate:     {2, "allocate"},
	allocateKeep: {2, "allocate beyond the end"},
	punch:        {5, "punch a hole"},
	zeroRange:    {4, "zero a range"},
	sync:         {4, "fsync"},
	syncData:     {4, "fdatasync"},
	drop:         {3, "fsync and drop from the cache"},
	reopen:       {1, "close and open"},
	rename:       {1, "rename"},
	replace:      {1, "replace by a new file"},
	whole:        {1, "drop from the cache and read the whole file"},
}

func (k kind) String() string { return table[k].name }

// An operation is one step on a file. Offset and length are 0 where they mean
// nothing; of truncate, the offset is the new size.
type operation struct {
	number uint64 // from 1
	kind   kind
	offset int64
	length int64
}

func (o operation) String() string {
	return fmt.Sprintf("%d: %v at %d, %d bytes", o.number, o.kind, o.offset, o.length)
}

// unit is what direct reads and writes are aligned to, in bytes.
const unit = 4096

// A plan makes the operations on one file.
type plan struct {
	random  *rand.Rand
	most    int64 // size of the file
	longest int64 // bytes of one operation
	number  uint64
	missing [kinds]bool // what the file system does not have
}

func newPlan(seed uint64, file int, round int, size int64) *plan {
	return &plan{
		random:  rand.New(rand.NewPCG(seed, uint64(round)<<32|uint64(file))),
		most:    size,
		longest: min(size, 256<<10),
	}
}

// next makes the next operation on a file of a size. Nothing but the random
// numbers and the size goes into it.
func (p *plan) next(size int64) operation {
	p.number++
	o := operation{number: p.number, kind: p.pick()}
	switch o.kind {
	case read, readMapped:
		if size == 0 {
			o.kind = whole
			break
		}
		o.offset = p.random.Int64N(size)
		o.length = min(p.length(), size-o.offset)
	case readDirect:
		o.offset = p.random.Int64N(size/unit+1) * unit
		o.length = (p.length() + unit - 1) / unit * unit
	case writeDirect:
		o.offset, o.length = p.place()
		o.offset = o.offset / unit * unit
		o.length = min((o.length+unit-1)/unit*unit, p.most-o.offset)
	case truncate:
		o.offset = p.random.Int64N(p.most + 1)
	case write, writeMapped, allocate, allocateKeep, punch, zeroRange:
		o.offset, o.length = p.place()
	}
	return o
}

func (p *plan) pick() kind {
	all := 0
	for _, t := range table {
		all += t.weight
	}
	n := p.random.IntN(all)
	for k, t := range table {
		if n -= t.weight; n < 0 {
			if p.missing[k] {
				return write
			}
			return kind(k)
		}
	}
	panic("fscheck: the weights are not their sum")
}

// length is short more often than long.
func (p *plan) length() int64 {
	return 1 + p.random.Int64N(max(1, p.longest>>p.random.IntN(8)))
}

func (p *plan) place() (offset, length int64) {
	length = p.length()
	return p.random.Int64N(p.most - length + 1), length
}
