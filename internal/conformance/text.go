package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Pair is one key with its value.
type Pair struct{ Key, Value string }

// pairs takes a text apart, RFC 7143 section 6.1.
func pairs(text []byte) (list []Pair, bad []string) {
	if len(text) == 0 {
		return nil, nil
	}
	if text[len(text)-1] != 0 {
		bad = append(bad, "6.1: the text does not end with a zero byte")
	}
	for _, s := range strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		key, value, ok := strings.Cut(s, "=")
		switch {
		case !ok:
			bad = append(bad, fmt.Sprintf("6.1: %q is no key=value", s))
			continue
		case !keyName.MatchString(key):
			bad = append(bad, fmt.Sprintf("6.1: %q is no name of a key", key))
		case !textValue.MatchString(value):
			bad = append(bad, fmt.Sprintf("6.1: %s has the value %q", key, value))
		}
		list = append(list, Pair{key, value})
	}
	return list, bad
}

var (
	// A standard-label, or one of the extensions X- and X# (sections 13.22 and 13.26).
	keyName = regexp.MustCompile(`^(X#)?[A-Za-z][A-Za-z0-9.\-+@_]{0,62}$`)
	// A text-value may hold what iscsi-local-name-value and lists may; 255
	// bytes at most unless the key says otherwise, and encoded binary may be
	// longer.
	textValue = regexp.MustCompile(`^([A-Za-z0-9.\-+@_/\[\]:,~ ]{0,255}|` +
		`0[xX][0-9a-fA-F]+|0[bB][A-Za-z0-9+/]+=*)$`)
)

// A keyRule is what RFC 7143 section 13 says of a key that an initiator may offer
// or declare.
type keyRule struct {
	kind     keyKind
	min, max int    // of numbers
	alone    bool   // on the leading connection only: LO
	values   string // of lists: those known, with commas around each
	result   func(a, b int) int
}

type keyKind uint8

const (
	text     keyKind = iota
	boolean          // Yes or No
	number           // decimal or hexadecimal
	list             // of values
	declared         // a number, not negotiated
)

const yes, no = 1, 0

func smaller(a, b int) int { return min(a, b) }
func larger(a, b int) int  { return max(a, b) }

var keyRules = map[string]keyRule{
	"HeaderDigest":             {kind: list, values: ",CRC32C,None,"},
	"DataDigest":               {kind: list, values: ",CRC32C,None,"},
	"MaxConnections":           {kind: number, min: 1, max: 65535, alone: true, result: smaller},
	"SendTargets":              {kind: text},
	"TargetName":               {kind: text},
	"InitiatorName":            {kind: text},
	"InitiatorAlias":           {kind: text},
	"SessionType":              {kind: list, values: ",Normal,Discovery,", alone: true},
	"InitialR2T":               {kind: boolean, alone: true, result: larger},
	"ImmediateData":            {kind: boolean, alone: true, result: smaller},
	"MaxRecvDataSegmentLength": {kind: declared, min: 512, max: 1<<24 - 1},
	"MaxBurstLength":           {kind: number, min: 512, max: 1<<24 - 1, alone: true, result: smaller},
	"FirstBurstLength":         {kind: number, min: 512, max: 1<<24 - 1, alone: true, result: smaller},
	"DefaultTime2Wait":         {kind: number, max: 3600, alone: true, result: larger},
	"DefaultTime2Retain":       {kind: number, max: 3600, alone: true, result: smaller},
	"MaxOutstandingR2T":        {kind: number, min: 1, max: 65535, alone: true, result: smaller},
	"DataPDUInOrder":           {kind: boolean, alone: true, result: larger},
	"DataSequenceInOrder":      {kind: boolean, alone: true, result: larger},
	"ErrorRecoveryLevel":       {kind: number, max: 2, alone: true, result: smaller},
	"TaskReporting": {kind: list, alone: true,
		values: ",RFC3720,ResponseFence,FastAbort,"},
	"iSCSIProtocolLevel": {kind: number, max: 31, alone: true, result: smaller},
	"AuthMethod":         {kind: list, values: ",CHAP,None,KRB5,SRP,"},
	"CHAP_A":             {kind: text}, "CHAP_I": {kind: text}, "CHAP_C": {kind: text},
	"CHAP_N": {kind: text}, "CHAP_R": {kind: text},
}

// valueOf reads the value of a key as a number; lists and text are -1.
func valueOf(key, value string) (n int, bad string) {
	r, known := keyRules[key]
	if !known {
		return -1, ""
	}
	switch r.kind {
	case boolean:
		switch value {
		case "Yes":
			return yes, ""
		case "No":
			return no, ""
		}
		return -1, fmt.Sprintf("6.1: %s=%s is neither Yes nor No", key, value)
	case number, declared:
		v, err := strconv.ParseUint(value, 0, 32)
		if err != nil || strings.HasPrefix(value, "0b") || strings.Contains(value, "_") {
			return -1, fmt.Sprintf("6.1: %s=%s is no number", key, value)
		}
		if int(v) < r.min || int(v) > r.max {
			return -1, fmt.Sprintf("13: %s=%s is not between %d and %d", key, value, r.min, r.max)
		}
		return int(v), ""
	case list:
		for _, v := range strings.Split(value, ",") {
			if !strings.Contains(r.values, ","+v+",") {
				return -1, fmt.Sprintf("13: %s=%s: no such value", key, value)
			}
		}
	}
	return -1, ""
}

// anAnswer says whether a value is one of those that answer any key.
func anAnswer(value string) bool {
	return value == "NotUnderstood" || value == "Irrelevant" || value == "Reject"
}

// Text joins key=value strings as they go on the wire.
func Text(keys ...string) []byte {
	var b []byte
	for _, k := range keys {
		b = append(append(b, k...), 0)
	}
	return b
}
