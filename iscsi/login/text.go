package login

import (
	"fmt"
	"strings"
)

// A Pair is one key=value of a text (RFC 7143 section 6.1).
type Pair struct{ Key, Value string }

// ParseText splits the text of a Login or Text PDU into its pairs, in their
// order. Pairs are separated by one or more NUL bytes; the last may lack its
// own. The keys are checked to be names as RFC 7143 section 6.1 has them, the
// values may be anything, and keys may repeat. Its result grows with the text,
// which is for the caller to bound.
func ParseText(b []byte) ([]Pair, error) {
	var pairs []Pair
	s := string(b)
	for s != "" {
		var item string
		item, s, _ = strings.Cut(s, "\x00")
		if item == "" {
			continue
		}
		k, v, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("text %s is not key=value", quote(item))
		}
		if !validKey(k) {
			return nil, fmt.Errorf("text %s does not begin with the name of a key", quote(item))
		}
		pairs = append(pairs, Pair{k, v})
	}
	return pairs, nil
}

// AppendPair appends "key=value" and its NUL to dst. It panics if the key is no
// name of a key or the value has a NUL: neither may come from a peer.
func AppendPair(dst []byte, k, v string) []byte {
	if !validKey(k) || strings.IndexByte(v, 0) >= 0 {
		panic("login: cannot send " + quote(k) + "=" + quote(v))
	}
	dst = append(dst, k...)
	dst = append(dst, '=')
	dst = append(dst, v...)
	return append(dst, 0)
}

// validKey reports whether s is a key name: at most 63 bytes of letters, digits
// and . - + @ _ (RFC 7143 section 6.1, "text-name" and "standard-label"). The
// RFC wants a capital letter in front, but its own iSCSIProtocolLevel has none.
func validKey(s string) bool {
	if s == "" || len(s) > maxKeyName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		case i > 0 && c >= '0' && c <= '9':
		case i > 0 && strings.IndexByte(".-+@_", c) >= 0:
		case i > 0 && c == '#': // X#, Y# and Z# keys, RFC 7143 section 13.22
		default:
			return false
		}
	}
	return true
}

// printable reports whether s has no control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}
