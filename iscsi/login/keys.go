package login

// A keyID names a key of RFC 7143 sections 12 and 13.
type keyID uint8

const (
	kAuthMethod keyID = iota
	kCHAPA
	kCHAPI
	kCHAPC
	kCHAPN
	kCHAPR
	kInitiatorName
	kInitiatorAlias
	kTargetName
	kTargetAlias
	kTargetAddress
	kTargetPortalGroupTag
	kSessionType
	kSendTargets
	kHeaderDigest
	kDataDigest
	kMaxConnections
	kInitialR2T
	kImmediateData
	kMaxRecvDataSegmentLength
	kMaxBurstLength
	kFirstBurstLength
	kDefaultTime2Wait
	kDefaultTime2Retain
	kMaxOutstandingR2T
	kDataPDUInOrder
	kDataSequenceInOrder
	kErrorRecoveryLevel
	kTaskReporting
	kProtocolLevel
	kIFMarker
	kOFMarker
	kIFMarkInt
	kOFMarkInt
	numKeys
)

// A function is how the result of a key comes about (RFC 7143 section 6.2).
type function uint8

const (
	declared function = iota // one side states it, nobody answers
	security                 // belongs to authentication, see chap.go
	choice                   // the first value of a list that the other side takes
	and                      // booleans
	or
	minimum // numbers
	maximum
	obsolete // RFC 7143 section 13.25: known only to be declined
)

// A side is an end of the connection; as a mask, who may send a key.
type side uint8

const (
	initiator side = 1 << iota
	target
	both = initiator | target
)

func (s side) peer() side { return both &^ s }

func (s side) String() string {
	if s == initiator {
		return "initiator"
	}
	return "target"
}

// Stages in which a key is legal, as a mask.
const (
	inSecurity    = 1 << iota // bit of stage 0
	inOperational             // bit of stage 1
	inAny         = inSecurity | inOperational
)

// A key is one row of RFC 7143 section 13: what may be said about it, by whom
// and when.
type key struct {
	name   string
	fn     function
	from   side
	stages uint8

	// leading: legal only on the first connection of a session.
	leading bool
	// discoveryless: irrelevant in discovery sessions.
	discoveryless bool
	// modern: younger than RFC 3720, so that NotUnderstood is an answer.
	modern bool
	// repeated: may be declared more than once.
	repeated bool

	min, max, def int
}

var keys = [numKeys]key{
	kAuthMethod: {name: "AuthMethod", fn: security, from: both, stages: inSecurity},
	kCHAPA:      {name: "CHAP_A", fn: security, from: both, stages: inSecurity},
	kCHAPI:      {name: "CHAP_I", fn: security, from: both, stages: inSecurity},
	kCHAPC:      {name: "CHAP_C", fn: security, from: both, stages: inSecurity},
	kCHAPN:      {name: "CHAP_N", fn: security, from: both, stages: inSecurity},
	kCHAPR:      {name: "CHAP_R", fn: security, from: both, stages: inSecurity},

	kInitiatorName:  {name: "InitiatorName", from: initiator, stages: inAny},
	kInitiatorAlias: {name: "InitiatorAlias", from: initiator, stages: inAny},
	kTargetName:     {name: "TargetName", from: initiator, stages: inAny},
	kTargetAlias:    {name: "TargetAlias", from: target, stages: inAny},
	kTargetAddress:  {name: "TargetAddress", from: target, stages: inAny, repeated: true},
	kTargetPortalGroupTag: {name: "TargetPortalGroupTag", from: target, stages: inAny,
		max: 65535, def: -1},
	kSessionType: {name: "SessionType", from: initiator, stages: inAny, leading: true},
	// SendTargets is for the full feature phase: no stage of the login.
	kSendTargets: {name: "SendTargets", from: initiator},

	kHeaderDigest: {name: "HeaderDigest", fn: choice, from: both, stages: inOperational},
	kDataDigest:   {name: "DataDigest", fn: choice, from: both, stages: inOperational},
	kMaxConnections: {name: "MaxConnections", fn: minimum, from: both, stages: inOperational,
		leading: true, discoveryless: true, min: 1, max: 65535, def: 1},
	kInitialR2T: {name: "InitialR2T", fn: or, from: both, stages: inOperational,
		leading: true, discoveryless: true, max: 1, def: 1},
	kImmediateData: {name: "ImmediateData", fn: and, from: both, stages: inOperational,
		leading: true, discoveryless: true, max: 1, def: 1},
	kMaxRecvDataSegmentLength: {name: "MaxRecvDataSegmentLength", from: both,
		stages: inOperational, min: 512, max: maxSegment, def: DefaultDataSegment},
	kMaxBurstLength: {name: "MaxBurstLength", fn: minimum, from: both, stages: inOperational,
		leading: true, discoveryless: true, min: 512, max: maxSegment, def: 262144},
	kFirstBurstLength: {name: "FirstBurstLength", fn: minimum, from: both, stages: inOperational,
		leading: true, discoveryless: true, min: 512, max: maxSegment, def: 65536},
	kDefaultTime2Wait: {name: "DefaultTime2Wait", fn: maximum, from: both,
		stages: inOperational, leading: true, max: maxTimeout, def: 2},
	kDefaultTime2Retain: {name: "DefaultTime2Retain", fn: minimum, from: both,
		stages: inOperational, leading: true, max: maxTimeout, def: 20},
	kMaxOutstandingR2T: {name: "MaxOutstandingR2T", fn: minimum, from: both,
		stages: inOperational, leading: true, discoveryless: true, min: 1, max: 65535, def: 1},
	kDataPDUInOrder: {name: "DataPDUInOrder", fn: or, from: both, stages: inOperational,
		leading: true, discoveryless: true, max: 1, def: 1},
	kDataSequenceInOrder: {name: "DataSequenceInOrder", fn: or, from: both,
		stages: inOperational, leading: true, discoveryless: true, max: 1, def: 1},
	kErrorRecoveryLevel: {name: "ErrorRecoveryLevel", fn: minimum, from: both,
		stages: inOperational, leading: true, max: 2},
	kTaskReporting: {name: "TaskReporting", fn: choice, from: both, stages: inOperational,
		leading: true, discoveryless: true, modern: true},
	kProtocolLevel: {name: "iSCSIProtocolLevel", fn: minimum, from: both,
		stages: inOperational, leading: true, discoveryless: true, modern: true,
		max: 31, def: 1},

	kIFMarker:  {name: "IFMarker", fn: obsolete, from: both, stages: inOperational},
	kOFMarker:  {name: "OFMarker", fn: obsolete, from: both, stages: inOperational},
	kIFMarkInt: {name: "IFMarkInt", fn: obsolete, from: both, stages: inOperational},
	kOFMarkInt: {name: "OFMarkInt", fn: obsolete, from: both, stages: inOperational},
}

// defaultChoice is the value of a list key that was not negotiated.
func defaultChoice(id keyID) string {
	if id == kTaskReporting {
		return "RFC3720"
	}
	return "None"
}

// findKey gives the key of that name.
func findKey(name string) (keyID, bool) {
	for id := range keys {
		if keys[id].name == name {
			return keyID(id), true
		}
	}
	return 0, false
}

// combine is the result of a numeric or boolean key to which the two sides
// bring a and b.
func (k *key) combine(a, b int) int {
	switch k.fn {
	case and, minimum:
		return min(a, b)
	case or, maximum:
		return max(a, b)
	}
	panic("login: combine of " + k.name)
}

// settles reports whether n on one side alone fixes the result, whatever the
// other side says. Such an offer needs no answer (RFC 7143 section 6.2.2 says
// so for booleans; for numbers at the end of their range it comes to the same).
func (k *key) settles(n int) bool {
	switch k.fn {
	case and, minimum:
		return n == k.min
	case or, maximum:
		return n == k.max
	}
	return false
}

// boolean reports whether the values of the key are Yes and No.
func (k *key) boolean() bool { return k.fn == and || k.fn == or }

// parse reads the value of a key with a number or a boolean, and checks its
// range. The reason is empty if it is legal.
func (k *key) parse(value string) (n int, reason string) {
	if k.boolean() {
		switch value {
		case "Yes":
			return 1, ""
		case "No":
			return 0, ""
		}
		return 0, "neither Yes nor No"
	}
	v, err := ParseNumber(value)
	if err != nil {
		return 0, "not a number"
	}
	if v < uint64(max(k.min, 0)) || v > uint64(k.max) {
		return 0, "out of range"
	}
	return int(v), ""
}

// format is the inverse of parse.
func (k *key) format(n int) string {
	switch {
	case !k.boolean():
		return itoa(n)
	case n != 0:
		return "Yes"
	}
	return "No"
}
