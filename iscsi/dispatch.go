package iscsi

import (
	"time"

	"braid/iscsi/pdu"
)

// handle takes one whole PDU. An error ends the connection, and with it, once it
// is in the full feature phase, what the session's error recovery level says.
func (c *Conn) handle(now time.Duration, p *pdu.PDU) error {
	h := p.Header
	if c.state == connLogin {
		if p.DataDigestError {
			return errDataDigest
		}
		return c.loginResponse(now, h, p.Data)
	}
	if p.DataDigestError {
		return c.damaged(h)
	}
	fresh, err := c.count(h)
	if err == nil && (fresh || h.Opcode() == pdu.OpDataIn) {
		err = c.dispatch(now, h, p.Data, fresh)
	}
	if err != nil {
		return err
	}
	if c.ended.len() > 0 && !c.overtakes() {
		c.releaseAll()
	}
	return c.askStatus()
}

// dispatch takes a PDU whose numbers are in order. A Data-In whose status is not
// fresh may still bring data that was missing.
func (c *Conn) dispatch(now time.Duration, h *pdu.Header, data []byte, fresh bool) error {
	switch h.Opcode() {
	case pdu.OpDataIn:
		return c.dataIn(h, data, fresh)
	case pdu.OpSCSIResponse:
		return c.response(h, data)
	case pdu.OpR2T:
		return c.r2t(h)
	case pdu.OpNopIn:
		return c.nopIn(h)
	case pdu.OpTaskResponse:
		return c.taskResponse(now, h)
	case pdu.OpTextResponse:
		return c.textResponse(now, h, data)
	case pdu.OpAsync:
		return c.async(now, h, data)
	case pdu.OpReject:
		return c.reject(now, h, data)
	case pdu.OpLogoutResponse:
		return c.logoutResponse(now, h)
	}
	return breach(h, "not a PDU of a target in the full feature phase")
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
