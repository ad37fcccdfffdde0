package login

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

var (
	errNumber = errors.New("not a number")
	errBinary = errors.New("not a binary value in hexadecimal or base64")
)

// ParseNumber reads a numerical value, decimal or hexadecimal with 0x in front
// (RFC 7143 section 6.1).
func ParseNumber(s string) (uint64, error) {
	base, digits := 10, s
	if hasPrefixFold(s, "0x") {
		base, digits = 16, s[2:]
	}
	if digits == "" || digits[0] == '+' {
		return 0, errNumber
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// ParseBinary reads a binary value, hexadecimal with 0x or base64 with 0b in
// front (RFC 7143 section 6.1). An odd count of hexadecimal digits stands for
// a leading zero. Errors do not repeat the value.
func ParseBinary(s string) ([]byte, error) {
	var b []byte
	var err error
	switch {
	case len(s) <= 2:
		return nil, errBinary
	case hasPrefixFold(s, "0x"):
		digits := s[2:]
		if len(digits)%2 != 0 {
			digits = "0" + digits
		}
		b, err = hex.DecodeString(digits)
	case hasPrefixFold(s, "0b"):
		if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
			return nil, errBinary
		}
		b, err = base64.StdEncoding.Strict().DecodeString(s[2:])
	default:
		return nil, errBinary
	}
	if err != nil {
		return nil, errBinary
	}
	return b, nil
}

// FormatBinary is b in hexadecimal, the form that every peer reads.
func FormatBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func itoa(n int) string { return strconv.Itoa(n) }
