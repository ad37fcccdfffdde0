package login

import (
	"bytes"
	"fmt"
)

// DigestChoice says what a side wants for one of the two digests.
type DigestChoice uint8

// DigestBoth takes either and prefers none; the other two demand.
const (
	DigestBoth DigestChoice = iota
	DigestNone
	DigestCRC32C
)

func (d DigestChoice) String() string {
	switch d {
	case DigestNone:
		return "none"
	case DigestCRC32C:
		return "crc32c"
	}
	return "both"
}

// values is the choice as the list of values of the key, the preferred first.
func (d DigestChoice) values() []string {
	switch d {
	case DigestNone:
		return []string{"None"}
	case DigestCRC32C:
		return []string{"CRC32C"}
	}
	return []string{"None", "CRC32C"}
}

// Auth holds the credentials of an initiator. With an empty User no
// authentication is offered.
type Auth struct {
	User   string
	Secret []byte

	// With a MutualSecret the target must prove that it knows it, under the
	// name MutualUser, or under any name if that is empty.
	MutualUser   string
	MutualSecret []byte

	// Algorithms are the CHAP algorithms on offer, the preferred first; nil
	// offers all, the strongest first.
	Algorithms []Algorithm
	// AllowNone offers "CHAP,None" instead of CHAP alone. It suits discovery
	// at targets that authenticate normal sessions only. It is refused
	// together with a MutualSecret, which a target could then evade.
	AllowNone bool
}

// String tells nothing of the secrets, so that a configuration can be printed.
func (a Auth) String() string {
	switch {
	case a.User == "":
		return "none"
	case len(a.MutualSecret) > 0:
		return "mutual CHAP as " + quote(a.User)
	}
	return "CHAP as " + quote(a.User)
}

// GoString is String.
func (a Auth) GoString() string { return a.String() }

// Offer is what an initiator brings to a login.
type Offer struct {
	InitiatorName, InitiatorAlias string
	TargetName                    string // not needed for discovery
	Discovery                     bool
	Auth                          Auth

	Wishes
}

// DefaultOffer is a normal session of one connection without authentication.
// Names are for the caller to fill in.
func DefaultOffer() Offer {
	return Offer{Wishes: Wishes{
		MaxConnections:           1,
		MaxRecvDataSegmentLength: 256 << 10,
		MaxBurstLength:           1 << 20,
		FirstBurstLength:         256 << 10,
		DefaultTime2Wait:         0,
		DefaultTime2Retain:       20,
		MaxOutstandingR2T:        8,
		ErrorRecoveryLevel:       2,
		ImmediateData:            true,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
	}}
}

// Validate reports the first thing in the offer that RFC 7143 does not allow.
func (o Offer) Validate() error {
	if err := ValidName(o.InitiatorName); err != nil {
		return fmt.Errorf("initiator name: %w", err)
	}
	if !o.Discovery || o.TargetName != "" {
		if err := ValidName(o.TargetName); err != nil {
			return fmt.Errorf("target name: %w", err)
		}
	}
	if len(o.InitiatorAlias) > 255 || !printable(o.InitiatorAlias) {
		return fmt.Errorf("initiator alias: not printable, or longer than 255 bytes")
	}
	for id := range keyID(numKeys) {
		n, ok := o.number(id)
		if k := &keys[id]; ok && (n < k.min || n > k.max) {
			return fmt.Errorf("%s: %d is not between %d and %d", k.name, n, k.min, k.max)
		}
	}
	if o.FirstBurstLength > o.MaxBurstLength {
		return fmt.Errorf("FirstBurstLength %d is greater than MaxBurstLength %d",
			o.FirstBurstLength, o.MaxBurstLength)
	}
	return o.Auth.Validate()
}

// Validate reports the first thing in the credentials that cannot work.
func (a Auth) Validate() error {
	switch {
	case a.User == "" && (len(a.Secret) > 0 || len(a.MutualSecret) > 0 || a.MutualUser != ""):
		return fmt.Errorf("CHAP: a secret without a user name")
	case a.User == "":
		return nil
	case len(a.User) > maxUser || !printable(a.User):
		return fmt.Errorf("CHAP: user name is not printable, or longer than %d bytes", maxUser)
	case len(a.Secret) == 0:
		return fmt.Errorf("CHAP: no secret for user %s", quote(a.User))
	case a.MutualUser != "" && len(a.MutualSecret) == 0:
		return fmt.Errorf("CHAP: no secret for the target's user %s", quote(a.MutualUser))
	case bytes.Equal(a.Secret, a.MutualSecret):
		// RFC 7143 section 12.1.3. With one secret for both directions
		// whoever is challenged could have the challenger answer.
		return fmt.Errorf("CHAP: both directions have the same secret")
	case a.AllowNone && len(a.MutualSecret) > 0:
		return fmt.Errorf("CHAP: the target must prove itself, so None cannot be allowed")
	}
	for _, alg := range a.Algorithms {
		if !alg.known() {
			return fmt.Errorf("CHAP: unknown algorithm %d", alg)
		}
	}
	return nil
}

// Warnings lists what works but is weaker than RFC 7143 section 12.1.3 asks
// for. It names no secret.
func (a Auth) Warnings() []string {
	var w []string
	warn := func(which string, secret []byte) {
		if n := len(secret); n > 0 && n < minSecret {
			w = append(w, fmt.Sprintf("the %s has %d bytes; RFC 7143 asks for %d to 16 or more",
				which, n, minSecret))
		}
	}
	warn("CHAP secret", a.Secret)
	warn("mutual CHAP secret", a.MutualSecret)
	return w
}
