package iscsi

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// reject takes a Reject, RFC 7143 section 11.17. It ends the session, since the
// task that it concerns cannot be trusted to end any other way, with two
// exceptions: a rejected NOP-Out is an answer too, and an answer to the target's
// own ping that came too late hurts nobody.
func (c *Conn) reject(_ time.Duration, h *pdu.Header, data []byte) error {
	r, err := pdu.ParseReject(h)
	if err != nil {
		return err
	}
	bad, ok := pdu.RejectedHeader(data)
	if !ok {
		return breach(h, "no header of what is rejected")
	}
	if bad.Opcode() == pdu.OpNopOut {
		c.s.cfg.Log(slog.LevelInfo, "target rejected a NOP-Out", "portal", c.address,
			"cid", c.cid, "reason", r.Reason)
		if c.ping.task != nil && c.ping.task.itt == bad.ITT() {
			c.endPing()
		}
		return nil
	}
	return &RejectError{Reason: r.Reason, PDU: bad.Opcode()}
}
