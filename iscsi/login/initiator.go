package login

import (
	"io"
	"slices"

	"braid/iscsi/pdu"
)

// An Initiator is the login of one connection, seen from its initiator.
//
//	          AuthMethod=None            answered
//	begin ------------------------------------------> secured
//	  | AuthMethod=CHAP                                 ^  | T=1
//	  v                  CHAP_A           CHAP_N,R      |  v
//	methodAsked --------> algorithmAsked -> answered ---+ operational -> finished
//
// Next and Receive take turns, beginning with Next, until Receive gives done or
// an error. Its methods must not be called at the same time.
type Initiator struct {
	offer   Offer
	leading bool
	rnd     io.Reader

	stage  uint8 // of the request that is out
	step   initiatorStep
	neg    negotiation
	in     textIn
	out    textOut
	asked  bool // a request is out: it is Receive's turn
	asksT  bool // that request asks for the next stage
	count  int  // requests so far
	params Params
	bad    error // why the offer cannot be used; told by the first Receive

	chosen   Algorithm // 0 until the target has chosen
	own      challenge // ours, if the target must prove itself
	listSent bool      // CHAP_A is out, or was
	ours     bool      // it was this side that ended the login
}

type initiatorStep uint8

const (
	begin          initiatorStep = iota
	methodAsked                  // AuthMethod is out
	algorithmAsked               // CHAP_A is out
	answered                     // CHAP_N and CHAP_R are out
	secured                      // nothing is left to do in this stage
	operational                  // operational keys are out
	finished
)

// NewInitiator begins a login. On the first connection of a session leading is
// set; keys that concern the whole session are offered only there. rnd feeds the
// challenges of mutual CHAP and may be nil without it. An offer that Validate
// refuses is refused by the first Receive.
func NewInitiator(o Offer, leading bool, rnd io.Reader) *Initiator {
	n := &Initiator{offer: o, leading: leading, rnd: rnd, bad: o.Validate()}
	n.neg = negotiation{self: initiator, leading: leading, discovery: o.Discovery}
	n.neg.want(&o.Wishes)
	n.params = DefaultParams()
	n.out.limit = DefaultDataSegment
	return n
}

// Params is what was settled. It is valid once Receive has given done. On a
// connection that does not lead its session, see Params.WithSession.
func (n *Initiator) Params() Params { return n.params }

// Algorithm is the CHAP algorithm that the target chose, 0 without CHAP.
func (n *Initiator) Algorithm() Algorithm { return n.chosen }

// Fallback reports, after a refusal or a lost connection, whether one more login
// that offers MD5 alone (Auth.Algorithms) may succeed where this one failed. Two
// kinds of targets in the field cannot take a list of algorithms: Linux before
// 3.15, and storage boxes made of it, read its first element only; tgt takes 7,
// which is SHA-256, for SHA-1. No security is lost: a target that lies can
// always choose MD5 as long as it is on offer.
func (n *Initiator) Fallback() bool {
	list := n.offer.Auth.algorithms()
	if n.ours || !n.listSent || n.step > answered {
		return false
	}
	return len(list) > 1 && slices.Contains(list, MD5) && (n.chosen == 0 || n.chosen == SHA256)
}

// Next gives the next Login Request and its text. The caller fills in ISID,
// TSIH, CID, ITT, CmdSN, ExpStatSN.
func (n *Initiator) Next() (pdu.LoginRequest, []byte) {
	if n.asked || n.step == finished {
		panic("login: Next out of turn")
	}
	n.asked = true
	n.count++
	r := pdu.LoginRequest{CSG: n.stage}
	if n.in.more {
		// The target's text goes on; an empty request asks for the rest.
		n.asksT = false
		return r, nil
	}
	if n.out.rest == nil {
		n.compose()
	}
	data, more := n.out.next()
	r.Continue = more
	r.Transit = !more && n.transits()
	if r.Transit {
		r.NSG = pdu.StageFullFeature
		if n.stage == pdu.StageSecurity {
			r.NSG = pdu.StageOperational
		}
	}
	n.asksT = r.Transit
	r.DataLen = len(data)
	return r, data
}

// transits reports whether the text that is being sent ends this side's part in
// the stage.
func (n *Initiator) transits() bool {
	switch n.step {
	case answered, secured, operational:
		return true
	}
	return false
}

// compose makes the text of the next request.
func (n *Initiator) compose() {
	switch n.step {
	case begin:
		n.composeNames()
		n.composeMethod()
	case methodAsked:
		list := n.offer.Auth.algorithms()
		n.listSent = true
		n.neg.out = AppendPair(n.neg.out, keys[kCHAPA].name, formatAlgorithms(list))
		n.step = algorithmAsked
	case secured:
		if n.stage == pdu.StageOperational {
			n.composeOperational()
			n.step = operational
		}
	}
	n.out.rest = n.neg.take()
}

// composeNames declares who logs in where. RFC 7143 sections 13.4, 13.5 and
// 13.21: both names on each connection, the type of session on the first.
func (n *Initiator) composeNames() {
	o := &n.offer
	if n.bad != nil {
		return
	}
	n.neg.declareText(kInitiatorName, o.InitiatorName)
	if o.InitiatorAlias != "" {
		n.neg.declareText(kInitiatorAlias, o.InitiatorAlias)
	}
	if o.TargetName != "" {
		n.neg.declareText(kTargetName, o.TargetName)
	}
	if n.leading {
		kind := "Normal"
		if o.Discovery {
			kind = "Discovery"
		}
		n.neg.declareText(kSessionType, kind)
	}
}

func (n *Initiator) composeMethod() {
	name := keys[kAuthMethod].name
	if n.offer.Auth.User == "" {
		n.neg.out = AppendPair(n.neg.out, name, "None")
		n.step = secured
		return
	}
	// With None on the list a target, or who plays one, could do without.
	value := "CHAP"
	if n.offer.Auth.AllowNone {
		value = "CHAP,None"
	}
	n.neg.out = AppendPair(n.neg.out, name, value)
	n.step = methodAsked
}

// composeOperational offers all that matters, in one text.
func (n *Initiator) composeOperational() {
	n.neg.offer(kHeaderDigest)
	n.neg.offer(kDataDigest)
	// On every connection, although it has a default: Linux targets take the
	// default for the connection otherwise, and for reassigned tasks they
	// demand the same length on both.
	n.neg.declare(kMaxRecvDataSegmentLength, n.neg.wish[kMaxRecvDataSegmentLength])
	if !n.leading || n.offer.Discovery {
		return
	}
	for id := kMaxConnections; id <= kErrorRecoveryLevel; id++ {
		if id != kMaxRecvDataSegmentLength {
			n.neg.offer(id)
		}
	}
}
