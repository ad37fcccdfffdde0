package login

import (
	"fmt"

	"braid/iscsi/pdu"
)

// Receive takes the answer to the request that Next gave. When done the
// connection is in the full feature phase. Errors are *StatusError and
// *RedirectError (the target's word), *NegotiationError, *AuthError and
// *ProtocolError (ours); after one the connection is to be closed.
func (n *Initiator) Receive(r pdu.LoginResponse, data []byte) (done bool, err error) {
	if n.bad != nil {
		return false, &NegotiationError{Key: "our offer", Reason: n.bad.Error()}
	}
	if n.asked && r.StatusClass != ClassSuccess {
		return false, refusal(r, data)
	}
	done, err = n.receive(r, data)
	n.ours = err != nil
	return done, err
}

// receive takes a response that does not refuse the login.
func (n *Initiator) receive(r pdu.LoginResponse, data []byte) (done bool, err error) {
	if !n.asked {
		return false, &ProtocolError{"a Login Response that was not asked for"}
	}
	n.asked = false
	if err := n.checkHeader(r); err != nil {
		return false, err
	}
	if n.out.rest != nil {
		// The rest of our text is to follow (RFC 7143 section 6.2).
		if len(data) > 0 || r.Transit || r.Continue {
			return false, &ProtocolError{"an answer before the question was complete"}
		}
		return false, nil
	}
	text, whole, err := n.in.add(data, r.Continue)
	if err != nil || !whole {
		return false, err
	}
	pairs, err := ParseText(text)
	if err != nil {
		return false, &ProtocolError{err.Error()}
	}
	if len(pairs) > maxPairs {
		return false, &ProtocolError{"too many keys in one text"}
	}
	if r.CSG == pdu.StageSecurity {
		return n.receiveSecurity(r, pairs)
	}
	return n.receiveOperational(r, pairs)
}

// checkHeader checks what a response may say whatever its text is.
func (n *Initiator) checkHeader(r pdu.LoginResponse) error {
	bad := func(format string, args ...any) error {
		return &ProtocolError{fmt.Sprintf(format, args...)}
	}
	switch {
	case n.count >= maxExchanges:
		return bad("no end after %d requests", n.count)
	case r.VersionActive != 0:
		return bad("the target speaks iSCSI version %d, not 0", r.VersionActive)
	case r.CSG != n.stage:
		return bad("a response of stage %d to a request of stage %d", r.CSG, n.stage)
	case r.Continue && r.Transit:
		return bad("a text that goes on in the next stage")
	case r.Transit && !n.asksT:
		return bad("a transition that was not asked for")
	case r.Transit && (r.NSG <= r.CSG || r.NSG == 2 || r.NSG > pdu.StageFullFeature):
		return bad("a transition from stage %d to stage %d", r.CSG, r.NSG)
	}
	return nil
}

// refusal is the error for a response with a status.
func refusal(r pdu.LoginResponse, data []byte) error {
	status := &StatusError{Class: r.StatusClass, Detail: r.StatusDetail}
	if code := status.Code(); code != StatusMovedTemporarily && code != StatusMovedPermanently {
		return status
	}
	if len(data) > maxText {
		return status
	}
	pairs, err := ParseText(data)
	if err != nil {
		return status
	}
	for _, p := range pairs {
		if p.Key != keys[kTargetAddress].name {
			continue
		}
		address, _, err := ParseTargetAddress(p.Value)
		if err != nil {
			return &ProtocolError{"redirection: " + err.Error()}
		}
		return &RedirectError{Address: address, Moved: status.Code() == StatusMovedPermanently}
	}
	return status
}

// receiveSecurity takes the target's text in the security stage.
func (n *Initiator) receiveSecurity(r pdu.LoginResponse, pairs []Pair) (bool, error) {
	last := r.Transit && r.NSG == pdu.StageFullFeature
	var sec securityText
	for _, p := range pairs {
		if err := n.neg.receive(p, r.CSG, last, &sec); err != nil {
			return false, err
		}
	}
	if err := n.authenticate(&sec); err != nil {
		return false, err
	}
	if !r.Transit {
		return false, nil
	}
	if n.step != secured {
		// Not reached while only proven steps ask for T; kept because all of
		// authentication hangs on it.
		return false, &AuthError{Reason: "the target ends the security stage too early"}
	}
	n.stage = r.NSG
	if last {
		return n.finish()
	}
	return false, nil
}

// authenticate takes one step of authentication.
func (n *Initiator) authenticate(sec *securityText) error {
	switch n.step {
	case methodAsked:
		return n.methodChosen(sec)
	case algorithmAsked:
		return n.challenged(sec)
	case answered:
		return n.accepted(sec)
	}
	// Secured. The answer to AuthMethod=None may come, once.
	if !sec.has[kAuthMethod] || n.offer.Auth.User != "" || n.neg.state[kAuthMethod] == settled {
		return sec.only()
	}
	n.neg.state[kAuthMethod] = settled
	if err := sec.only(kAuthMethod); err != nil {
		return err
	}
	if v := sec.value[kAuthMethod]; v != "None" {
		return &AuthError{
			Reason: "the target answers " + quote(v) + " to a login without authentication",
			Hint:   "the target wants CHAP: give it a user and a secret",
		}
	}
	return nil
}

// methodChosen takes the answer to our AuthMethod.
func (n *Initiator) methodChosen(sec *securityText) error {
	if err := sec.only(kAuthMethod); err != nil {
		return err
	}
	n.neg.state[kAuthMethod] = settled
	switch v := sec.value[kAuthMethod]; {
	case v == "CHAP":
		return nil // compose sends the algorithms
	case v == "None" && n.offer.Auth.AllowNone:
		n.step = secured
		return nil
	case v == "None":
		return &AuthError{
			Reason: "the target wants no authentication, but credentials are configured",
			Hint:   "set up CHAP at the target, or log in without a user",
		}
	default:
		return &AuthError{
			Reason: "the target does not take CHAP: it answers " + quote(v),
			Hint:   "set up CHAP at the target",
		}
	}
}

// challenged answers the target's challenge.
func (n *Initiator) challenged(sec *securityText) error {
	if sec.has[kCHAPA] && sec.value[kCHAPA] == "Reject" {
		return &AuthError{
			Reason: "the target takes none of our CHAP algorithms: " +
				formatAlgorithms(n.offer.Auth.algorithms()),
		}
	}
	if err := sec.only(kCHAPA, kCHAPI, kCHAPC); err != nil {
		return err
	}
	a := &n.offer.Auth
	v, err := ParseNumber(sec.value[kCHAPA])
	for _, alg := range a.algorithms() {
		if err == nil && v == uint64(alg) {
			n.chosen = alg
		}
	}
	if n.chosen == 0 {
		return &AuthError{Reason: "the target chose a CHAP algorithm that was not offered: " +
			quote(sec.value[kCHAPA])}
	}
	theirs, bad := parseChallenge(sec.value[kCHAPI], sec.value[kCHAPC])
	if bad != nil {
		return bad
	}
	out := AppendPair(nil, keys[kCHAPN].name, a.User)
	out = AppendPair(out, keys[kCHAPR].name,
		FormatBinary(n.chosen.response(theirs.id, a.Secret, theirs.data)))
	if len(a.MutualSecret) > 0 {
		if n.own, bad = newChallenge(n.rnd); bad != nil {
			return bad
		}
		if n.own.same(theirs) {
			return &AuthError{Reason: "the target's challenge is the same as ours"}
		}
		out = n.own.append(out)
	}
	n.neg.out = append(n.neg.out, out...)
	n.step = answered
	return nil
}

// accepted takes what the target says to our answer: nothing, or its proof.
func (n *Initiator) accepted(sec *securityText) error {
	a := &n.offer.Auth
	if len(a.MutualSecret) == 0 {
		if err := sec.only(); err != nil {
			return err
		}
		n.step = secured
		return nil
	}
	if !sec.has[kCHAPN] || !sec.has[kCHAPR] {
		return &AuthError{
			Reason: "the target does not prove who it is",
			Hint:   "set up mutual CHAP at the target, or log in without a mutual secret",
		}
	}
	if err := sec.only(kCHAPN, kCHAPR); err != nil {
		return err
	}
	if len(sec.value[kCHAPN]) > maxUser {
		return &NegotiationError{Key: keys[kCHAPN].name, Reason: "it is longer than 255 bytes"}
	}
	response, err := ParseBinary(sec.value[kCHAPR])
	if err != nil {
		return &AuthError{Reason: "CHAP_R of the target is not a binary value"}
	}
	right := n.chosen.verify(n.own.id, a.MutualSecret, n.own.data, response)
	if a.MutualUser != "" && sec.value[kCHAPN] != a.MutualUser {
		return &AuthError{
			Reason: "the target proves itself as user " + quote(sec.value[kCHAPN]) +
				", not as " + quote(a.MutualUser),
		}
	}
	if !right {
		return &AuthError{
			Reason: "the target's proof is wrong",
			Hint:   "check the mutual CHAP secret; if it is right, somebody plays the target",
		}
	}
	n.step = secured
	return nil
}

// receiveOperational takes the target's text in the operational stage.
func (n *Initiator) receiveOperational(r pdu.LoginResponse, pairs []Pair) (bool, error) {
	for _, p := range pairs {
		if err := n.neg.receive(p, r.CSG, r.Transit, nil); err != nil {
			return false, err
		}
	}
	if !r.Transit {
		return false, nil
	}
	return n.finish()
}

// finish ends the login phase.
func (n *Initiator) finish() (bool, error) {
	if err := n.neg.finish(); err != nil {
		return false, err
	}
	n.step = finished
	n.params = n.neg.params()
	return true, nil
}

// algorithms is what is on offer.
func (a *Auth) algorithms() []Algorithm {
	if len(a.Algorithms) == 0 {
		return allAlgorithms
	}
	return a.Algorithms
}
