package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config is what one device is run with. Its keys are the flags of `braid up`,
// with underscores, and a few that only a file has.
type Config struct {
	Name         Name
	URLs         URLs
	NBD          Exports
	NBDSockets   int
	Control      SocketPath
	Barrier      Barrier
	PathSelector PathSelector
	NoPath       NoPath
	Failback     Failback
	Fence        Fence
	FenceSettle  Duration
	FenceMargin  Duration
	Retain       Size
	Coherent     bool
	Shared       bool
	TrustWCE     bool
	ReadOnly     bool

	SanPathErrThreshold    int
	SanPathErrForgetRate   Duration
	SanPathErrRecoveryTime Duration

	ErrorRecoveryLevel   int
	HeaderDigest         Digest
	DataDigest           Digest
	CHAPUser             string
	CHAPSecretFile       string
	MutualCHAPUser       string
	MutualCHAPSecretFile string
	InitiatorName        InitiatorName
	NopInterval          Duration
	NopTimeout           Duration
	LoginTimeout         Duration
	StartTimeout         Duration
	LogLevel             LogLevel
	LogFormat            LogFormat
}

// Defaults is what holds where neither a file nor a flag says otherwise.
func Defaults() Config {
	return Config{
		NBDSockets:   1,
		Barrier:      "drain",
		PathSelector: "service-time",
		NoPath:       Queue,
		Fence:        "auto",
		FenceSettle:  Duration(time.Second),
		FenceMargin:  Duration(5 * time.Second),
		Retain:       256 << 20,
		Coherent:     true,

		SanPathErrThreshold:    3,
		SanPathErrForgetRate:   Duration(time.Minute),
		SanPathErrRecoveryTime: Duration(30 * time.Second),

		ErrorRecoveryLevel: 2,
		NopInterval:        Duration(5 * time.Second),
		NopTimeout:         Duration(5 * time.Second),
		LoginTimeout:       Duration(15 * time.Second),
		StartTimeout:       Duration(30 * time.Second),
		LogLevel:           "info",
		LogFormat:          "console",
	}
}

// A ConfigError is a mistake in a configuration: where it is and what it is.
type ConfigError struct {
	File string // empty for a flag
	Line int    // 0 where the whole file is meant
	Key  string // the key, or the flag with its dashes
	Err  error
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Parse reads a configuration file strictly: an unknown key is an error, and
// every error is a *ConfigError. file is only what errors call it by. What the
// values mean together is for Check to say, after flags were laid over them.
func Parse(file string, doc []byte) (Config, error) {
	values := make(map[string]any)
	if err := toml.Unmarshal(doc, &values); err != nil {
		return Config{}, syntaxError(file, doc, err)
	}
	c := Defaults()
	for _, o := range options(&c) {
		v, ok := values[o.key]
		if !ok {
			continue
		}
		delete(values, o.key)
		if text, err := assignValue(o, v); err != nil {
			return Config{}, &ConfigError{file, lineOf(doc, o.key, text), o.key, err}
		}
	}
	var first *ConfigError
	for key := range values {
		line := lineOf(doc, key, "")
		if first == nil || line < first.Line || line == first.Line && key < first.Key {
			first = &ConfigError{file, line, key, unknownKey(key)}
		}
	}
	if first != nil {
		return Config{}, first
	}
	return c, nil
}

func syntaxError(file string, doc []byte, err error) error {
	var located *toml.DecodeError
	if !errors.As(err, &located) {
		return &ConfigError{file, 0, "", err}
	}
	line, _ := located.Position()
	text := strings.TrimPrefix(located.Error(), "toml: ")
	return &ConfigError{file, line, keyAt(doc, line), errors.New(text)}
}

// assignValue sets an option from a TOML value. With an error comes the text
// that it is about, where a list may hold several.
func assignValue(o option, v any) (string, error) {
	switch v := v.(type) {
	case string:
		if _, isInt := o.value.(*int); isInt {
			return "", fmt.Errorf("%q is a text: write a number, without quotes", v)
		}
		if _, isBool := o.value.(*bool); isBool {
			return "", fmt.Errorf("%q is a text: write true or false, without quotes", v)
		}
		return "", assign(o.value, v)
	case int64:
		text := strconv.FormatInt(v, 10)
		switch o.value.(type) {
		case *int, *Size, *Failback:
			return "", assign(o.value, text)
		case *Duration, *NoPath:
			if v == 0 {
				return "", assign(o.value, text)
			}
			return "", fmt.Errorf("%d has no unit: write it like \"%ds\"", v, v)
		}
	case bool:
		if p, ok := o.value.(*bool); ok {
			*p = v
			return "", nil
		}
	case []any:
		return assignList(o, v)
	}
	return "", fmt.Errorf("%v is not what belongs here", v)
}

func assignList(o option, list []any) (string, error) {
	switch o.value.(type) {
	case *URLs, *Exports:
	default:
		return "", errors.New("one value belongs here, not a list")
	}
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("%v is not a text in quotes", v)
		}
		if err := assign(o.value, text); err != nil {
			return text, err
		}
	}
	return "", nil
}

func unknownKey(key string) error {
	var keys []string
	for _, o := range options(&Config{}) {
		keys = append(keys, o.key)
	}
	if near := nearest(strings.ReplaceAll(key, "-", "_"), keys); near != "" {
		return fmt.Errorf("unknown key; did you mean %q?", near)
	}
	return errors.New("unknown key; `braid up --help` lists them, with underscores here")
}

var keyLine = regexp.MustCompile(`^\s*(?:"?([A-Za-z0-9_-]+)"?\s*[=.]|\[+\s*([A-Za-z0-9_-]+))`)

// keyAt gives the key that the value on a line belongs to.
func keyAt(doc []byte, line int) string {
	lines := bytes.Split(doc, []byte("\n"))
	for i := min(line, len(lines)) - 1; i >= 0; i-- {
		if m := keyLine.FindSubmatch(lines[i]); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// lineOf gives the line that a key stands on, 0 if it is not in the document.
// With a text it is the first line from there on that holds the text.
func lineOf(doc []byte, key, text string) int {
	found := 0
	for i, l := range bytes.Split(doc, []byte("\n")) {
		if found == 0 {
			m := keyLine.FindSubmatch(l)
			if m == nil || string(m[1]) != key && string(m[2]) != key {
				continue
			}
			found = i + 1
		}
		if bytes.Contains(l, []byte(text)) {
			return i + 1
		}
	}
	return found
}
