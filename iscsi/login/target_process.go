package login

import (
	"slices"
	"strings"

	"braid/iscsi/pdu"
)

// process takes one whole text of the initiator: its answer goes to t.neg.out,
// and t.transit says whether this side is done with the stage.
func (t *Target) process(r pdu.LoginRequest, pairs []Pair) error {
	if !t.named {
		// Whether a key is irrelevant depends on the type of session, which
		// may stand behind it in the text.
		for _, p := range pairs {
			if p.Key == keys[kSessionType].name {
				t.neg.discovery = p.Value == "Discovery"
			}
		}
	}
	t.limitR2T(pairs)
	var sec *securityText
	if r.CSG == pdu.StageSecurity {
		sec = &securityText{}
	}
	for _, p := range pairs {
		if id, ok := findKey(p.Key); ok && t.named && isName(id) {
			return &NegotiationError{Key: p.Key, Value: p.Value,
				Reason: "a key that belongs into the first text"}
		}
		if err := t.neg.receive(p, r.CSG, false, sec); err != nil {
			return err
		}
	}
	if !t.named {
		if err := t.checkNames(); err != nil {
			return err
		}
		t.named = true
		t.declareGroup()
	}
	if sec != nil {
		if err := t.authenticate(sec); err != nil {
			return err
		}
	}
	t.transit = false
	if !r.Transit {
		return nil
	}
	return t.endStage(r)
}

// limitR2T makes MaxOutstandingR2T 1 where the session will be able to recover lost
// data: with data sequences in order a target may ask again for the last one only
// (RFC 7143 section 13.19). What decides it may stand behind it in the text.
func (t *Target) limitR2T(pairs []Pair) {
	ordered, recovers := true, false
	for _, p := range pairs {
		id, _ := findKey(p.Key)
		if id != kDataSequenceInOrder && id != kErrorRecoveryLevel {
			continue
		}
		v, bad := keys[id].parse(p.Value)
		v = keys[id].combine(v, t.neg.wish[id])
		switch {
		case bad != "":
		case id == kErrorRecoveryLevel:
			recovers = v > 0
		default:
			ordered = v == 1
		}
	}
	if ordered && recovers {
		t.neg.wish[kMaxOutstandingR2T] = 1
	}
}

// isName reports whether a key says who logs in where, which checkNames checks
// once and for all.
func isName(id keyID) bool {
	return id == kInitiatorName || id == kTargetName || id == kSessionType
}

// checkNames checks the names of the first text (RFC 7143 sections 13.4, 13.5
// and 13.21).
func (t *Target) checkNames() error {
	from, to := t.neg.text[kInitiatorName], t.neg.text[kTargetName]
	refuse := func(code uint16, reason string) error {
		return &refusedError{status: Status(code), reason: reason}
	}
	kind := t.neg.text[kSessionType]
	switch {
	case from == "":
		return refuse(StatusMissingParameter, "InitiatorName is missing")
	case ValidName(from) != nil:
		return refuse(StatusInitiatorError, ValidName(from).Error())
	case kind != "" && kind != "Normal" && kind != "Discovery":
		return refuse(StatusSessionType, "a session of type "+quote(kind))
	case to == "" && !t.neg.discovery:
		return refuse(StatusMissingParameter, "TargetName is missing")
	case to == "":
		return nil
	case ValidName(to) != nil:
		return refuse(StatusInitiatorError, ValidName(to).Error())
	case t.cfg.Names == nil || !t.cfg.Names(to):
		return refuse(StatusNotFound, "there is no target "+quote(to))
	}
	if t.cfg.Redirect == nil {
		return nil
	}
	address, moved, ok := t.cfg.Redirect(to)
	if !ok {
		return nil
	}
	code := uint16(StatusMovedTemporarily)
	if moved {
		code = StatusMovedPermanently
	}
	return &refusedError{status: Status(code), reason: "to " + quote(address),
		text: AppendPair(nil, keys[kTargetAddress].name, address)}
}

// declareGroup says in the first response what this target is (RFC 7143
// sections 13.6 and 13.9).
func (t *Target) declareGroup() {
	if t.neg.discovery {
		return
	}
	if g := t.cfg.PortalGroup; g >= 0 {
		t.neg.declare(kTargetPortalGroupTag, min(g, 65535))
	}
	if a := t.cfg.Alias; a != "" && len(a) <= 255 && printable(a) {
		t.neg.declareText(kTargetAlias, a)
	}
}

// endStage decides on the initiator's wish for the next stage.
func (t *Target) endStage(r pdu.LoginRequest) error {
	if r.CSG == pdu.StageSecurity {
		if t.step == algorithmWanted || t.step == responseWanted {
			return nil // authentication goes on
		}
		if t.step == methodWanted {
			// It asked for no method at all, which is as good as None.
			if err := t.withoutCHAP(); err != nil {
				return err
			}
		}
		t.transit = true
		// Who would skip the operational stage is led into it if something
		// must be negotiated there.
		t.skips = !t.neg.anyMissing()
		return t.authorize()
	}
	if t.step != authenticated {
		if err := t.withoutCHAP(); err != nil {
			return err
		}
		if err := t.authorize(); err != nil {
			return err
		}
	}
	if !t.neg.sent[kMaxRecvDataSegmentLength] {
		t.neg.declare(kMaxRecvDataSegmentLength, t.neg.wish[kMaxRecvDataSegmentLength])
	}
	t.transit = !t.neg.offerMissing()
	return nil
}

// authorize asks whether this initiator may use this target.
func (t *Target) authorize() error {
	from, to := t.neg.text[kInitiatorName], t.neg.text[kTargetName]
	if to == "" || t.cfg.Authorize == nil || t.cfg.Authorize(from, to) {
		return nil
	}
	return &refusedError{status: Status(StatusNotAuthorized), reason: quote(from)}
}

// withoutCHAP lets an initiator pass that has not authenticated itself.
func (t *Target) withoutCHAP() error {
	if t.cfg.RequireCHAP {
		return &AuthError{Reason: "the initiator does not offer CHAP, which is required"}
	}
	t.step = authenticated
	return nil
}

// authenticate takes one step of authentication.
func (t *Target) authenticate(sec *securityText) error {
	switch t.step {
	case methodWanted:
		if !sec.has[kAuthMethod] {
			return sec.only()
		}
		if err := sec.only(kAuthMethod); err != nil {
			return err
		}
		return t.chooseMethod(sec.value[kAuthMethod])
	case algorithmWanted:
		if err := sec.only(kCHAPA); err != nil {
			return err
		}
		return t.challenge(sec.value[kCHAPA])
	case responseWanted:
		return t.checkResponse(sec)
	}
	return sec.only()
}

// chooseMethod takes the first method of the list that is possible here.
func (t *Target) chooseMethod(list string) error {
	for v := range strings.SplitSeq(list, ",") {
		switch {
		case v == "CHAP" && t.cfg.Secrets != nil:
			t.neg.out = AppendPair(t.neg.out, keys[kAuthMethod].name, v)
			t.step = algorithmWanted
			return nil
		case v == "None" && !t.cfg.RequireCHAP:
			t.neg.out = AppendPair(t.neg.out, keys[kAuthMethod].name, v)
			t.step = authenticated
			return nil
		}
	}
	return &AuthError{Reason: "no authentication method in common, offered was " + quote(list)}
}

// challenge chooses the algorithm and sends a challenge.
func (t *Target) challenge(list string) error {
	for v := range strings.SplitSeq(list, ",") {
		n, err := ParseNumber(v)
		if err == nil && n <= 255 && Algorithm(n).known() &&
			slices.Contains(t.cfg.algorithms(), Algorithm(n)) {
			t.algorithm = Algorithm(n)
			break
		}
	}
	if t.algorithm == 0 {
		return &AuthError{Reason: "no CHAP algorithm in common, offered was " + quote(list)}
	}
	own, bad := newChallenge(t.cfg.Rand)
	if bad != nil {
		return &refusedError{status: Status(StatusTargetError), reason: bad.Reason}
	}
	t.own = own
	t.neg.out = AppendPair(t.neg.out, keys[kCHAPA].name, itoa(int(t.algorithm)))
	t.neg.out = own.append(t.neg.out)
	t.step = responseWanted
	return nil
}

// checkResponse checks the initiator's answer, and answers its challenge if it
// sent one.
func (t *Target) checkResponse(sec *securityText) error {
	want := []keyID{kCHAPN, kCHAPR}
	mutual := sec.has[kCHAPI] || sec.has[kCHAPC]
	if mutual {
		want = append(want, kCHAPI, kCHAPC)
	}
	if err := sec.only(want...); err != nil {
		return err
	}
	user := sec.value[kCHAPN]
	response, err := ParseBinary(sec.value[kCHAPR])
	if err != nil {
		return &AuthError{Reason: "CHAP_R is not a binary value"}
	}
	// A user that does not exist takes as long as a wrong secret.
	secret, known := t.cfg.Secrets(user)
	right := t.algorithm.verify(t.own.id, secret, t.own.data, response)
	if !known || len(secret) == 0 || !right {
		return &AuthError{Reason: "wrong user or secret for " + quote(user)}
	}
	if mutual {
		if err := t.prove(sec); err != nil {
			return err
		}
	}
	t.user = user
	t.step = authenticated
	return nil
}

// prove answers the initiator's challenge.
func (t *Target) prove(sec *securityText) error {
	theirs, bad := parseChallenge(sec.value[kCHAPI], sec.value[kCHAPC])
	switch {
	case bad != nil:
		return bad
	case theirs.same(t.own):
		return &AuthError{Reason: "the initiator's challenge is the same as ours"}
	case len(t.cfg.MutualSecret) == 0:
		return &AuthError{Reason: "the initiator wants proof of the target, which has no secret"}
	}
	proof := t.algorithm.response(theirs.id, t.cfg.MutualSecret, theirs.data)
	t.neg.out = AppendPair(t.neg.out, keys[kCHAPN].name, t.cfg.MutualUser)
	t.neg.out = AppendPair(t.neg.out, keys[kCHAPR].name, FormatBinary(proof))
	return nil
}
