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

	HeaderDigest, DataDigest DigestChoice

	MaxConnections                       int
	MaxRecvDataSegmentLength             int // bytes
	MaxBurstLength, FirstBurstLength     int // bytes
	DefaultTime2Wait, DefaultTime2Retain int // seconds
	MaxOutstandingR2T                    int
	ErrorRecoveryLevel                   int

	InitialR2T, ImmediateData           bool
	DataPDUInOrder, DataSequenceInOrder bool
}

// DefaultTargetConfig takes what DefaultOffer offers, and up to 8 connections.
// It has no target name yet.
func DefaultTargetConfig() TargetConfig {
	o := DefaultOffer()
	return TargetConfig{
		PortalGroup:              1,
		MaxConnections:           8,
		MaxRecvDataSegmentLength: o.MaxRecvDataSegmentLength,
		MaxBurstLength:           o.MaxBurstLength,
		FirstBurstLength:         o.FirstBurstLength,
		DefaultTime2Wait:         o.DefaultTime2Wait,
		DefaultTime2Retain:       o.DefaultTime2Retain,
		MaxOutstandingR2T:        o.MaxOutstandingR2T,
		ErrorRecoveryLevel:       o.ErrorRecoveryLevel,
		ImmediateData:            o.ImmediateData,
		DataPDUInOrder:           o.DataPDUInOrder,
		DataSequenceInOrder:      o.DataSequenceInOrder,
	}
}

// number is the wanted value of a numeric or boolean key, as for an Offer.
func (c *TargetConfig) number(id keyID) (n int, ok bool) {
	o := Offer{
		MaxConnections:           c.MaxConnections,
		MaxRecvDataSegmentLength: c.MaxRecvDataSegmentLength,
		MaxBurstLength:           c.MaxBurstLength,
		FirstBurstLength:         c.FirstBurstLength,
		DefaultTime2Wait:         c.DefaultTime2Wait,
		DefaultTime2Retain:       c.DefaultTime2Retain,
		MaxOutstandingR2T:        c.MaxOutstandingR2T,
		ErrorRecoveryLevel:       c.ErrorRecoveryLevel,
		InitialR2T:               c.InitialR2T,
		ImmediateData:            c.ImmediateData,
		DataPDUInOrder:           c.DataPDUInOrder,
		DataSequenceInOrder:      c.DataSequenceInOrder,
	}
	return o.number(id)
}

// algorithms is what the target takes.
func (c *TargetConfig) algorithms() []Algorithm {
	if len(c.Algorithms) == 0 {
		return allAlgorithms
	}
	return c.Algorithms
}
