package main

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// newOffer gives what a login to u offers. The secrets are read from their files.
func (c *Config) newOffer(initiator string, u URL) (login.Offer, error) {
	o := login.DefaultOffer()
	o.InitiatorName = initiator
	o.TargetName = u.Target
	o.ErrorRecoveryLevel = c.ErrorRecoveryLevel
	o.HeaderDigest = digestChoice(c.HeaderDigest)
	o.DataDigest = digestChoice(c.DataDigest)
	o.Auth.User = c.chapUser(u)
	var err error
	if o.Auth.User != "" {
		if c.CHAPSecretFile == "" { // the user of a URL that came later
			return o, &ConfigError{Key: "chap_secret_file", Err: noSecret(o.Auth.User)}
		}
		if o.Auth.Secret, err = readSecret(c.CHAPSecretFile); err != nil {
			return o, &ConfigError{Key: "chap_secret_file", Err: err}
		}
	}
	if c.MutualCHAPUser != "" {
		o.Auth.MutualUser = c.MutualCHAPUser
		if o.Auth.MutualSecret, err = readSecret(c.MutualCHAPSecretFile); err != nil {
			return o, &ConfigError{Key: "mutual_chap_secret_file", Err: err}
		}
	}
	if err := o.Auth.Validate(); err != nil {
		return o, &ConfigError{Err: err}
	}
	return o, nil
}

func digestChoice(d Digest) login.DigestChoice {
	switch d {
	case "none":
		return login.DigestNone
	case "crc32c":
		return login.DigestCRC32C
	}
	return login.DigestBoth
}

// sessionConfig gives all that a session needs to know but its ISID and LUN.
func (c *Config) sessionConfig(o login.Offer, u URL) iscsi.Config {
	return iscsi.Config{
		Offer:        o,
		Portals:      u.Portals,
		LUN:          scsi.EncodeLUN(u.LUN),
		NopInterval:  time.Duration(c.NopInterval),
		NopTimeout:   time.Duration(c.NopTimeout),
		LoginTimeout: time.Duration(c.LoginTimeout),
		Rand:         mrand.New(mrand.NewPCG(mrand.Uint64(), mrand.Uint64())),
		CHAPRand:     rand.Reader,
	}
}

// passingISID is the ISID of a session that is not a device's: it must not be
// one that a daemon uses, or it would take that daemon's session away.
func passingISID(initiator, what string) [6]byte {
	return ISID(initiator, fmt.Sprintf("%s %x", what, mrand.Uint64()), 0)
}
