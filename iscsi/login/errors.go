package login

import (
	"errors"
	"fmt"
)

// Permanent reports whether err says that trying the same login again cannot
// help: the peer refused for good, or the two sides cannot agree. It is false
// for errors of other packages.
func Permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// Remedy gives what a user can do about err, empty if nothing is known.
func Remedy(err error) string {
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		return r.Remedy()
	}
	return ""
}

// A RedirectError is the target's demand to log in elsewhere (RFC 7143 section
// 11.13.5, status class 1).
type RedirectError struct {
	Address string // HOST:PORT, the host in brackets if it is IPv6
	Moved   bool   // for good (0102), not only for now (0101)
}

func (e *RedirectError) Error() string {
	if e.Moved {
		return fmt.Sprintf("the target has moved permanently to %s", e.Address)
	}
	return fmt.Sprintf("the target has moved temporarily to %s", e.Address)
}

// Permanent is false: the login can be tried at Address.
func (e *RedirectError) Permanent() bool { return false }

// A NegotiationError says that both sides cannot agree on a key, or that the
// peer broke the rules of RFC 7143 section 6.2 for it.
type NegotiationError struct {
	Key    string
	Value  string // the peer's; empty if there was none
	Reason string
}

func (e *NegotiationError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("login negotiation of %s: %s", clip(e.Key), e.Reason)
	}
	return fmt.Sprintf("login negotiation of %s: the peer sent %s: %s",
		clip(e.Key), quote(e.Value), e.Reason)
}

// Permanent is true: the same offers meet the same answers.
func (e *NegotiationError) Permanent() bool { return true }

// An AuthError says that authentication failed on this side: the target could
// not prove who it is, broke the rules of CHAP, or asked for what is not
// configured here. Refusals by the target are a StatusError.
type AuthError struct {
	Reason string
	Hint   string // what to do about it; may be empty
}

func (e *AuthError) Error() string { return "authentication: " + e.Reason }

// Permanent is true.
func (e *AuthError) Permanent() bool { return true }

// Remedy says what to do about it; it may be empty.
func (e *AuthError) Remedy() string { return e.Hint }

// A ProtocolError says that the peer's PDU does not fit into the course of a
// login (RFC 7143 section 6.3), whatever its keys say.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "login protocol error: " + e.Reason }

// Permanent is false: the peer may be starting or broken for a while.
func (e *ProtocolError) Permanent() bool { return false }

// clip shortens s to what a message can bear and makes it printable.
func clip(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}

// quote is s in quotes, cut short, without anything that a terminal obeys.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%+q", s[:most]+"...")
	}
	return fmt.Sprintf("%+q", s)
}
