package target

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// handleNop answers a ping (RFC 7143 section 11.18).
func (c *Conn) handleNop(h *pdu.Header, data []byte) error {
	n, err := pdu.ParseNopOut(h)
	if err != nil {
		return err
	}
	if n.ITT == pdu.ReservedTag {
		return nil // the answer to a NOP-In, or a sign of life
	}
	data = data[:min(len(data), c.params.MaxXmitDataSegmentLength)]
	in := pdu.NopIn{LUN: n.LUN, ITT: n.ITT, TTT: pdu.ReservedTag, DataLen: len(data)}
	in.StatSN, in.ExpCmdSN, in.MaxCmdSN = c.status()
	var b *buffer
	if len(data) > 0 {
		b = c.t.pool.must(len(data))
		data = b.b[:copy(b.b, data)]
	}
	in.Marshal(&c.header)
	c.pushAnswer(&c.header, data, b)
	return nil
}

// tickNop asks a silent initiator whether it lives, and gives up one that does
// not answer.
func (c *Conn) tickNop(now time.Duration) {
	if now < c.nopDeadline() {
		return
	}
	if c.asked {
		c.t.cfg.Log(slog.LevelWarn, "initiator does not answer", "initiator", c.initiator(),
			"cid", c.cid)
		c.fail(now)
		return
	}
	c.asked, c.pinged = true, now
	c.ping()
}

// ping sends a NOP-In that wants an answer. It tells the next StatSN, without
// using it.
func (c *Conn) ping() {
	in := pdu.NopIn{
		ITT: pdu.ReservedTag, TTT: c.t.nextTTT(), StatSN: c.statSN,
		ExpCmdSN: c.session.expCmdSN, MaxCmdSN: c.session.maxCmdSN,
	}
	in.Marshal(&c.header)
	c.push(&c.header, nil, nil, nil, nil)
}

func (c *Conn) nopDeadline() time.Duration {
	switch {
	case c.t.cfg.NopInterval == 0:
		return Never
	case c.asked:
		return c.pinged + c.t.cfg.NopTimeout
	}
	return c.lastRecv + c.t.cfg.NopInterval
}
