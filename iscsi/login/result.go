package login

import "slices"

// finish checks the result of a login as a whole: that each offer was answered,
// that what was demanded was granted, and the rules that tie keys together.
func (n *negotiation) finish() error {
	for id := range keyID(numKeys) {
		k := &keys[id]
		if n.state[id] == offered && !k.modern && (k.fn == choice || !k.settles(n.wish[id])) {
			return &NegotiationError{Key: k.name, Reason: "our offer was not answered"}
		}
		if n.state[id] == irrelevant && !n.isIrrelevant(id) {
			return &NegotiationError{Key: k.name, Value: "Irrelevant", Reason: "it does matter"}
		}
		if k.fn == choice && n.list[id] != nil && !slices.Contains(n.list[id], n.chosen(id)) {
			return &NegotiationError{Key: k.name, Reason: "it was left at " + n.chosen(id) +
				", but we demand " + n.list[id][0]}
		}
	}
	first, burst := n.number(kFirstBurstLength), n.number(kMaxBurstLength)
	touched := n.state[kFirstBurstLength] != untouched || n.state[kMaxBurstLength] != untouched
	if touched && first > burst && !n.isIrrelevant(kFirstBurstLength) {
		// How much unsolicited data must come would then be open (section
		// 13.14), so neither side may guess.
		return &NegotiationError{Key: "FirstBurstLength", Value: itoa(first),
			Reason: "it is greater than the MaxBurstLength of " + itoa(burst)}
	}
	return nil
}

// isIrrelevant reports whether a key has no meaning beside the other results
// (RFC 7143 section 13.14). What has none in a discovery session is not offered
// there in the first place.
func (n *negotiation) isIrrelevant(id keyID) bool {
	return id == kFirstBurstLength &&
		n.number(kInitialR2T) == 1 && n.number(kImmediateData) == 0
}

// offerMissing offers what the initiator has left out, where the value that
// would then hold is one that this side cannot take. It reports whether there
// was such a key.
func (n *negotiation) offerMissing() bool {
	var any bool
	for id := range keyID(numKeys) {
		if n.missing(id) {
			n.offer(id)
			any = true
		}
	}
	return any
}

// anyMissing reports whether offerMissing would offer something.
func (n *negotiation) anyMissing() bool {
	for id := range keyID(numKeys) {
		if n.missing(id) {
			return true
		}
	}
	return false
}

// missing reports whether this side cannot live with the value that the key has
// when nobody offers it.
func (n *negotiation) missing(id keyID) bool {
	k := &keys[id]
	if n.state[id] != untouched || k.leading && !n.leading || n.discovery && k.discoveryless {
		return false
	}
	switch k.fn {
	case choice:
		return !slices.Contains(n.list[id], defaultChoice(id))
	case and, or, minimum, maximum:
		if burst := n.number(kMaxBurstLength); id == kFirstBurstLength && k.def > burst {
			n.wish[id] = min(n.wish[id], burst) // section 13.14
		}
		return k.combine(k.def, n.wish[id]) != k.def
	}
	return false
}

// params is the result of the negotiation.
func (n *negotiation) params() Params {
	p := Params{
		HeaderDigest:             n.chosen(kHeaderDigest) == "CRC32C",
		DataDigest:               n.chosen(kDataDigest) == "CRC32C",
		MaxConnections:           n.number(kMaxConnections),
		InitialR2T:               n.number(kInitialR2T) == 1,
		ImmediateData:            n.number(kImmediateData) == 1,
		MaxRecvDataSegmentLength: DefaultDataSegment,
		MaxXmitDataSegmentLength: n.number(kMaxRecvDataSegmentLength),
		MaxBurstLength:           n.number(kMaxBurstLength),
		FirstBurstLength:         n.number(kFirstBurstLength),
		DefaultTime2Wait:         n.number(kDefaultTime2Wait),
		DefaultTime2Retain:       n.number(kDefaultTime2Retain),
		MaxOutstandingR2T:        n.number(kMaxOutstandingR2T),
		DataPDUInOrder:           n.number(kDataPDUInOrder) == 1,
		DataSequenceInOrder:      n.number(kDataSequenceInOrder) == 1,
		ErrorRecoveryLevel:       n.number(kErrorRecoveryLevel),
		TargetPortalGroupTag:     n.number(kTargetPortalGroupTag),
		TargetAlias:              n.text[kTargetAlias],
		TaskReporting:            n.chosen(kTaskReporting),
		ProtocolLevel:            n.number(kProtocolLevel),
	}
	if n.sent[kMaxRecvDataSegmentLength] {
		p.MaxRecvDataSegmentLength = n.wish[kMaxRecvDataSegmentLength]
	}
	return p
}
