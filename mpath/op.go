package mpath

import (
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// opKind says what a command is for.
type opKind uint8

const (
	opRead       opKind = iota
	opWrite             // a client's, or a copy that is written again
	opSync              // of a flush round
	opProbe             // of the verification of a new session
	opCheck             // asks a living session for a sign of life
	opAccess            // asks for its access state
	opSetGroup          // asks the target to change one
	opKeys              // reads reservation keys, to fence another session
	opReserve           // keeps unregistered sessions from writing
	opPreempt           // ends the tasks of another session by its key
	opReset             // ends them with all others by a reset
	opUnregister        // before a logout
)

// An op is one SCSI command on its way, or waiting for it. It belongs to the device and
// is in at most one queue.
type op struct {
	cmd  scsi.Command
	kind opKind
	req  *Request       // whose part it is, if a client's
	w    *barrier.Write // of an opWrite

	off    uint64 // opRead: bytes of the device
	data   []byte // opRead: where they go
	epoch  uint64 // opRead: losses of the cache that were seen when it was sent
	piece  int    // opRead: which piece of the request's memory that is
	whole  bool   // and whether it is all of the piece
	hedged bool   // it was sent again elsewhere, or is what was sent so
	own    bool   // it is the second one, in memory of its own
	mended bool   // copies of its blocks that the device had refused were sent again for it
	twin   *op    // the other one of the two, while both are out
	param  [24]byte
	token  barrier.Token // opSync
	lost   *slot         // opKeys to opReset: what is to be fenced
	key    uint64        // opPreempt: that is preempted
	slot   *slot         // that it is out on
	sent   time.Duration
	size   uint64 // bytes of data
	behind uint64 // load of the path when it was sent, its own included
	rested bool   // the path had had nothing for long
	serial uint64 // order on its slot

	at     uint64        // opWrite: where what is out begins, of zeroes that go in pieces
	tries  int           // refusals that ask to try again at once
	pauses int           // refusals that pass with time
	since  time.Duration // first refusal that passes
	avoid  uint64        // slots that cannot do it, as bits
	notNow time.Duration // in later: not before

	in         *ops
	prev, next *op
}

// ops is a queue of commands.
type ops struct {
	head, tail *op
	n          int
}

func (q *ops) push(o *op) {
	if o.in != nil {
		panic("mpath: command is in a queue already")
	}
	o.in, o.prev, o.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = o
	} else {
		q.head = o
	}
	q.tail = o
	q.n++
}

func (q *ops) remove(o *op) {
	if o.in != q {
		panic("mpath: command is not in that queue")
	}
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		q.head = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	} else {
		q.tail = o.prev
	}
	o.in, o.prev, o.next = nil, nil, nil
	q.n--
}

func (q *ops) pop() *op {
	o := q.head
	if o != nil {
		q.remove(o)
	}
	return o
}

func (d *Device) newOp(kind opKind) *op {
	o := d.freeOps.pop()
	if o == nil {
		o = new(op)
	}
	o.kind = kind
	o.cmd.Owner = o
	return o
}

func (d *Device) freeOp(o *op) {
	if o.in != nil {
		panic("mpath: a command is freed while it is in a queue")
	}
	*o = op{}
	d.freeOps.push(o)
}

// opOf is the command that sends w: its owner's, or a new one for a copy.
func (d *Device) opOf(w *barrier.Write) *op {
	if w.Owner != nil {
		return w.Owner.(*op)
	}
	o := d.newOp(opWrite)
	o.w = w
	return o
}
