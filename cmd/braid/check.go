package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	maxURLs    = 32               // sessions of one device
	maxExports = 16               // sockets of one device
	maxFlaps   = 100              // losses of a path that are counted
	maxRetain  = 64 << 30         // copies are kept in memory
	minPeriod  = time.Millisecond // shorter is a number without its unit
	maxPeriod  = 24 * time.Hour   // longer is a slip
)

// A rule is one thing that a configuration must keep to. It returns nil or
// what is wrong.
type rule struct {
	key   string
	check func(c *Config) error
}

// Check says whether the settings make sense together and can be done by this
// version. The error names the key; where that stands is for the caller to add.
func (c *Config) Check() *ConfigError {
	for _, r := range rules {
		if err := r.check(c); err != nil {
			return &ConfigError{Key: r.key, Err: err}
		}
	}
	return nil
}

// checkFlags is Check for a command that has only some of the settings, as flags.
func (c *Config) checkFlags(keys []string) error {
	for _, r := range rules {
		if !slices.Contains(keys, r.key) {
			continue
		}
		if err := r.check(c); err != nil {
			return &ConfigError{Key: "--" + option{key: r.key}.flag(), Err: err}
		}
	}
	return nil
}

var rules = []rule{
	{"urls", checkURLs},
	{"nbd", checkExports},
	{"nbd_sockets", func(c *Config) error {
		if c.NBDSockets < 1 || c.NBDSockets > maxKernelSockets {
			return fmt.Errorf("%d is none of 1 to %d", c.NBDSockets, maxKernelSockets)
		}
		return nil
	}},
	{"fence_settle", period(func(c *Config) Duration { return c.FenceSettle }, 0)},
	{"fence_margin", period(func(c *Config) Duration { return c.FenceMargin }, 0)},
	{"retain", func(c *Config) error {
		if c.Retain < 0 || c.Retain > maxRetain {
			return fmt.Errorf("%d is not a size from 0 to %v", c.Retain, Size(maxRetain))
		}
		return nil
	}},
	{"error_recovery_level", func(c *Config) error {
		if c.ErrorRecoveryLevel < 0 || c.ErrorRecoveryLevel > 2 {
			return fmt.Errorf("%d is none of 0, 1, 2", c.ErrorRecoveryLevel)
		}
		return nil
	}},
	{"no_path", func(c *Config) error {
		if c.NoPath > 0 && c.NoPath < NoPath(minPeriod) {
			return fmt.Errorf("%v is too short: is the unit missing?", c.NoPath)
		}
		return nil
	}},
	{"failback", func(c *Config) error {
		if c.Failback > 0 {
			return between(Duration(c.Failback), time.Second, maxPeriod)
		}
		return nil
	}},
	{"san_path_err_threshold", func(c *Config) error {
		if n := c.SanPathErrThreshold; n < 0 || n == 1 || n > maxFlaps {
			return fmt.Errorf("%d is neither 0, for never, nor from 2 to %d", n, maxFlaps)
		}
		return nil
	}},
	{"san_path_err_forget_rate",
		period(func(c *Config) Duration { return c.SanPathErrForgetRate }, minPeriod)},
	{"san_path_err_recovery_time",
		period(func(c *Config) Duration { return c.SanPathErrRecoveryTime }, minPeriod)},
	{"nop_interval", period(func(c *Config) Duration { return c.NopInterval }, minPeriod)},
	{"nop_timeout", period(func(c *Config) Duration { return c.NopTimeout }, minPeriod)},
	{"login_timeout", period(func(c *Config) Duration { return c.LoginTimeout }, minPeriod)},
	{"start_timeout", func(c *Config) error {
		if c.StartTimeout == 0 {
			return nil
		}
		return between(c.StartTimeout, minPeriod, math.MaxInt64)
	}},
	{"chap_secret_file", checkCHAP},
	{"mutual_chap_secret_file", checkMutualCHAP},
}

func period(get func(c *Config) Duration, least time.Duration) func(c *Config) error {
	return func(c *Config) error {
		d := get(c)
		if d == 0 && least == 0 {
			return nil
		}
		return between(d, minPeriod, maxPeriod)
	}
}

func between(d Duration, least, most time.Duration) error {
	switch t := time.Duration(d); {
	case t < least:
		return fmt.Errorf("%v is too short: at least %v, written with its unit, like 5s",
			t, least)
	case t > most:
		return fmt.Errorf("%v is too long: at most %v", t, most)
	}
	return nil
}

func checkURLs(c *Config) error {
	switch n := len(c.URLs); {
	case n == 0:
		return errors.New("no URL: give at least one iscsi://HOST/TARGET-IQN/LUN")
	case n > maxURLs:
		return fmt.Errorf("%d URLs: a device has at most %d sessions", n, maxURLs)
	}
	return nil
}

func checkExports(c *Config) error {
	if len(c.NBD) > maxExports {
		return fmt.Errorf("%d places to serve it, at most %d", len(c.NBD), maxExports)
	}
	seen := make(map[Export]bool)
	kernel := ""
	for _, e := range c.NBD {
		if seen[e] {
			return fmt.Errorf("%v is there twice", e)
		}
		if e.Network == "nbd" && kernel != "" {
			return fmt.Errorf("%s and %s: one kernel device is enough, two would not know of each "+
				"other's caches", kernel, e)
		}
		if e.Network == "nbd" {
			kernel = e.Address
		}
		if string(c.Control) == e.Address {
			return fmt.Errorf("%v is the control socket as well", e)
		}
		seen[e] = true
	}
	return nil
}

func checkCHAP(c *Config) error {
	users := c.chapUsers()
	switch {
	case len(users) > 0 && c.CHAPSecretFile == "":
		return noSecret(users[0])
	case len(users) == 0 && c.CHAPSecretFile != "":
		return errors.New("a secret without a user: name chap_user, or user@ in the URL")
	case len(users) > 1:
		return fmt.Errorf("one secret for several users: %s", strings.Join(users, ", "))
	}
	return nil
}

func noSecret(user string) error {
	return fmt.Errorf("the secret of CHAP user %q is missing: name the file that holds it", user)
}

func checkMutualCHAP(c *Config) error {
	switch {
	case (c.MutualCHAPUser == "") != (c.MutualCHAPSecretFile == ""):
		return errors.New("mutual_chap_user and mutual_chap_secret_file go together")
	case c.MutualCHAPUser != "" && len(c.chapUsers()) == 0:
		return errors.New("mutual CHAP needs chap_user as well: RFC 7143 section 12.1.3")
	}
	return nil
}

// chapUsers gives every CHAP user that is named, once each. Without URLs it is the
// setting's alone.
func (c *Config) chapUsers() []string {
	var users []string
	add := func(u string) {
		if u != "" && !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	for _, u := range c.URLs {
		add(c.chapUser(u))
	}
	if len(c.URLs) == 0 {
		add(c.CHAPUser)
	}
	return users
}

// chapUser is who logs in to u; empty without CHAP.
func (c *Config) chapUser(u URL) string {
	if u.User != "" {
		return u.User
	}
	return c.CHAPUser
}

// DefaultName makes a device's name out of the target's name and the LUN.
func DefaultName(u URL) string {
	tail := u.Target[strings.LastIndexByte(u.Target, ':')+1:]
	name := strings.Map(func(r rune) rune {
		if nameRune(r) {
			return r
		}
		return '_'
	}, tail)
	name = strings.TrimLeft(name, ".-")
	if len(name) > 56 {
		name = name[len(name)-56:]
		name = strings.TrimLeft(name, ".-")
	}
	if name == "" {
		name = "lun"
	}
	return fmt.Sprintf("%s-%d", name, u.LUN)
}
