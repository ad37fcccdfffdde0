package target

import (
	"fmt"
	"strings"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

const maxTextRequest = 64 << 10 // bytes of one text of the initiator

// textState is the one text exchange that a connection can have under way.
type textState struct {
	request []byte // what has come of a text in several PDUs
	answer  []byte // what has not been sent of the answer
	ttt     uint32
	open    bool // the answer goes on, under ttt
}

// handleText answers a Text Request (RFC 7143 section 11.10): SendTargets, and
// NotUnderstood for all other keys.
func (c *Conn) handleText(h *pdu.Header, data []byte) error {
	r, err := pdu.ParseTextRequest(h)
	if err != nil {
		return err
	}
	x := &c.text
	switch {
	case r.TTT == pdu.ReservedTag:
		*x = textState{request: x.request[:0]}
	case !x.open || r.TTT != x.ttt:
		c.reject(h, pdu.RejectProtocolError)
		return nil
	}
	if len(x.answer) > 0 {
		c.sendText(&r) // an empty request that asks for more
		return nil
	}
	if len(x.request)+len(data) > maxTextRequest {
		*x = textState{}
		c.reject(h, pdu.RejectLongOperation)
		return nil
	}
	x.request = append(x.request, data...)
	if r.Continue {
		c.sendText(&r)
		return nil
	}
	pairs, err := login.ParseText(x.request)
	x.request = x.request[:0]
	if err != nil {
		c.reject(h, pdu.RejectProtocolError)
		return nil
	}
	for _, p := range pairs {
		if len(x.answer) > 16*maxTextRequest {
			break
		}
		x.answer = c.answerKey(x.answer, p)
	}
	c.sendText(&r)
	return nil
}

// answerKey appends the answer to one key.
func (c *Conn) answerKey(dst []byte, p login.Pair) []byte {
	if p.Key != "SendTargets" {
		return login.AppendPair(dst, p.Key, "NotUnderstood")
	}
	t := c.t
	switch {
	case p.Value == "All" && c.session.discovery, p.Value == t.cfg.Name,
		p.Value == "" && !c.session.discovery:
	case p.Value == "All":
		return login.AppendPair(dst, p.Key, "Reject")
	default:
		return dst // a target that is not here: no record
	}
	dst = login.AppendPair(dst, "TargetName", t.cfg.Name)
	for _, o := range t.portals {
		dst = login.AppendPair(dst, "TargetAddress", announce(o.PortalConfig))
	}
	return dst
}

// announce is a portal as TargetAddress has it (RFC 7143 section 13.8).
func announce(p PortalConfig) string {
	address := strings.Map(func(r rune) rune {
		if r == 0 || r == ',' {
			return -1
		}
		return r
	}, p.Address)
	return fmt.Sprintf("%s,%d", address, p.Group)
}

// sendText sends as much of the answer as the initiator takes in one PDU.
func (c *Conn) sendText(r *pdu.TextRequest) {
	x := &c.text
	n := min(len(x.answer), c.params.MaxXmitDataSegmentLength)
	data := x.answer[:n:n]
	x.answer = x.answer[n:]
	resp := pdu.TextResponse{LUN: r.LUN, ITT: r.ITT, TTT: pdu.ReservedTag, DataLen: n}
	x.open = len(x.answer) > 0 || r.Continue || !r.Final
	if x.open {
		x.ttt = c.t.nextTTT()
		resp.TTT = x.ttt
		resp.Continue = len(x.answer) > 0
	} else {
		resp.Final = true
	}
	resp.StatSN, resp.ExpCmdSN, resp.MaxCmdSN = c.status()
	var out pdu.Header
	resp.Marshal(&out)
	c.pushAnswer(&out, data, nil)
	if len(x.answer) == 0 {
		x.answer = nil // the bytes sent are still referred to
	}
}
