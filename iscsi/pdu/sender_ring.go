package pdu

// element is one PDU on its way out. The header, the digests and the padding are
// inside it, the payload is borrowed.
type element struct {
	data    []byte
	header  [HeaderLen + DigestLen]byte
	trailer [3 + DigestLen]byte
	hlen    uint8 // bytes of header in use
	tlen    uint8 // bytes of trailer in use
}

// size is the length of the PDU on the wire.
func (e *element) size() int { return int(e.hlen) + len(e.data) + int(e.tlen) }

// ring is a queue of elements; it grows by doubling.
type ring struct {
	slots []element // a power of two of them
	head  int       // index of the first, not wrapped
	n     int
}

const firstSlots = 16

// at is the i-th element, 0 being the first.
func (q *ring) at(i int) *element { return &q.slots[(q.head+i)&(len(q.slots)-1)] }

// push makes room for one more and returns it; its contents are old.
func (q *ring) push() *element {
	if q.n == len(q.slots) {
		q.grow()
	}
	q.n++
	return q.at(q.n - 1)
}

func (q *ring) grow() {
	slots := make([]element, max(firstSlots, 2*len(q.slots)))
	for i := range q.n {
		slots[i] = *q.at(i)
	}
	q.slots, q.head = slots, 0
}

// pop forgets the first, and the payload that it refers to.
func (q *ring) pop() {
	q.at(0).data = nil
	q.head = (q.head + 1) & (len(q.slots) - 1)
	q.n--
}

// clear forgets all.
func (q *ring) clear() {
	for q.n > 0 {
		q.pop()
	}
}
