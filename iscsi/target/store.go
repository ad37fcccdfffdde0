package target

import (
	"errors"
	"time"
)

// What a Store may fail with, wrapped or not; any other error is one of the
// medium.
var (
	ErrNoSpace  = errors.New("no space left")
	ErrReadOnly = errors.New("read only")
)

// OpKind says what a Store is asked to do.
type OpKind uint8

// Kinds of operations.
const (
	OpRead  OpKind = iota // fill Data from Offset
	OpWrite               // put Data at Offset
	OpZero                // make Length bytes from Offset read as zeroes
	OpFlush               // make Length bytes from Offset stable, all if Length is 0
)

// An Op is one operation on a Store. The store borrows it, and Data, from
// Submit until it is over.
type Op struct {
	Kind   OpKind
	FUA    bool   // OpWrite, OpZero: stable before it is over
	Nexus  uint32 // whose command it is; for stores that model a cache per nexus
	Offset uint64 // bytes
	Length uint64 // bytes; len(Data) for OpRead and OpWrite
	Data   []byte

	// Err is the outcome, valid once the operation is over.
	Err error

	// Done is called on the engine's thread when an operation that Submit
	// left pending is over.
	Done func(now time.Duration)
}

// A Store keeps the bytes of one logical unit. Reads are coherent: what a write
// put there is read by every nexus as soon as the write is over.
type Store interface {
	// Size is the capacity in bytes. It never changes.
	Size() uint64

	// Submit starts op, whose range lies within Size. It returns true if op
	// is over already, with op.Err set; else op.Done is called later, never
	// from within Submit.
	Submit(op *Op) bool
}

// A lender is a Store of memory that lends its pages for reading, so that data
// leaves without being copied.
type lender interface {
	// lend returns at most n bytes from off, at least one, and the page to be
	// given back; the page is nil if there is nothing to give back. The bytes
	// do not change until then, whatever is written.
	lend(off uint64, n int) ([]byte, *page)
	giveBack(p *page)
}

// A mapper is a Store that knows which of its bytes take up space.
type mapper interface {
	// extent tells whether the byte at off does, and for how many bytes from
	// there on that is so.
	extent(off uint64) (mapped bool, n uint64)
}

// A Forgetful store models a volatile cache.
type Forgetful interface {
	// Lose takes back writes that are not stable. It asks choose, in
	// ascending order, for every block that has any: versions is how many
	// unstable contents the block may fall back to, and the answer is which
	// one stays: 0 the stable one, versions the newest. What stays is stable.
	Lose(choose func(lba uint64, versions int) int)
}

// LoseAll is a choice for Forgetful.Lose: every unstable write is lost.
func LoseAll(uint64, int) int { return 0 }
