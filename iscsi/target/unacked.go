package target

import (
	"time"

	"braid/iscsi/pdu"
)

// From error recovery level 1 on, what the initiator may ask for again is kept
// until it acknowledges it (RFC 7143 sections 4.2.2.2 and 11.16): a response
// until an ExpStatSN has passed its StatSN, with it the Data-In of its command,
// of which a DataACK frees a part before.
//
// What is kept is bounded. At the bound the initiator is asked to acknowledge, and
// commands wait (backlog.go) rather than what is kept be lost, which is what an
// initiator with a hole in StatSN wants most. Only when that does not help the
// oldest goes; it is then answered with a Reject, "SNACK reject" (section 7.8).

const (
	maxHeldBytes   = 8 << 20 // of Data-In that one connection keeps
	minHeldBytes   = 1 << 20 // however many connections there are
	spareAnswers   = 64      // answers kept beyond two queue depths
	maxAckRequests = 3       // NOP-Ins to an initiator that is silent
	maxBacklogAsks = 10      // NOP-Ins while commands wait
)

// An answer is a response with a StatSN of its own.
type answer struct {
	statSN uint32
	ticket pdu.Ticket
	k      *task // of a SCSI command; nil: the rest counts
	header pdu.Header
	data   []byte
	buf    *buffer // where data is, nil: in memory of its own
}

// isPong reports whether it answers a ping: who misses that asks again without being told.
func (a *answer) isPong() bool { return a.k == nil && a.header.Opcode() == pdu.OpNopIn }

// answerQueue is a ring of answers in the order of StatSN, without gaps.
type answerQueue struct {
	ring    []answer
	head, n int
}

func (q *answerQueue) at(i int) *answer { return &q.ring[(q.head+i)%len(q.ring)] }

func (q *answerQueue) push() *answer {
	if q.n == len(q.ring) {
		ring := make([]answer, max(32, 2*q.n))
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	return q.at(q.n - 1)
}

// keepTask keeps a command whose status has just been numbered.
func (c *Conn) keepTask(k *task) {
	k.state = taskAnswered
	*c.unacked.push() = answer{statSN: k.statSN, k: k}
}

// pushAnswer queues a response other than to a SCSI command. Its data is in b,
// or in memory that nobody writes to any more.
func (c *Conn) pushAnswer(h *pdu.Header, data []byte, b *buffer) {
	if c.level == 0 {
		c.push(h, data, nil, nil, b)
		return
	}
	ticket := c.transmit(h, data)
	*c.unacked.push() = answer{
		statSN: h.StatSN(), ticket: ticket, header: *h, data: data, buf: b,
	}
	if b != nil {
		c.held += len(b.b)
	}
	// Requests that are no SCSI commands do not wait.
	for c.unacked.n > 2*c.maxAnswers() || c.unacked.n > 0 && c.held > 2*c.holdLimit() {
		if !c.left(c.unacked.at(0)) {
			return
		}
		c.dropAnswer()
	}
}

// acknowledge takes an ExpStatSN. One that goes back, or beyond what was sent,
// says nothing.
func (c *Conn) acknowledge(now time.Duration, expStatSN uint32) {
	if pdu.Less(c.acked, expStatSN) && pdu.LessEq(expStatSN, c.statSN) {
		c.acked, c.backlogAsks = expStatSN, 0
		c.reap()
		c.runBacklog(now)
	}
}

// reap forgets what is acknowledged. What has not left yet, though the initiator
// says that it is there, stays until it has.
func (c *Conn) reap() {
	for q := &c.unacked; q.n > 0; {
		a := q.at(0)
		if !pdu.Less(a.statSN, c.acked) || !c.left(a) {
			return
		}
		c.dropAnswer()
	}
}

// left reports whether nothing of an answer is queued.
func (c *Conn) left(a *answer) bool {
	if a.k != nil {
		return c.send.Gone(a.k.in.ticket)
	}
	return c.send.Gone(a.ticket)
}

// dropAnswer forgets the oldest answer.
func (c *Conn) dropAnswer() {
	q := &c.unacked
	a := *q.at(0)
	*q.at(0) = answer{}
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	if a.k != nil {
		c.t.free(a.k)
	}
	if a.buf != nil {
		c.held -= len(a.buf.b)
		c.t.pool.put(a.buf)
	}
}

// forgetAnswers forgets all that is kept. Nothing of it is queued any more.
func (c *Conn) forgetAnswers() {
	for c.unacked.n > 0 {
		c.dropAnswer()
	}
}

// answered finds a command whose status was sent and not acknowledged.
func (c *Conn) answered(match func(k *task) bool) *task {
	for i := c.unacked.n - 1; i >= 0; i-- {
		if k := c.unacked.at(i).k; k != nil && match(k) {
			return k
		}
	}
	return nil
}
