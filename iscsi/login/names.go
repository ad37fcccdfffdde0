package login

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ValidName reports what is wrong with s as the name of an iSCSI node: iqn.,
// eui. or naa. (RFC 7143 section 4.2.7). Upper case is accepted, as in the
// field, although names are compared in lower case.
func ValidName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the name is empty")
	case len(s) > maxNameLength:
		return fmt.Errorf("name of %d bytes: at most %d are allowed", len(s), maxNameLength)
	case !utf8.ValidString(s):
		return fmt.Errorf("name %s is not UTF-8", quote(s))
	}
	for _, c := range s {
		if c <= ' ' || c == 0x7f || c < 0x80 && !nameByte(byte(c)) {
			return fmt.Errorf("name %s: %q is not allowed", quote(s), c)
		}
	}
	switch kind, rest, _ := strings.Cut(s, "."); strings.ToLower(kind) {
	case "iqn":
		return validIQN(s, rest)
	case "eui":
		if len(rest) != 16 || !allHex(rest) {
			return fmt.Errorf("name %s: eui. wants 16 hexadecimal digits", quote(s))
		}
		return nil
	case "naa":
		if len(rest) != 16 && len(rest) != 32 || !allHex(rest) {
			return fmt.Errorf("name %s: naa. wants 16 or 32 hexadecimal digits", quote(s))
		}
		return nil
	}
	return fmt.Errorf("name %s does not begin with \"iqn.\", \"eui.\" or \"naa.\"", quote(s))
}

// validIQN checks iqn.YYYY-MM.reversed-domain[:anything].
func validIQN(s, rest string) error {
	date, domain, ok := strings.Cut(rest, ".")
	if !ok || len(date) != 7 || date[4] != '-' {
		return fmt.Errorf("name %s: iqn. wants a date YYYY-MM and a domain", quote(s))
	}
	month, err := strconv.Atoi(date[5:])
	if !allDigits(date[:4]) || !allDigits(date[5:]) || err != nil || month < 1 || month > 12 {
		return fmt.Errorf("name %s: %s is not a date YYYY-MM", quote(s), quote(date))
	}
	if authority, _, _ := strings.Cut(domain, ":"); authority == "" {
		return fmt.Errorf("name %s has no domain", quote(s))
	}
	return nil
}

// nameByte reports whether an ASCII byte may stand in a name. The RFC allows
// letters, digits and - . : only; _ and / are met in the field.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-.:_/", c) >= 0
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func allHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// ParseTargetAddress reads the value of TargetAddress, HOST[:PORT][,TAG] (RFC
// 7143 section 13.8), as redirections and SendTargets give it. The address is
// HOST:PORT with port 3260 if none is given; the tag is -1 if there is none.
func ParseTargetAddress(value string) (address string, tag int, err error) {
	tag = -1
	hostport, group, grouped := strings.Cut(value, ",")
	if grouped {
		n, err := ParseNumber(group)
		if err != nil || n > 65535 {
			return "", -1, fmt.Errorf("target address %s: bad portal group tag", quote(value))
		}
		tag = int(n)
	}
	host, port := hostport, defaultPort
	switch {
	case strings.HasPrefix(hostport, "["):
		in, after, ok := strings.Cut(hostport[1:], "]")
		if !ok || after != "" && after[0] != ':' || net.ParseIP(in) == nil {
			return "", -1, fmt.Errorf("target address %s: bad IPv6 address", quote(value))
		}
		host = in
		if after != "" {
			port = after[1:]
		}
	case strings.Count(hostport, ":") == 1:
		host, port, _ = strings.Cut(hostport, ":")
	case strings.Count(hostport, ":") > 1 && net.ParseIP(hostport) == nil:
		// IPv6 without brackets is against the RFC, but unambiguous without a port.
		return "", -1, fmt.Errorf("target address %s: bad host", quote(value))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !allDigits(port) {
		return "", -1, fmt.Errorf("target address %s: bad port", quote(value))
	}
	if host == "" || len(host) > 255 || !printable(host) || strings.ContainsAny(host, " /@") {
		return "", -1, fmt.Errorf("target address %s: bad host", quote(value))
	}
	return net.JoinHostPort(host, port), tag, nil
}
