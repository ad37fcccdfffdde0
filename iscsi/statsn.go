package iscsi

import (
	"slices"

	"braid/iscsi/pdu"
)

// statuses is what a connection knows of its status numbers, RFC 7143 section
// 4.2.2.2.
type statuses struct {
	numbers
	// held are numbers that have arrived and must not be acknowledged yet,
	// because data that their tasks read is missing (RFC 7143 section 11.16).
	held []int
	// tries counts how often those missing were asked for in vain.
	tries int
}

// maxGap is how many numbers a target may be ahead of what has arrived. More are
// not lost PDUs but nonsense.
const maxGap = 1024

// firstNumber makes room below the first StatSN, so that numbers stay positive.
const firstNumber = 1 << 40

// startStatus begins the count with what the login has left.
func (c *Conn) startStatus() {
	c.stat.restart(firstNumber + int(c.expStatSN))
	c.stat.held, c.stat.tries = c.stat.held[:0], 0
}

// count takes in the numbers that every PDU of a target carries. It is false if
// its status was taken in before. A gap in the status numbers is an answer that was
// lost (RFC 7143 section 7.5): it ends the session at error recovery level 0, above
// it the answer is asked for again.
func (c *Conn) count(h *pdu.Header) (fresh bool, err error) {
	fresh = true
	if hasStatus(h) {
		if fresh, err = c.countStatus(h); err != nil {
			return false, err
		}
	}
	c.s.window.update(h.ExpCmdSN(), h.MaxCmdSN())
	return fresh, nil
}

func (c *Conn) countStatus(h *pdu.Header) (fresh bool, err error) {
	if c.s.level == 0 {
		if h.StatSN() != c.expStatSN {
			return false, breach(h, "StatSN %d, %d was due", h.StatSN(), c.expStatSN)
		}
		c.expStatSN++
		return true, nil
	}
	i := c.stat.number(h.StatSN())
	if !c.stat.fresh(i) {
		return false, nil
	}
	if i-c.stat.next > maxGap {
		return false, breach(h, "StatSN %d, %d was due", h.StatSN(), uint32(c.stat.next))
	}
	if i < c.stat.known {
		c.stat.tries = 0
	}
	c.stat.arrive(i)
	c.acknowledge()
	return true, nil
}

// acknowledge sets what ExpStatSN says from now on.
func (c *Conn) acknowledge() {
	next := c.stat.next
	for _, i := range c.stat.held {
		next = min(next, i)
	}
	c.expStatSN = uint32(next)
}

// hold puts off the end of a read whose status has come before all its data.
func (c *Conn) hold(h *pdu.Header, t *task, moved int) {
	t.in.held, t.in.moved, t.in.status = true, moved, c.stat.number(h.StatSN())
	c.stat.held = append(c.stat.held, t.in.status)
	c.acknowledge()
}

// release lets the status of a task be acknowledged.
func (c *Conn) release(t *task) {
	if t.in.held {
		i := slices.Index(c.stat.held, t.in.status)
		c.stat.held = slices.Delete(c.stat.held, i, i+1)
		t.in.held = false
	}
	if t.in.damaged {
		// The status that came damaged may have come again under a number of
		// its own: the old one is not waited for.
		t.in.damaged = false
		if c.stat.fresh(t.in.damagedAt) {
			c.stat.arrive(t.in.damagedAt)
		}
	}
	c.acknowledge()
}
