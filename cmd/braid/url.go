package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"braid/iscsi/login"
)

const (
	defaultPort    = "3260" // IANA's iscsi-target
	maxLUN         = 16383  // flat space addressing, SAM-5 section 4.7.7.1
	maxConnections = 64     // connections of one session; more never helped
)

// A URL names one session: iscsi://[user@]HOST[:3260][,HOST[:PORT]...]/TARGET-IQN/LUN.
// Several portals are the connections of that one session.
type URL struct {
	User    string   // CHAP user, empty if the URL names none
	Portals []string // HOST:PORT, IPv6 in brackets; the first one leads
	Target  string
	LUN     uint16
}

// ParseURL reads one URL. Errors say what is wrong and how it should look.
func ParseURL(s string) (URL, error) {
	u, err := parseURL(s)
	if err != nil {
		return URL{}, fmt.Errorf("URL %q: %w", s, err)
	}
	return u, nil
}

func parseURL(s string) (URL, error) {
	rest, ok := strings.CutPrefix(s, "iscsi://")
	if !ok {
		return URL{}, errors.New("it must begin with iscsi://")
	}
	authority, path, _ := strings.Cut(rest, "/")
	slash := strings.LastIndexByte(path, '/') // a target's name may have some too
	if slash < 1 || slash == len(path)-1 {
		return URL{}, errors.New("it must look like iscsi://HOST[:PORT]/TARGET-IQN/LUN")
	}
	target, lun := path[:slash], path[slash+1:]
	u, err := parseAuthority(authority)
	if err != nil {
		return URL{}, err
	}
	if u.Target, err = parseTarget(target); err != nil {
		return URL{}, err
	}
	if u.LUN, err = parseLUN(lun); err != nil {
		return URL{}, err
	}
	return u, nil
}

// parseAuthority reads [user@]HOST[:PORT][,...].
func parseAuthority(s string) (u URL, err error) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		if u.User, err = parseUser(s[:i]); err != nil {
			return URL{}, err
		}
		s = s[i+1:]
	}
	if u.Portals, err = parsePortals(s); err != nil {
		return URL{}, err
	}
	return u, nil
}

func parseUser(s string) (string, error) {
	if strings.Contains(s, ":") {
		return "", errors.New("a URL holds no secret: use user@ and --chap-secret-file")
	}
	user, err := url.PathUnescape(s)
	if err != nil || user == "" {
		return "", fmt.Errorf("%q is no user name", s)
	}
	return user, nil
}

func parsePortals(s string) ([]string, error) {
	parts := strings.Split(s, ",")
	if len(parts) > maxConnections {
		return nil, fmt.Errorf("%d portals, at most %d fit one session", len(parts),
			maxConnections)
	}
	portals := make([]string, 0, len(parts))
	for _, part := range parts {
		p, err := parsePortal(part)
		if err != nil {
			return nil, err
		}
		portals = append(portals, p)
	}
	return portals, nil
}

// parsePortal reads HOST[:PORT] and returns HOST:PORT.
func parsePortal(s string) (string, error) {
	host, port := s, defaultPort
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("portal %q: the bracket is not closed", s)
		}
		host = strings.Replace(s[1:end], "%25", "%", 1)
		if ip, _, _ := strings.Cut(host, "%"); net.ParseIP(ip) == nil {
			return "", fmt.Errorf("portal %q: %q is no IPv6 address", s, host)
		}
		if after := s[end+1:]; after != "" {
			if after[0] != ':' {
				return "", fmt.Errorf("portal %q: %q after the bracket", s, after)
			}
			port = after[1:]
		}
	case strings.Count(s, ":") > 1:
		return "", fmt.Errorf("portal %q: an IPv6 address stands in brackets, as [%s]:%s",
			s, s, defaultPort)
	case strings.Contains(s, ":"):
		host, port, _ = strings.Cut(s, ":")
	}
	if host == "" {
		return "", fmt.Errorf("portal %q: the host is missing", s)
	}
	if strings.ContainsAny(host, " \t\r\n?#%\\\"") && !strings.HasPrefix(s, "[") {
		return "", fmt.Errorf("portal %q: %q is no host name", s, host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("portal %q: port %q is not a number from 1 to 65535", s, port)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// parseTarget checks an iSCSI name: RFC 7143 section 4.2.7.
func parseTarget(s string) (string, error) {
	name, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("target %q: %w", s, err)
	}
	if err := login.ValidName(name); err != nil {
		return "", fmt.Errorf("target %w", err)
	}
	return name, nil
}

func parseLUN(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > maxLUN {
		return 0, fmt.Errorf("LUN %q is not a decimal number from 0 to %d", s, maxLUN)
	}
	return uint16(n), nil
}

// String gives the URL back, without port numbers that are the default.
func (u URL) String() string {
	var b strings.Builder
	b.WriteString("iscsi://")
	if u.User != "" {
		b.WriteString(strings.ReplaceAll(url.QueryEscape(u.User), "+", "%20"))
		b.WriteByte('@')
	}
	for i, p := range u.Portals {
		if i > 0 {
			b.WriteByte(',')
		}
		p = strings.TrimSuffix(p, ":"+defaultPort)
		b.WriteString(strings.Replace(p, "%", "%25", 1))
	}
	fmt.Fprintf(&b, "/%s/%d", u.Target, u.LUN)
	return b.String()
}
