package iscsi

import (
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// reject takes a Reject, RFC 7143 section 11.17. It ends the session, since the
// task that it concerns cannot be trusted to end any other way, with two
// exceptions: a rejected NOP-Out is an answer too, and an answer to the target's
// own ping that came too late hurts nobody. Above error recovery level 0 most are
// part of recovery.
func (c *Conn) reject(now time.Duration, h *pdu.Header, data []byte) error {
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
	if c.s.level > 0 {
		if done, err := c.rejected(&bad, r.Reason); done {
			return err
		}
	}
	return &RejectError{Reason: r.Reason, PDU: bad.Opcode()}
}

// rejected takes the Rejects that recovery knows what to do about.
func (c *Conn) rejected(bad *pdu.Header, reason pdu.RejectReason) (done bool, err error) {
	switch op := bad.Opcode(); {
	case op == pdu.OpSNACK:
		return true, c.refusedSNACK(bad, reason)
	case reason == pdu.RejectDataDigest && op == pdu.OpDataOut:
		return true, nil // the target asks again, by an R2T, or ends the task
	case reason == pdu.RejectDataDigest && op == pdu.OpSCSICommand:
		// It was dropped with its data, as if it had not come (RFC 7143 section 7.8).
		t := c.s.tasks.findFor(bad.ITT(), kindCommand, c)
		if t != nil && t.state == taskIssued && pdu.LessEq(c.s.window.exp, t.cmdSN) {
			if t.tries++; t.tries > maxRetries {
				return true, errNotTaken
			}
			c.retry(t)
		}
		return true, nil
	case reason == pdu.RejectTaskInProgress && op == pdu.OpSCSICommand:
		return true, nil // it was sent again needlessly
	}
	return false, nil
}
