package login

import (
	"errors"
	"fmt"

	"braid/iscsi/pdu"
)

// A Target is the login of one connection, seen from its target. Receive takes
// each Login Request and gives the answer to it.
//
//	methodWanted -> algorithmWanted -> responseWanted -> authenticated
//
// Without CHAP the first two lead to authenticated at once; an initiator that
// begins with the operational stage skips them all, if it may.
type Target struct {
	cfg     TargetConfig
	leading bool

	first pdu.LoginRequest // what must stay the same in all of them
	begun bool
	named bool // the names of the first text were checked
	over  bool // done or failed
	stage uint8
	step  targetStep
	neg   negotiation
	in    textIn
	out   textOut
	count int

	// The response to be sent when our text is through: its T bit.
	transit bool
	skips   bool // the operational stage may be skipped
	params  Params

	algorithm Algorithm
	own       challenge
	user      string // who has authenticated, by CHAP
}

type targetStep uint8

const (
	methodWanted targetStep = iota
	algorithmWanted
	responseWanted
	authenticated
)

// NewTarget begins a login. leading says that the connection begins a new
// session (its first request has TSIH 0).
func NewTarget(cfg TargetConfig, leading bool) *Target {
	t := &Target{cfg: cfg, leading: leading, params: DefaultParams()}
	t.out.limit = DefaultDataSegment
	t.neg = negotiation{self: target, leading: leading}
	t.neg.want(&cfg.Wishes)
	return t
}

// Params is what was settled. It is valid once Receive has given done. On a
// connection that does not lead its session, see Params.WithSession.
func (t *Target) Params() Params { return t.params }

// InitiatorName is the initiator's name as it gave it; valid, with the other
// names, from the first response that came without an error.
func (t *Target) InitiatorName() string { return t.neg.text[kInitiatorName] }

// InitiatorAlias is what the initiator likes to be called; it may be empty.
func (t *Target) InitiatorAlias() string { return t.neg.text[kInitiatorAlias] }

// TargetName is the target that the initiator wants; it may be empty in a
// discovery session.
func (t *Target) TargetName() string { return t.neg.text[kTargetName] }

// Discovery reports whether this is a discovery session.
func (t *Target) Discovery() bool { return t.neg.discovery }

// User is the CHAP user that has authenticated, empty without CHAP.
func (t *Target) User() string { return t.user }

// Receive takes a Login Request. The response is to be sent with out as its
// text; the caller fills in ISID, TSIH, ITT, StatSN, ExpCmdSN and MaxCmdSN. With
// done the connection is in the full feature phase once it is sent. With an
// error the response refuses the login, the error says why, and the connection
// is to be closed after it.
func (t *Target) Receive(r pdu.LoginRequest, data []byte) (
	resp pdu.LoginResponse, out []byte, done bool, err error,
) {
	if t.over {
		return t.refuse(Status(StatusInvalidDuringLogin), "a Login Request after the login")
	}
	if code, reason := t.checkHeader(r); reason != "" {
		return t.refuse(Status(code), reason)
	}
	if t.out.rest != nil {
		if len(data) > 0 || r.Continue {
			return t.refuse(Status(StatusInitiatorError), "text in the middle of ours")
		}
		return t.send(r)
	}
	text, whole, err := t.in.add(data, r.Continue)
	if err != nil {
		return t.refuseError(err)
	}
	if !whole {
		return pdu.LoginResponse{CSG: t.stage}, nil, false, nil
	}
	pairs, err := ParseText(text)
	if err == nil && len(pairs) > maxPairs {
		err = errors.New("too many keys in one text")
	}
	if err != nil {
		return t.refuse(Status(StatusInitiatorError), err.Error())
	}
	if err := t.process(r, pairs); err != nil {
		return t.refuseError(err)
	}
	t.out.rest = t.neg.take()
	return t.send(r)
}

// checkHeader checks what a request may say whatever its text is. The reason is
// empty if all is well.
func (t *Target) checkHeader(r pdu.LoginRequest) (code uint16, reason string) {
	if !t.begun {
		t.begun = true
		t.first, t.stage = r, r.CSG
	}
	t.count++
	switch f := &t.first; {
	case r.VersionMin > 0:
		return StatusVersion, fmt.Sprintf("iSCSI version %d is wanted", r.VersionMin)
	case r.CSG != t.stage:
		return StatusInitiatorError,
			fmt.Sprintf("a request of stage %d in stage %d", r.CSG, t.stage)
	case r.CSG > pdu.StageOperational:
		return StatusInitiatorError, fmt.Sprintf("there is no stage %d", r.CSG)
	case r.Continue && r.Transit:
		return StatusInitiatorError, "a text that goes on in the next stage"
	case r.Transit && (r.NSG <= r.CSG || r.NSG == 2 || r.NSG > pdu.StageFullFeature):
		return StatusInitiatorError,
			fmt.Sprintf("a transition from stage %d to stage %d", r.CSG, r.NSG)
	case r.ISID != f.ISID, r.TSIH != f.TSIH, r.CID != f.CID, r.ITT != f.ITT:
		return StatusInitiatorError, "ISID, TSIH, CID or ITT has changed during the login"
	case t.count >= maxExchanges:
		return StatusInitiatorError, "no end of requests"
	}
	return 0, ""
}

// send gives the next response of the text in t.out. The stage changes with the
// last one, if t.transit and the request there allow it.
func (t *Target) send(r pdu.LoginRequest) (pdu.LoginResponse, []byte, bool, error) {
	data, more := t.out.next()
	resp := pdu.LoginResponse{CSG: t.stage, Continue: more, DataLen: len(data)}
	if more || !t.transit || !r.Transit {
		return resp, data, false, nil
	}
	resp.Transit, resp.NSG = true, r.NSG
	if t.stage == pdu.StageSecurity && !t.skips {
		resp.NSG = pdu.StageOperational
	}
	t.transit = false
	t.stage = resp.NSG
	if t.stage != pdu.StageFullFeature {
		return resp, data, false, nil
	}
	if err := t.neg.finish(); err != nil {
		return t.refuseError(err)
	}
	t.over = true
	t.params = t.neg.params()
	return resp, data, true, nil
}

// refuseError refuses with the status that fits an error.
func (t *Target) refuseError(err error) (pdu.LoginResponse, []byte, bool, error) {
	var refused *refusedError
	if errors.As(err, &refused) {
		resp, _, _, _ := t.refuse(refused.status, "")
		return resp, refused.text, false, refused
	}
	var auth *AuthError
	code := uint16(StatusInitiatorError)
	if errors.As(err, &auth) {
		code = StatusAuthFailure
	}
	resp, _, _, _ := t.refuse(Status(code), "")
	return resp, nil, false, err
}

// refuse ends the login.
func (t *Target) refuse(s *StatusError, reason string) (
	pdu.LoginResponse, []byte, bool, error,
) {
	t.over = true
	resp := pdu.LoginResponse{CSG: t.stage & 1, StatusClass: s.Class, StatusDetail: s.Detail}
	return resp, nil, false, &refusedError{status: s, reason: reason}
}

// A refusedError is the target's own "no": the status that it sends, and why.
type refusedError struct {
	status *StatusError
	reason string
	text   []byte // to be sent with it: where a redirection leads
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("login refused with status %04x: %s", e.status.Code(), e.reason)
}

func (e *refusedError) Unwrap() error { return e.status }
