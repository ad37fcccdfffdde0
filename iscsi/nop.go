package iscsi

import (
	"math"
	"time"

	"braid/iscsi/pdu"
)

// A ping is a NOP-Out that asks the target for life. Life is bytes received, or
// sent bytes that the peer's transport has acknowledged: a target that works
// through a long queue may be late to answer and is not dead.
type ping struct {
	task   *task // nil: none is out
	ticket pdu.Ticket
	sentAt time.Duration
	// At error recovery level 1 it is sent a second time, under a tag of its
	// own, before the connection is given up: one PDU may have been lost.
	former       *task
	formerTicket pdu.Ticket

	pollAt time.Duration // when to look at the transport's progress again

	acked      uint64 // as of the last Progress
	measuredAt time.Duration
}

// A pong is an answer that is owed to a NOP-In.
type pong struct {
	ttt uint32
	lun [8]byte
}

// maxPongs is how many unanswered pings a target may have out.
const maxPongs = 16

// pollsPerTimeout is how often the transport's progress is looked at while an
// answer is awaited.
const pollsPerTimeout = 4

// Suspect says that the connection waits for the answer to its NOP-Out; the
// transport then tells its progress before each Tick.
func (c *Conn) Suspect() bool { return c.ping.task != nil }

// Progress says how many bytes the transport took that the peer's transport has
// not acknowledged yet. What was acknowledged since the last time counts as life
// at that last time, so that it never puts off the end too long.
func (c *Conn) Progress(now time.Duration, unacked int) {
	p := &c.ping
	if p.task == nil {
		return
	}
	acked := c.sentBytes - min(c.sentBytes, uint64(max(0, unacked)))
	if acked > p.acked {
		c.life = max(c.life, p.measuredAt)
	}
	p.acked, p.measuredAt = acked, now
}

// Probe asks every connection for life now, whatever NopInterval says. It is for
// an owner who finds a command slow.
func (s *Session) Probe(now time.Duration) {
	for _, c := range s.conns {
		if c.state == connUp && c.ping.task == nil && !s.cfg.Offer.Discovery {
			c.sendPing(now)
		}
	}
}

// pingDue sends a NOP-Out when there was no life for NopInterval, and gives the
// connection up when there was none for NopTimeout after that.
func (c *Conn) pingDue(now time.Duration) error {
	cfg := &c.s.cfg
	switch p := &c.ping; {
	case p.task != nil:
		if c.outlived(now) {
			return &TimeoutError{What: "answer to NOP-Out, while a sibling answers",
				After: silentLimit}
		}
		if now >= c.pingEnd() {
			return &TimeoutError{What: "answer to NOP-Out", After: cfg.NopTimeout}
		}
		if now >= p.pollAt {
			p.pollAt = now + cfg.NopTimeout/pollsPerTimeout
			if c.s.level > 0 && p.former == nil && now >= c.pingEnd()-cfg.NopTimeout/2 {
				c.pingAgain()
			}
		}
	case c.pings() && now >= c.life+cfg.NopInterval:
		c.sendPing(now)
	}
	return nil
}

// pings says whether the connection sends pings of its own: RFC 7143 section 4.3
// has none in a discovery session. What closes a former session's connections has its own.
func (c *Conn) pings() bool {
	return c.s.cfg.NopInterval > 0 && !c.s.cfg.Offer.Discovery && !c.carries()
}

// pingEnd is when a ping that is out has failed.
func (c *Conn) pingEnd() time.Duration {
	return max(c.ping.sentAt, c.life) + c.s.cfg.NopTimeout
}

func (c *Conn) pingDeadline() time.Duration {
	switch {
	case c.ping.task != nil:
		return min(c.pingEnd(), c.ping.pollAt)
	case c.pings():
		return c.life + c.s.cfg.NopInterval
	}
	return math.MaxInt64
}

func (c *Conn) sendPing(now time.Duration) {
	t := c.s.tasks.get(kindNop)
	if t == nil {
		return
	}
	t.conn = c
	c.ping = ping{task: t, sentAt: now, pollAt: now + c.s.cfg.NopTimeout/pollsPerTimeout}
	if c.s.level == 2 {
		c.ping.pollAt = min(c.ping.pollAt, now+silentLimit)
	}
	c.ping.ticket = c.sendNop(t.itt, pdu.ReservedTag, [8]byte{})
}

func (c *Conn) pingAgain() {
	t := c.s.tasks.get(kindNop)
	if t == nil {
		return
	}
	t.conn = c
	p := &c.ping
	p.former, p.formerTicket = p.task, p.ticket
	p.task, p.ticket = t, c.sendNop(t.itt, pdu.ReservedTag, [8]byte{})
}

func (c *Conn) sendPong(p pong) { c.sendNop(pdu.ReservedTag, p.ttt, p.lun) }

// sendNop queues a NOP-Out ahead of bulk data. It is immediate: it uses up no
// CmdSN and passes a closed window.
func (c *Conn) sendNop(itt, ttt uint32, lun [8]byte) pdu.Ticket {
	h := &c.scratch
	pdu.NopOut{
		Immediate: true,
		LUN:       lun,
		ITT:       itt,
		TTT:       ttt,
		CmdSN:     c.s.window.next,
		ExpStatSN: c.expStatSN,
	}.Marshal(h)
	return c.out.Push(h, nil, pdu.Urgent)
}

// nopIn takes the answer to a ping, or the target's own ping.
func (c *Conn) nopIn(h *pdu.Header) error {
	n, err := pdu.ParseNopIn(h)
	if err != nil {
		return err
	}
	if n.ITT != pdu.ReservedTag {
		return c.pong(h, n.ITT)
	}
	if n.TTT == pdu.ReservedTag {
		return nil // news of the command window only
	}
	if c.pongs.len() == maxPongs {
		return breach(h, "more than %d pings at once", maxPongs)
	}
	c.pongs.push(pong{n.TTT, n.LUN})
	return nil
}

// pong takes the answer to a ping. Above error recovery level 0 there may be a second
// one, after its end.
func (c *Conn) pong(h *pdu.Header, itt uint32) error {
	p := c.ping
	switch {
	case c.s.closingAnswer(c, kindNop, itt):
		return nil
	case p.task != nil && p.task.itt == itt:
		c.endPing()
		return c.answered(c.life, p.ticket)
	case p.former != nil && p.former.itt == itt:
		c.endPing()
		return c.answered(c.life, p.formerTicket)
	case c.s.level > 0:
		return nil
	}
	return breach(h, "no NOP-Out has this tag")
}

func (c *Conn) endPing() {
	for _, t := range [...]*task{c.ping.task, c.ping.former} {
		if t != nil {
			c.s.tasks.put(t)
		}
	}
	c.ping = ping{}
}
