package iscsi

import (
	"time"

	"braid/iscsi/pdu"
)

// handle takes one whole PDU. An error ends the connection, and with it, once it
// is in the full feature phase, the session.
func (c *Conn) handle(now time.Duration, p *pdu.PDU) error {
	h := p.Header
	if p.DataDigestError {
		return errDataDigest
	}
	if c.state == connLogin {
		return c.loginResponse(now, h, p.Data)
	}
	if err := c.count(h); err != nil {
		return err
	}
	switch h.Opcode() {
	case pdu.OpDataIn:
		return c.dataIn(h, p.Data)
	case pdu.OpSCSIResponse:
		return c.response(h, p.Data)
	case pdu.OpR2T:
		return c.r2t(h)
	case pdu.OpNopIn:
		return c.nopIn(h)
	case pdu.OpTaskResponse:
		return c.taskResponse(now, h)
	case pdu.OpTextResponse:
		return c.textResponse(now, h, p.Data)
	case pdu.OpAsync:
		return c.async(now, h, p.Data)
	case pdu.OpReject:
		return c.reject(now, h, p.Data)
	case pdu.OpLogoutResponse:
		return c.logoutResponse(h)
	}
	return breach(h, "not a PDU of a target in the full feature phase")
}

// count takes in the numbers that every PDU of a target carries. Status numbers
// of one connection come without gaps; at error recovery level 0 a gap is an
// answer that was lost (RFC 7143 section 7.5).
func (c *Conn) count(h *pdu.Header) error {
	if hasStatus(h) {
		if h.StatSN() != c.expStatSN {
			return breach(h, "StatSN %d, %d was due", h.StatSN(), c.expStatSN)
		}
		c.expStatSN++
	}
	c.s.window.update(h.ExpCmdSN(), h.MaxCmdSN())
	return nil
}

// hasStatus says whether a PDU uses up a StatSN: all do but Data-In without
// status, R2T, and the target's own ping.
func hasStatus(h *pdu.Header) bool {
	switch h.Opcode() {
	case pdu.OpDataIn:
		return h[1]&dataInStatus != 0
	case pdu.OpNopIn:
		return h.ITT() != pdu.ReservedTag
	case pdu.OpR2T:
		return false
	}
	return true
}

// dataInStatus is the S bit of Data-In, RFC 7143 section 11.7.
const dataInStatus = 0x01
