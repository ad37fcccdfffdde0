package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseTargetPortal(t *testing.T) {
	for _, tt := range []struct {
		in, address string
		group       int
		err         string
	}{
		{"127.0.0.1:3260", "127.0.0.1:3260", 1, ""},
		{"[::1]:0,2", "[::1]:0", 2, ""},
		{"127.0.0.1", "", 0, "write it like"},
		{"h:70000", "", 0, "not a number up to 65535"},
		{"h:1,x", "", 0, `group "x"`},
	} {
		p, err := parseTargetPortal(tt.in)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) ||
			err == nil && (p.Address != tt.address || p.Group != tt.group) {
			t.Errorf("%q gave %+v, %v", tt.in, p, err)
		}
	}
}

func TestTargetUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--lun 1=rom:5", `--lun 1=rom:5: "rom" is neither ram nor file`},
		{"--lun ram:5", "write it like 1=ram:1GiB"},
		{"--lun x=ram:1GiB", `LUN "x"`},
		{"--lun 1=ram:lots", `"lots" is not a size`},
		{"--lun 1=file:/no/such/file", "no such file"},
		{"--portal here", `--portal: "here": write it like`},
		{"--write-cache yes", `--write-cache: "yes" is none of none, lun, nexus`},
		{"--error-recovery-level 3", "--error-recovery-level: 3 is none of 0, 1, 2"},
		{"--name disk", `--name: name "disk" does not begin`},
		{"--faults /no/such/file", "--faults: stat /no/such/file"},
		{"--chap-user joe", `--chap-secret-file: the secret of CHAP user "joe" is missing`},
		{"--chap-secret-file /no/such/file", "--chap-secret-file: a secret without a user"},
		{"--mutual-chap-user joe", "--mutual-chap-secret-file: mutual_chap_user and"},
		{"now", "braid target takes no arguments"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"target"}, strings.Fields(tt.args)...)
		if code := run(args, &out, &errs); code != exitUsage ||
			!strings.Contains(errs.String(), tt.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("braid target %s: exit %d, %swant %s", tt.args, code, errs.String(), tt.want)
		}
	}
}

// Commands that only log in check what they are given as `braid up` does.
func TestLoginUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"discover 127.0.0.1:1 --login-timeout 0", "--login-timeout: 0s is too short"},
		{"discover joe@127.0.0.1:1", `--chap-secret-file: the secret of CHAP user "joe" is missing`},
		{"inquire iscsi://127.0.0.1:1/iqn.2026-01.net.example:t/1 --mutual-chap-user joe",
			"--mutual-chap-secret-file: mutual_chap_user and"},
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(tt.args), &out, &errs); code != exitUsage ||
			!strings.Contains(errs.String(), tt.want) {
			t.Errorf("braid %s: exit %d, %swant %s", tt.args, code, errs.String(), tt.want)
		}
	}
}
