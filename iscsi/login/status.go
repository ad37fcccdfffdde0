package login

import "fmt"

// Status classes of a Login Response (RFC 7143 section 11.13.5).
const (
	ClassSuccess        = 0
	ClassRedirection    = 1
	ClassInitiatorError = 2
	ClassTargetError    = 3
)

// Details of the classes; each is class<<8 | detail.
const (
	StatusSuccess            = 0x0000
	StatusMovedTemporarily   = 0x0101
	StatusMovedPermanently   = 0x0102
	StatusInitiatorError     = 0x0200
	StatusAuthFailure        = 0x0201
	StatusNotAuthorized      = 0x0202
	StatusNotFound           = 0x0203
	StatusRemoved            = 0x0204
	StatusVersion            = 0x0205
	StatusTooManyConnections = 0x0206
	StatusMissingParameter   = 0x0207
	StatusCannotInclude      = 0x0208
	StatusSessionType        = 0x0209
	StatusNoSession          = 0x020a
	StatusInvalidDuringLogin = 0x020b
	StatusTargetError        = 0x0300
	StatusUnavailable        = 0x0301
	StatusOutOfResources     = 0x0302
)

// A StatusError is a Login Response that refuses the login.
type StatusError struct{ Class, Detail uint8 }

// Status builds a StatusError from one of the Status constants.
func Status(code uint16) *StatusError {
	return &StatusError{Class: uint8(code >> 8), Detail: uint8(code)}
}

// Code is class and detail in one number, as in the Status constants.
func (e *StatusError) Code() uint16 { return uint16(e.Class)<<8 | uint16(e.Detail) }

// statuses tells for each code what it means, whether it passes by itself, and
// what a user can do.
var statuses = []struct {
	code      uint16
	permanent bool
	text      string
	remedy    string
}{
	{StatusMovedTemporarily, false, "the target has moved temporarily", ""},
	{StatusMovedPermanently, false, "the target has moved permanently", ""},
	{StatusInitiatorError, true,
		"the target found an error in our login",
		"the target's log says which key or field it refused"},
	{StatusAuthFailure, true,
		"authentication failed",
		"check the CHAP user and secret, and that the target expects CHAP for this initiator name"},
	{StatusNotAuthorized, true,
		"this initiator is not allowed to use the target",
		"add this initiator's name to the access list of the target"},
	{StatusNotFound, true,
		"there is no such target at this portal",
		"check the target name (braid discover lists the names); " +
			"some targets answer this also when the initiator's name is not on their access list"},
	{StatusRemoved, true,
		"the target was removed and no forwarding address is known",
		"ask whoever runs the target for its new name or address"},
	{StatusVersion, true,
		"the target does not support iSCSI version 0",
		"the target is too new or is not an iSCSI target"},
	{StatusTooManyConnections, false,
		"too many connections in this session",
		"the target accepts fewer connections for each session: raise its MaxConnections"},
	{StatusMissingParameter, true,
		"the target misses a parameter in our login",
		"the target's log says which key it misses"},
	{StatusCannotInclude, true,
		"the target cannot include this connection in the session",
		"the portals of one session must belong to one portal group: use one session for each portal"},
	{StatusSessionType, true,
		"the target does not support this type of session",
		"this portal may offer discovery only, or none at all"},
	{StatusNoSession, false,
		"the session does not exist at the target", ""},
	{StatusInvalidDuringLogin, true,
		"the target found a request that is not valid during login",
		"the target's log says which request it refused"},
	// Of the whole class 3 the RFC says that the same request may be tried
	// again later. tgt answers 0300 while it is being set up.
	{StatusTargetError, false,
		"the target has a hardware or software error",
		"look at the target's log"},
	{StatusUnavailable, false,
		"the target or its service is not available now", ""},
	{StatusOutOfResources, false,
		"the target is out of resources",
		"the target may have too many sessions: end some, or wait"},
}

func (e *StatusError) Error() string {
	for _, s := range statuses {
		if s.code == e.Code() {
			return fmt.Sprintf("login refused: %s (status %04x)", s.text, e.Code())
		}
	}
	who := "an unknown status class"
	switch e.Class {
	case ClassRedirection:
		who = "a redirection of an unknown kind"
	case ClassInitiatorError:
		who = "an unknown error of the initiator"
	case ClassTargetError:
		who = "an unknown error of the target"
	}
	return fmt.Sprintf("login refused: %s (status %04x)", who, e.Code())
}

// Permanent reports whether the same login would be refused again. What passes
// by itself: too many connections, a session that does not exist, a service
// that is unavailable, lack of resources, and redirections.
func (e *StatusError) Permanent() bool {
	for _, s := range statuses {
		if s.code == e.Code() {
			return s.permanent
		}
	}
	return e.Class == ClassInitiatorError
}

// Remedy says what a user can do about it; it may be empty.
func (e *StatusError) Remedy() string {
	for _, s := range statuses {
		if s.code == e.Code() {
			return s.remedy
		}
	}
	return ""
}
