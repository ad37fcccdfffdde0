package target

import "time"

// backlogFull reports whether the connection keeps all that it may, so that
// nothing more is to be answered.
func (c *Conn) backlogFull() bool {
	return c.unacked.n >= c.maxAnswers() || c.unacked.n > 0 && c.held > c.holdLimit()
}

func (c *Conn) maxAnswers() int { return 2*c.t.cfg.QueueDepth + spareAnswers }

// holdLimit is how many bytes of Data-In the connection may keep: all of them
// together no more than a quarter of the buffers.
func (c *Conn) holdLimit() int {
	share := c.t.cfg.BufferBytes / 4 / max(1, len(c.t.conns))
	return min(maxHeldBytes, max(minHeldBytes, share))
}

// postpone makes a task wait until there is room to keep its answer.
func (c *Conn) postpone(k *task) {
	k.state = taskPostponed
	k.park()
	c.backlog.push(k)
}

// runBacklog goes on with tasks that wait for room.
func (c *Conn) runBacklog(now time.Duration) {
	for c.backlog.n > 0 && c.state == stateFull && !c.backlogFull() {
		k := c.backlog.first()
		c.backlog.pop()
		c.t.execute(now, k)
	}
}

// tickAck asks for an acknowledgement: when the initiator is silent and owes one,
// so that it finds out about status that was lost (RFC 7143 section 7.1.4.2), and
// when commands wait for it. If that does not help, room is made without.
func (c *Conn) tickAck(now time.Duration) {
	if now < c.ackDeadline() {
		return
	}
	c.ackRequests++
	c.ackAsked = now
	if c.backlogFull() {
		if c.backlogAsks++; c.backlogAsks > maxBacklogAsks {
			c.backlogAsks = 0
			for c.backlogFull() && c.left(c.unacked.at(0)) {
				c.dropAnswer()
			}
			c.runBacklog(now)
			return
		}
	}
	c.ping()
}

func (c *Conn) ackDeadline() time.Duration {
	switch {
	case c.unacked.n == 0, c.send.Len() > 0, c.unacked.n == 1 && c.unacked.at(0).isPong():
		return Never
	case c.backlogFull():
		return c.ackAsked + c.t.cfg.AckInterval
	case c.ackRequests >= maxAckRequests:
		return Never
	}
	return max(c.lastRecv, c.ackAsked) + c.t.cfg.AckInterval
}
