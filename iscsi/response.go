package iscsi

import (
	"log/slog"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A residual says by how much the bytes that the device moved differ from those
// expected, RFC 7143 section 11.4.5.
type residual struct {
	over, under bool
	bytes       uint32
}

func (c *Conn) response(h *pdu.Header, data []byte) error {
	r, err := pdu.ParseSCSIResponse(h)
	if err != nil {
		return err
	}
	t := c.s.tasks.findFor(r.ITT, kindCommand, c)
	if t == nil || t.state != taskIssued {
		if c.repair.snacked {
			return nil // sent again for a task that has ended otherwise
		}
		return breach(h, "no command has this tag")
	}
	t.touched = true
	if r.Response != pdu.ResponseCompleted {
		c.s.cfg.Log(slog.LevelWarn, "target failure", "portal", c.address, "cid", c.cid,
			"response", r.Response)
		c.complete(t, targetFailure())
		return nil
	}
	if c.s.level > 0 && t.cmd.Dir == scsi.Read {
		// ExpDataSN tells how many Data-In there were; some targets leave it 0.
		last := t.in.sn.number(r.ExpDataSN) - 1
		if last >= t.in.sn.next && last-t.in.sn.next <= maxGap {
			t.in.sn.exists(last)
		}
	}
	return c.ends(h, t, scsi.Status(r.Status), pdu.SenseData(data),
		residual{over: r.Overflow, under: r.Underflow, bytes: r.Residual})
}

// targetFailure is how a response other than "command completed at target" is
// told (RFC 7143 section 11.4.3): the device has ended the command, with an
// internal target failure.
func targetFailure() error {
	return &scsi.StatusError{
		Status: scsi.CheckCondition,
		Sense:  scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x44},
	}
}

// ends takes the status of a command. With GOOD every byte must be accounted for:
// those that the target says it moved must have come, or have been sent. Above
// error recovery level 0 what has not come is asked for.
func (c *Conn) ends(h *pdu.Header, t *task, st scsi.Status, sense []byte, r residual) error {
	if st != scsi.Good {
		e := &scsi.StatusError{Status: st}
		e.Sense, _ = scsi.ParseSense(sense)
		c.complete(t, e)
		return nil
	}
	if t.refused {
		c.complete(t, serviceCRC())
		return nil
	}
	moved := length(t.cmd)
	if r.under {
		if uint64(r.bytes) > uint64(moved) {
			return breach(h, "residual %d of a command of %d bytes", r.bytes, moved)
		}
		moved -= int(r.bytes)
	}
	switch t.cmd.Dir {
	case scsi.Read:
		if c.s.level > 0 && (t.in.received < moved || t.in.sn.missing()) {
			if !t.in.held {
				c.hold(h, t, moved)
			}
			return c.askData(t, t.in.sn.asked)
		}
		return c.endsRead(h, t, moved)
	case scsi.Write:
		if t.out.sent < moved || c.s.level == 0 && c.borrows(t) {
			return breach(h, "GOOD for %d bytes, of which %d were sent", moved, t.out.sent)
		}
	}
	t.cmd.Transferred = moved
	c.complete(t, nil)
	return nil
}

// endsRead ends a read of which no more data will come.
func (c *Conn) endsRead(h *pdu.Header, t *task, moved int) error {
	if t.in.received != moved {
		return breach(h, "GOOD after %d bytes, residual count says %d", t.in.received, moved)
	}
	t.cmd.Transferred = moved
	c.complete(t, nil)
	return nil
}
