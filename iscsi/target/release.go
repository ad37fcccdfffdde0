package target

import "braid/iscsi/pdu"

// A release is what can be given back once a PDU has left.
type release struct {
	ticket pdu.Ticket
	from   lender
	page   *page
	buf    *buffer
}

// releaseQueue is a ring of releases, in the order of the PDUs.
type releaseQueue struct {
	ring    []release
	head, n int
}

func (q *releaseQueue) push(r release) {
	if q.n == len(q.ring) {
		ring := make([]release, max(64, 2*q.n))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = r
	q.n++
}

// push queues a PDU. What it borrows, a page or a buffer, is given back when it
// has left. All PDUs are of one class, so that StatSN stays in order.
func (c *Conn) push(
	h *pdu.Header, data []byte, from lender, p *page, b *buffer,
) pdu.Ticket {
	ticket := c.transmit(h, data)
	if p != nil || b != nil {
		c.releases.push(release{ticket, from, p, b})
	}
	return ticket
}

// releaseSent gives back what belongs to PDUs that have left.
func (c *Conn) releaseSent() {
	q := &c.releases
	freed := false
	for q.n > 0 {
		r := &q.ring[q.head]
		if !c.send.Gone(r.ticket) {
			break
		}
		if r.page != nil {
			r.from.giveBack(r.page)
		}
		if r.buf != nil {
			c.t.pool.put(r.buf)
			freed = true
		}
		*r = release{}
		q.head = (q.head + 1) % len(q.ring)
		q.n--
	}
	if freed {
		c.t.serveWaiting()
	}
}

// taskQueue is a ring of tasks with Data-In to send.
type taskQueue struct {
	ring    []*task
	head, n int
}

func (q *taskQueue) push(k *task) {
	if q.n == len(q.ring) {
		ring := make([]*task, max(32, 2*q.n))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = k
	q.n++
}

func (q *taskQueue) first() *task { return q.ring[q.head] }

func (q *taskQueue) pop() {
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
}

func (q *taskQueue) find(match func(k *task) bool) *task {
	for i := range q.n {
		if k := q.ring[(q.head+i)%len(q.ring)]; match(k) {
			return k
		}
	}
	return nil
}

// remove takes k out wherever it is.
func (q *taskQueue) remove(k *task) {
	kept := 0
	for i := range q.n {
		o := q.ring[(q.head+i)%len(q.ring)]
		if o != k {
			q.ring[(q.head+kept)%len(q.ring)] = o
			kept++
		}
	}
	for i := kept; i < q.n; i++ {
		q.ring[(q.head+i)%len(q.ring)] = nil
	}
	q.n = kept
}
