package target

import (
	"errors"
	"log/slog"
	"time"

	"braid/iscsi/pdu"
)

// handleFull handles a PDU of full feature phase.
func (c *Conn) handleFull(now time.Duration, p *pdu.PDU) {
	h := p.Header
	op := h.Opcode()
	if p.DataDigestError && op != pdu.OpDataOut {
		// The PDU counts as never received: a command is sent again by the
		// initiator, with its immediate data (RFC 7143 section 7.8). At error
		// recovery level 0 it does not do so.
		c.reject(h, pdu.RejectDataDigest)
		if c.level == 0 {
			c.protocolError(now, "data digest error in "+op.String())
		}
		return
	}
	if c.level > 0 && !c.closesOther(h) {
		c.acknowledge(now, h.ExpStatSN())
	}
	if c.session.discovery && op != pdu.OpTextRequest && op != pdu.OpLogoutRequest &&
		op != pdu.OpNopOut {
		c.reject(h, pdu.RejectProtocolError)
		return
	}
	switch op {
	case pdu.OpSCSICommand:
		c.handleCommand(now, p)
	case pdu.OpDataOut:
		c.handleDataOut(now, p)
	case pdu.OpSNACK:
		c.handleSNACK(now, h)
	case pdu.OpNopOut, pdu.OpTaskRequest, pdu.OpTextRequest, pdu.OpLogoutRequest:
		c.inOrder(now, h, p.Data)
	case pdu.OpLoginRequest:
		c.reject(h, pdu.RejectProtocolError)
		c.protocolError(now, "Login Request in full feature phase")
	default:
		c.reject(h, pdu.RejectCommandNotSupported)
	}
}

// inOrder dispatches a request other than a SCSI command when its turn has come.
func (c *Conn) inOrder(now time.Duration, h *pdu.Header, data []byte) {
	s := c.session
	if h.Immediate() {
		c.dispatch(now, h, data)
		return
	}
	cmdSN := h.CmdSN()
	switch s.order(cmdSN) {
	case orderNow:
		s.expCmdSN++
		s.window()
		c.dispatch(now, h, data)
		s.deliverEarly(now)
	case orderEarly:
		e := early{kind: earlyPDU, conn: c, header: *h, n: len(data)}
		if len(data) > 0 {
			if e.data = c.t.pool.get(len(data)); e.data == nil {
				c.reject(h, pdu.RejectLongOperation)
				return
			}
			copy(e.data.b, data)
		}
		s.early.put(cmdSN, e)
	}
}

// dispatch handles a request whose turn has come. data is good for the call.
func (c *Conn) dispatch(now time.Duration, h *pdu.Header, data []byte) {
	var err error
	switch h.Opcode() {
	case pdu.OpNopOut:
		err = c.handleNop(h, data)
	case pdu.OpTaskRequest:
		err = c.handleTask(now, h)
	case pdu.OpTextRequest:
		err = c.handleText(h, data)
	case pdu.OpLogoutRequest:
		err = c.handleLogout(now, h)
	}
	if err != nil {
		c.refuse(h, err)
	}
}

// refuse rejects a PDU that could not be parsed.
func (c *Conn) refuse(h *pdu.Header, err error) {
	reason := pdu.RejectProtocolError
	var p *pdu.ProtocolError
	if errors.As(err, &p) {
		reason = p.Reason
	}
	c.t.cfg.Log(slog.LevelWarn, "request rejected", "initiator", c.initiator(), "error", err)
	c.reject(h, reason)
}

// reject answers a PDU with Reject (RFC 7143 section 11.17). A command that is
// rejected leaves a gap in the order of CmdSN, for the initiator to fill (section
// 7.3).
func (c *Conn) reject(h *pdu.Header, reason pdu.RejectReason) {
	c.rejectAt(h, reason, 0)
}

// rejectAt also tells the next DataSN or R2TSN of the command.
func (c *Conn) rejectAt(h *pdu.Header, reason pdu.RejectReason, dataSN uint32) {
	b := c.t.pool.must(pdu.HeaderLen)
	n := copy(b.b, h[:])
	r := pdu.Reject{Reason: reason, DataSN: dataSN, DataLen: n}
	r.StatSN, r.ExpCmdSN, r.MaxCmdSN = c.status()
	var out pdu.Header
	r.Marshal(&out)
	c.pushAnswer(&out, b.b[:n], b)
}

// protocolError ends the connection after what is queued has been sent, so that
// the peer may learn why.
func (c *Conn) protocolError(now time.Duration, what string) {
	c.t.cfg.Log(slog.LevelWarn, "protocol error", "initiator", c.initiator(), "error", what)
	if s := c.session; s != nil {
		s.connLost(now, c)
	}
	c.finish(now)
}

func (c *Conn) initiator() string {
	if c.session == nil {
		return ""
	}
	return c.session.key.initiator
}

// status gives the numbers of a response that carries status, and counts StatSN.
func (c *Conn) status() (statSN, expCmdSN, maxCmdSN uint32) {
	statSN = c.statSN
	c.statSN++
	return statSN, c.session.expCmdSN, c.session.maxCmdSN
}
