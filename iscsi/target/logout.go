package target

import (
	"time"

	"braid/iscsi/pdu"
)

// handleLogout ends a session or one of its connections (RFC 7143 section
// 11.14).
func (c *Conn) handleLogout(now time.Duration, h *pdu.Header) error {
	r, err := pdu.ParseLogoutRequest(h)
	if err != nil {
		return err
	}
	s := c.session
	switch r.Reason {
	case pdu.LogoutCloseSession:
		c.sendLogout(&r, pdu.LogoutSuccess)
		s.end(now, endLogout)
	case pdu.LogoutRemoveForRecovery:
		c.logoutForRecovery(now, &r)
	case pdu.LogoutCloseConnection:
		o := s.conn(r.CID)
		switch {
		case o == nil && s.lost(r.CID) != nil:
			s.forgetConn(now, s.lost(r.CID))
			c.sendLogout(&r, pdu.LogoutSuccess)
		case o == nil:
			c.sendLogout(&r, pdu.LogoutCIDNotFound)
		case len(s.conns) == 1:
			c.sendLogout(&r, pdu.LogoutSuccess)
			s.end(now, endLogout)
		default:
			c.sendLogout(&r, pdu.LogoutSuccess)
			s.dropConn(now, o)
			o.finish(now)
		}
	}
	return nil
}

// closesOther says whether a PDU is the Logout of another connection: its ExpStatSN is that
// one's, "the last ExpStatSN value for the connection to be closed" (RFC 7143 section
// 11.14.4), and acknowledges nothing on the connection that carries it.
func (c *Conn) closesOther(h *pdu.Header) bool {
	if h.Opcode() != pdu.OpLogoutRequest {
		return false
	}
	r, err := pdu.ParseLogoutRequest(h)
	return err == nil && r.Reason != pdu.LogoutCloseSession && r.CID != c.cid
}

func (c *Conn) sendLogout(r *pdu.LogoutRequest, response uint8) {
	p := &c.session.params
	out := pdu.LogoutResponse{
		Response: response, ITT: r.ITT,
		Time2Wait: uint16(p.DefaultTime2Wait), Time2Retain: uint16(p.DefaultTime2Retain),
	}
	out.StatSN, out.ExpCmdSN, out.MaxCmdSN = c.status()
	var h pdu.Header
	out.Marshal(&h)
	c.pushAnswer(&h, nil, nil)
}
