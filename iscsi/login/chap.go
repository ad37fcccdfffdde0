package login

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"hash"
	"io"
	"slices"
	"strings"
)

// An Algorithm is a hash of CHAP by its number at IANA (CHAP_A, RFC 7143
// section 12.1.3).
type Algorithm uint8

// The algorithms that are known here.
const (
	MD5     Algorithm = 5
	SHA1    Algorithm = 6
	SHA256  Algorithm = 7
	SHA3256 Algorithm = 8
)

// allAlgorithms are all of them, the strongest first.
var allAlgorithms = []Algorithm{SHA3256, SHA256, SHA1, MD5}

func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA1:
		return "SHA1"
	case SHA256:
		return "SHA256"
	case SHA3256:
		return "SHA3-256"
	}
	return "unknown"
}

func (a Algorithm) known() bool { return slices.Contains(allAlgorithms, a) }

func (a Algorithm) hash() hash.Hash {
	switch a {
	case MD5:
		return md5.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA3256:
		return sha3.New256()
	}
	panic("login: no such CHAP algorithm")
}

// response is the answer to a challenge (RFC 1994 section 4.1).
func (a Algorithm) response(id uint8, secret, challenge []byte) []byte {
	h := a.hash()
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

// verify compares a response with the right one in constant time.
func (a Algorithm) verify(id uint8, secret, challenge, response []byte) bool {
	return subtle.ConstantTimeCompare(a.response(id, secret, challenge), response) == 1
}

// formatAlgorithms is the list as the value of CHAP_A.
func formatAlgorithms(list []Algorithm) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(itoa(int(a)))
	}
	return b.String()
}

// A challenge is CHAP_I and CHAP_C.
type challenge struct {
	id   uint8
	data []byte
}

// newChallenge makes one from rnd.
func newChallenge(rnd io.Reader) (challenge, *AuthError) {
	var b [1 + challengeLength]byte
	if rnd == nil {
		return challenge{}, &AuthError{Reason: "no source of randomness for a challenge"}
	}
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return challenge{}, &AuthError{Reason: "no randomness for a challenge: " + err.Error()}
	}
	return challenge{b[0], b[1:]}, nil
}

// parseChallenge reads the peer's CHAP_I and CHAP_C.
func parseChallenge(id, data string) (challenge, *AuthError) {
	n, err := ParseNumber(id)
	if err != nil || n > 255 {
		return challenge{}, &AuthError{Reason: "CHAP_I is not a number from 0 to 255"}
	}
	b, err := ParseBinary(data)
	switch {
	case err != nil:
		return challenge{}, &AuthError{Reason: "CHAP_C is not a binary value"}
	case len(b) == 0:
		return challenge{}, &AuthError{Reason: "the challenge is empty"}
	case len(b) > maxChallenge:
		return challenge{}, &AuthError{Reason: "the challenge is longer than 1024 bytes"}
	}
	return challenge{uint8(n), b}, nil
}

// append writes CHAP_I and CHAP_C.
func (c challenge) append(dst []byte) []byte {
	dst = AppendPair(dst, keys[kCHAPI].name, itoa(int(c.id)))
	return AppendPair(dst, keys[kCHAPC].name, FormatBinary(c.data))
}

// same reports whether both challenges are the same bytes: then the one who
// sent the second wants the answer to the first from who asked it (RFC 7143
// section 12.1.3). The identifier does not matter for that.
func (c challenge) same(d challenge) bool {
	return len(c.data) == len(d.data) && subtle.ConstantTimeCompare(c.data, d.data) == 1
}

// securityText is what one text of the security stage says.
type securityText struct {
	has   [kCHAPR + 1]bool
	value [kCHAPR + 1]string
}

// only reports the first key, if any, that is there and not in want, or in want
// and not there.
func (s *securityText) only(want ...keyID) error {
	for id := kAuthMethod; id <= kCHAPR; id++ {
		wanted := slices.Contains(want, id)
		if s.has[id] && !wanted {
			return &NegotiationError{Key: keys[id].name, Reason: "it does not belong here"}
		}
		if !s.has[id] && wanted {
			return &NegotiationError{Key: keys[id].name, Reason: "it is missing"}
		}
	}
	return nil
}
