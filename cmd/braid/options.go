package main

import (
	"encoding"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// An option is one setting: a key of the file and, with dashes, a flag.
type option struct {
	key      string
	value    any    // points into the Config
	kind     string // what help calls the value
	usage    string
	fileOnly bool
}

func (o option) flag() string { return strings.ReplaceAll(o.key, "_", "-") }

// options lists every setting of c, in the order of the help text.
func options(c *Config) []option {
	return []option{
		{"urls", &c.URLs, "URL", "", true},
		{"name", &c.Name, "NAME", "the device's name, where URLs are given", false},
		{"nbd", &c.NBD, "WHERE",
			"where to serve it: /dev/nbdN, auto, unix:PATH or tcp:HOST:PORT; repeatable (default auto)",
			false},
		{"nbd_sockets", &c.NBDSockets, "N", "sockets between the kernel's device and the daemon", false},
		{"control", &c.Control, "unix:PATH", "control socket (default /run/braid/NAME.sock)", false},
		{"barrier", &c.Barrier, "MODE", "drain, hold or epoch: what new writes do during a flush", false},
		{"path_selector", &c.PathSelector, "NAME", "service-time, queue-length or round-robin", false},
		{"no_path", &c.NoPath, "POLICY", "queue, fail or how long I/O waits for a path", false},
		{"failback", &c.Failback, "POLICY",
			"immediate, manual or SECONDS: when a better group of paths takes over again", false},
		{"san_path_err_threshold", &c.SanPathErrThreshold, "", "", true},
		{"san_path_err_forget_rate", &c.SanPathErrForgetRate, "", "", true},
		{"san_path_err_recovery_time", &c.SanPathErrRecoveryTime, "", "", true},
		{"fence", &c.Fence, "KIND",
			"auto, reinstate, reserve, reset, wait or none: what makes a lost session harmless", false},
		{"fence_settle", &c.FenceSettle, "", "", true},
		{"fence_margin", &c.FenceMargin, "", "", true},
		{"retain", &c.Retain, "SIZE", "most copies of unflushed writes to keep; 0 keeps none", false},
		{"coherent", &c.Coherent, "", "", true},
		{"shared", &c.Shared, "", "", true},
		{"trust_wce", &c.TrustWCE, "", "", true},
		{"read_only", &c.ReadOnly, "", "serve it read-only", false},
		{"error_recovery_level", &c.ErrorRecoveryLevel, "0|1|2",
			"the highest level to offer; the target may answer lower", false},
		{"header_digest", &c.HeaderDigest, "KIND", "demand none or crc32c (default: offer both)", false},
		{"data_digest", &c.DataDigest, "KIND", "demand none or crc32c (default: offer both)", false},
		{"chap_user", &c.CHAPUser, "USER", "CHAP user; user@ in a URL is the same", false},
		{"chap_secret_file", &c.CHAPSecretFile, "FILE", "file that holds the CHAP secret", false},
		{"mutual_chap_user", &c.MutualCHAPUser, "USER", "user that the target must prove to be", false},
		{"mutual_chap_secret_file", &c.MutualCHAPSecretFile, "FILE",
			"file that holds the target's secret", false},
		{"initiator_name", &c.InitiatorName, "IQN",
			"default: /etc/iscsi/initiatorname.iscsi, else one that is made once and kept", false},
		{"nop_interval", &c.NopInterval, "DURATION", "idle time before a connection is probed", false},
		{"nop_timeout", &c.NopTimeout, "DURATION", "how long the answer to a probe may take", false},
		{"login_timeout", &c.LoginTimeout, "DURATION", "how long connecting and login may take", false},
		{"start_timeout", &c.StartTimeout, "DURATION",
			"how long an unreachable target is tried at start; 0 for ever", false},
		{"log_level", &c.LogLevel, "LEVEL", "debug, info, warn or error", false},
		{"log_format", &c.LogFormat, "FORMAT", "console or json", false},
	}
}

// Flags are the settings of a command line, as they were written. They are laid
// over a file's with Apply.
type Flags struct {
	given map[string]*recorded
}

// recorded is a pflag.Value that keeps every text it is given.
type recorded struct {
	kind  string
	shown string // the default, for the help text
	bool  bool
	texts []string
}

func (r *recorded) Set(s string) error { r.texts = append(r.texts, s); return nil }
func (r *recorded) String() string     { return r.shown }
func (r *recorded) Type() string       { return r.kind }
func (r *recorded) IsBoolFlag() bool   { return r.bool }

// NewFlags defines the flags of `braid up` in fs, or only those of some keys.
func NewFlags(fs *pflag.FlagSet, only ...string) *Flags {
	f := &Flags{given: make(map[string]*recorded)}
	c := Defaults()
	for _, o := range options(&c) {
		if o.fileOnly || len(only) > 0 && !slices.Contains(only, o.key) {
			continue
		}
		r := &recorded{kind: o.kind, shown: show(o.value)}
		f.given[o.key] = r
		added := fs.VarPF(r, o.flag(), "", o.usage)
		if _, isBool := o.value.(*bool); isBool {
			r.bool, r.kind = true, "bool"
			added.NoOptDefVal = "true"
		}
	}
	return f
}

// Apply lays what was given on the command line over c.
func (f *Flags) Apply(c *Config) error {
	for _, o := range options(c) {
		r := f.given[o.key]
		if r == nil || len(r.texts) == 0 {
			continue
		}
		if list, ok := o.value.(*Exports); ok {
			*list = nil
		}
		for _, text := range r.texts {
			if err := assign(o.value, text); err != nil {
				return &ConfigError{Key: "--" + o.flag(), Err: err}
			}
		}
	}
	return nil
}

// assign sets the setting that p points to from a text.
func assign(p any, text string) error {
	switch p := p.(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = v
	case *int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = v
	case *string:
		if text == "" {
			return errEmpty
		}
		*p = text
	default:
		panic(fmt.Sprintf("braid: a setting of type %T", p))
	}
	return nil
}

// show writes a setting's value for the help text; nothing for an empty one.
func show(p any) string {
	switch p := p.(type) {
	case *bool:
		return ""
	case *int:
		return strconv.Itoa(*p)
	case fmt.Stringer:
		return p.String()
	case *Barrier:
		return string(*p)
	case *PathSelector:
		return string(*p)
	case *Fence:
		return string(*p)
	case *LogLevel:
		return string(*p)
	case *LogFormat:
		return string(*p)
	}
	return ""
}
