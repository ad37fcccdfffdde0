package login

import "io"

// TargetConfig is what a target brings to a login.
type TargetConfig struct {
	// Names tells whether there is a target of that name at this portal. Nil
	// means that there is none; discovery is possible all the same.
	Names func(target string) bool
	// Authorize tells whether an initiator may use a target; nil allows all.
	// It is asked when authentication has succeeded.
	Authorize func(initiator, target string) bool
	// Redirect, if not nil and ok, sends initiators elsewhere: to an address
	// HOST[:PORT], for good or only for now.
	Redirect func(target string) (address string, moved, ok bool)

	Alias       string // TargetAlias, not sent if empty
	PortalGroup int    // TargetPortalGroupTag, 0 to 65535; not sent if negative

	// Secrets gives the secret of a CHAP user. Nil means no CHAP.
	Secrets func(user string) (secret []byte, ok bool)
	// RequireCHAP refuses initiators that do not authenticate themselves.
	RequireCHAP bool
	// MutualUser and MutualSecret are what this target proves itself with.
	MutualUser   string
	MutualSecret []byte
	// Algorithms are the CHAP algorithms that are taken; nil takes all.
	Algorithms []Algorithm
	// Rand feeds identifiers and challenges. Needed for CHAP.
	Rand io.Reader

	Wishes
}

// DefaultTargetConfig takes what DefaultOffer offers, and up to 8 connections.
// It has no target name yet.
func DefaultTargetConfig() TargetConfig {
	c := TargetConfig{PortalGroup: 1, Wishes: DefaultOffer().Wishes}
	c.MaxConnections = 8
	return c
}

// algorithms is what the target takes.
func (c *TargetConfig) algorithms() []Algorithm {
	if len(c.Algorithms) == 0 {
		return allAlgorithms
	}
	return c.Algorithms
}
