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
	sentAt time.Duration
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
		if now >= c.pingEnd() {
			return &TimeoutError{"answer to NOP-Out", cfg.NopTimeout}
		}
		if now >= p.pollAt {
			p.pollAt = now + cfg.NopTimeout/pollsPerTimeout
		}
	case c.pings() && now >= c.life+cfg.NopInterval:
		c.sendPing(now)
	}
	return nil
}

// pings says whether the connection sends pings of its own: RFC 7143 section 4.3
// has none in a discovery session.
func (c *Conn) pings() bool { return c.s.cfg.NopInterval > 0 && !c.s.cfg.Offer.Discovery }

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
	c.sendNop(t.itt, pdu.ReservedTag, [8]byte{})
}

func (c *Conn) sendPong(p pong) { c.sendNop(pdu.ReservedTag, p.ttt, p.lun) }

// sendNop queues a NOP-Out ahead of bulk data. It is immediate: it uses up no
// CmdSN and passes a closed window.
func (c *Conn) sendNop(itt, ttt uint32, lun [8]byte) {
	h := &c.scratch
	pdu.NopOut{
		Immediate: true,
		LUN:       lun,
		ITT:       itt,
		TTT:       ttt,
		CmdSN:     c.s.window.next,
		ExpStatSN: c.expStatSN,
	}.Marshal(h)
	c.out.Push(h, nil, pdu.Urgent)
}

// nopIn takes the answer to a ping, or the target's own ping.
func (c *Conn) nopIn(h *pdu.Header) error {
	n, err := pdu.ParseNopIn(h)
	if err != nil {
		return err
	}
	if n.ITT != pdu.ReservedTag {
		if c.ping.task == nil || c.ping.task.itt != n.ITT {
			return breach(h, "no NOP-Out has this tag")
		}
		c.endPing()
		return nil
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

func (c *Conn) endPing() {
	c.s.tasks.put(c.ping.task)
	c.ping = ping{}
}

// Silent tells since when a connection that was asked for life has shown none; ok is
// false if there is no such connection.
func (s *Session) Silent() (since time.Duration, ok bool) {
	for _, c := range s.conns {
		if c.state != connUp || c.ping.task == nil || c.life > c.ping.sentAt {
			continue
		}
		if !ok || c.ping.sentAt < since {
			since, ok = c.ping.sentAt, true
		}
	}
	return since, ok
}
