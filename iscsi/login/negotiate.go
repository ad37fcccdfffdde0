package login

import (
	"slices"
	"strings"
)

// A keyState is how far one key has come in one login. No key goes back.
type keyState uint8

const (
	untouched  keyState = iota
	offered             // by this side, and not yet answered
	settled             // negotiated, or declared by the peer
	irrelevant          // answered so by the peer; finish checks that it is true
)

// A negotiation is one side's view of the keys of one login. It is the same for
// both sides but for who may send what.
type negotiation struct {
	self      side
	leading   bool
	discovery bool

	// What this side wants: numbers and booleans, and for lists the values
	// that it takes, the preferred first.
	wish [numKeys]int
	list [numKeys][]string

	state   [numKeys]keyState
	sent    [numKeys]bool // declared by this side
	num     [numKeys]int  // results, and declarations of the peer
	text    [numKeys]string
	unknown int

	out []byte // pairs for the next text to the peer
}

// want sets what this side would like. Numbers are brought into their legal range, so that
// whatever was configured, the text on the wire is legal.
func (n *negotiation) want(w *Wishes) {
	for id := range keyID(numKeys) {
		if v, ok := w.number(id); ok {
			n.wish[id] = min(max(v, keys[id].min), keys[id].max)
		}
	}
	first := &n.wish[kFirstBurstLength]
	*first = min(*first, n.wish[kMaxBurstLength])
	n.list[kHeaderDigest] = w.HeaderDigest.values()
	n.list[kDataDigest] = w.DataDigest.values()
	n.list[kTaskReporting] = []string{defaultChoice(kTaskReporting)}
}

// offer sends a proposal.
func (n *negotiation) offer(id keyID) {
	if n.state[id] != untouched {
		panic("login: " + keys[id].name + " offered twice")
	}
	n.state[id] = offered
	if k := &keys[id]; k.fn == choice {
		n.out = AppendPair(n.out, k.name, strings.Join(n.list[id], ","))
	} else {
		n.out = AppendPair(n.out, k.name, k.format(n.wish[id]))
	}
}

// declare sends a number that needs no answer.
func (n *negotiation) declare(id keyID, v int) {
	n.sent[id] = true
	n.out = AppendPair(n.out, keys[id].name, itoa(v))
}

// declareText sends a text that needs no answer.
func (n *negotiation) declareText(id keyID, v string) {
	n.sent[id] = true
	n.out = AppendPair(n.out, keys[id].name, v)
}

// receive takes one pair of the peer, in the given stage. Keys of the security
// stage go to sec. With last set the peer has left the login phase with this
// text, so that nothing can be answered any more.
func (n *negotiation) receive(p Pair, stage uint8, last bool, sec *securityText) error {
	id, ok := findKey(p.Key)
	if !ok {
		return n.receiveUnknown(p)
	}
	k := &keys[id]
	bad := func(reason string) error {
		return &NegotiationError{Key: k.name, Value: shown(id, p.Value), Reason: reason}
	}
	switch {
	case k.from&n.self.peer() == 0:
		return bad("a key that the " + n.self.peer().String() + " must not send")
	case k.stages&(1<<stage) == 0:
		return bad("a key that does not belong to this stage of the login")
	case k.leading && !n.leading && n.self == target:
		return bad("a key that is for the first connection of a session only")
	case n.state[id] >= settled && !k.repeated:
		return bad("a key that was settled before")
	}
	switch k.fn {
	case security:
		if sec == nil || sec.has[id] {
			return bad("a key that was sent before")
		}
		sec.has[id], sec.value[id] = true, p.Value
		return nil
	case declared:
		return n.receiveDeclared(id, p.Value)
	case obsolete:
		return n.decline(id)
	}
	if n.state[id] == offered {
		return n.receiveAnswer(id, p.Value)
	}
	return n.receiveProposal(id, p.Value, last)
}

// shown is a value as an error may show it: of CHAP nothing is shown.
func shown(id keyID, value string) string {
	if keys[id].fn == security && id != kAuthMethod {
		return ""
	}
	return value
}

// receiveUnknown answers a key that is not in the RFC (section 6.2: NotUnderstood).
func (n *negotiation) receiveUnknown(p Pair) error {
	switch p.Value {
	case "NotUnderstood", "Reject", "Irrelevant":
		// An answer to something that was never offered. Answered in turn,
		// it could go to and fro for ever.
		return &NegotiationError{Key: p.Key, Value: p.Value, Reason: "a key that was not offered"}
	}
	if n.unknown++; n.unknown > maxUnknown {
		return &NegotiationError{Key: p.Key, Reason: "too many keys that nobody knows"}
	}
	n.out = AppendPair(n.out, p.Key, "NotUnderstood")
	return nil
}

// receiveDeclared takes a declaration of the peer.
func (n *negotiation) receiveDeclared(id keyID, value string) error {
	k := &keys[id]
	n.state[id] = settled
	if k.max > 0 {
		v, reason := k.parse(value)
		if reason != "" {
			return &NegotiationError{Key: k.name, Value: value, Reason: reason}
		}
		n.num[id] = v
		return nil
	}
	if len(value) > 255 || !printable(value) {
		return &NegotiationError{Key: k.name, Value: value,
			Reason: "not printable, or longer than 255 bytes"}
	}
	n.text[id] = value
	return nil
}

// decline answers the keys that RFC 7143 section 13.25 has retired. It allows
// No for the markers themselves, and prefers Reject; but Linux targets offer
// IFMarker=No, and end the login over a Reject.
func (n *negotiation) decline(id keyID) error {
	n.state[id] = settled
	if id == kIFMarker || id == kOFMarker {
		n.out = AppendPair(n.out, keys[id].name, "No")
	} else {
		n.out = AppendPair(n.out, keys[id].name, "Reject")
	}
	return nil
}

// receiveAnswer takes the answer to an offer of this side.
func (n *negotiation) receiveAnswer(id keyID, value string) error {
	k := &keys[id]
	bad := func(reason string) error {
		return &NegotiationError{Key: k.name, Value: value, Reason: reason}
	}
	switch value {
	case "Reject":
		return bad("our value was rejected")
	case "NotUnderstood":
		if !k.modern {
			return bad("a key that everyone must understand")
		}
		n.settleDefault(id)
		return nil
	case "Irrelevant":
		n.settleDefault(id)
		n.state[id] = irrelevant
		return nil
	}
	n.state[id] = settled
	if k.fn == choice {
		if !slices.Contains(n.list[id], value) {
			return bad("a value that was not offered")
		}
		n.text[id] = value
		return nil
	}
	v, reason := k.parse(value)
	if reason != "" {
		return bad(reason)
	}
	if k.combine(v, n.wish[id]) != v {
		return bad("not a possible answer to our " + k.format(n.wish[id]))
	}
	n.num[id] = v
	return nil
}

// receiveProposal answers an offer of the peer.
func (n *negotiation) receiveProposal(id keyID, value string, last bool) error {
	k := &keys[id]
	bad := func(reason string) error {
		return &NegotiationError{Key: k.name, Value: value, Reason: reason}
	}
	switch value {
	case "Reject", "NotUnderstood", "Irrelevant":
		return bad("an answer to something that was not offered")
	}
	var result, determined = "", false
	if k.fn == choice {
		values := strings.Split(value, ",")
		for _, v := range values {
			if result == "" && v != "" && slices.Contains(n.list[id], v) {
				result = v
			}
		}
		if result == "" {
			return bad("none of these values is acceptable here: we take " +
				strings.Join(n.list[id], ","))
		}
		determined = value == result
	} else {
		v, reason := k.parse(value)
		if reason != "" {
			return bad(reason)
		}
		n.num[id] = k.combine(v, n.wish[id])
		determined = n.num[id] == v
	}
	n.state[id] = settled
	if last {
		// What the peer has left behind, it can only have left at its own
		// value. That is no trouble if our answer would have been the same.
		if !determined {
			return bad("offered in the very text that ends the login, so that we cannot decline it")
		}
		n.text[id] = result
		return nil
	}
	switch {
	case n.discovery && k.discoveryless:
		n.settleDefault(id)
		n.out = AppendPair(n.out, k.name, "Irrelevant")
	case k.fn == choice:
		n.text[id] = result
		n.out = AppendPair(n.out, k.name, result)
	default:
		n.out = AppendPair(n.out, k.name, k.format(n.num[id]))
	}
	return nil
}

// settleDefault settles a key at the value that it has without negotiation.
func (n *negotiation) settleDefault(id keyID) {
	n.state[id] = settled
	n.num[id] = keys[id].def
	n.text[id] = defaultChoice(id)
}

// number is the result of a key with a number or a boolean.
func (n *negotiation) number(id keyID) int {
	switch {
	case n.state[id] >= settled:
		return n.num[id]
	case n.state[id] == offered && keys[id].settles(n.wish[id]):
		return n.wish[id]
	}
	return keys[id].def
}

// chosen is the result of a key with a list.
func (n *negotiation) chosen(id keyID) string {
	if n.state[id] >= settled {
		return n.text[id]
	}
	return defaultChoice(id)
}

// take gives the text that stands to be sent.
func (n *negotiation) take() []byte {
	out := n.out
	n.out = nil
	return out
}
