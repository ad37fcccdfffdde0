package login

// Numbers of RFC 7143.
const (
	// DefaultDataSegment is the MaxRecvDataSegmentLength of a side that
	// declared none, and of both sides during login (section 13.12).
	DefaultDataSegment = 8192
	maxKeyName         = 63        // section 6.1
	maxNameLength      = 223       // section 4.2.7.1
	maxChallenge       = 1024      // section 12.1.3, CHAP_C without its encoding
	maxSegment         = 1<<24 - 1 // sections 13.12 to 13.14
	maxTimeout         = 3600      // sections 13.15 and 13.16, seconds
	minSecret          = 96 / 8    // section 12.1.3: shorter secrets need IPsec
	defaultPort        = "3260"    // section 4.2.7.3, assigned by IANA
)

// Bounds of our own. A peer that goes past one of them is refused.
const (
	// maxText bounds one text that is spread over several PDUs. A login of
	// ours takes less than 1 KiB, or 3 KiB with CHAP.
	maxText = 64 << 10
	// maxPairs bounds the keys in one text. RFC 7143 knows about forty.
	maxPairs = 256
	// maxUnknown bounds the keys of one login that are answered with
	// NotUnderstood.
	maxUnknown = 32
	// maxExchanges bounds the PDUs in each direction of one login. The
	// longest plain login, CHAP with a target that stays in each stage for
	// one more round, takes seven.
	maxExchanges = 64
	// maxUser bounds CHAP_N (RFC 7143 section 6.1: 255 bytes for a value).
	maxUser = 255
	// challengeLength is the length of our own challenges, in bytes: that of
	// the strongest hash on offer.
	challengeLength = 32
)
