package login

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, s := range []string{
		"iqn.2001-04.com.example",
		"iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
		"iqn.1993-08.org.debian:01:36337c672699",
		"iqn.2003-01.org.linux-iscsi.host.x8664:sn.0123",
		"iqn.2001-04.com.example:my_disk",
		"iqn.2010-10.org.openstack:volume-ABC",
		"eui.02004567A425678D",
		"naa.52004567BA64678D",
		"naa.62004567BA64678D0123456789ABCDEF",
		"iqn.2001-04.com.example:\u00e4",
		"iqn.2001-04.c:" + strings.Repeat("x", 223-14),
	} {
		if err := ValidName(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "disk", "iqn", "iqn.", "iqn.2001-04", "iqn.2001-04.", "iqn.2001-04.:x",
		"iqn.2001-13.com.example", "iqn.2001-00.com.example", "iqn.201-04.com.example",
		"iqn.2001-04.com.example disk", "iqn.2001-04.com.example\x00x",
		"iqn.2001-04.com.example\nX=1", "iqn.2001-04.com.example:a=b", "iqn.2001-04.com,example",
		"iqn.2001-+4.com.example", "eui.0200", "eui.02004567A425678G", "naa.5200", "nqn.2014-08.org",
		"iqn.2001-04.com.example:\xff", "iqn.2001-04.c:" + strings.Repeat("x", 224-14),
	} {
		if ValidName(s) == nil {
			t.Errorf("%q is a name", s)
		}
	}
}

func TestParseTargetAddress(t *testing.T) {
	for in, want := range map[string]struct {
		address string
		tag     int
	}{
		"192.0.2.1":                {"192.0.2.1:3260", -1},
		"192.0.2.1:3261":           {"192.0.2.1:3261", -1},
		"192.0.2.1:3261,1":         {"192.0.2.1:3261", 1},
		"192.0.2.1,65535":          {"192.0.2.1:3260", 65535},
		"disk.example.com:860,0x2": {"disk.example.com:860", 2},
		"[2001:db8::1],3":          {"[2001:db8::1]:3260", 3},
		"[2001:db8::1]:3262,3":     {"[2001:db8::1]:3262", 3},
		"2001:db8::1,3":            {"[2001:db8::1]:3260", 3},
	} {
		a, tag, err := ParseTargetAddress(in)
		if err != nil || a != want.address || tag != want.tag {
			t.Errorf("%s: %s, %d, %v", in, a, tag, err)
		}
	}
	for _, s := range []string{
		"", ",1", ":3260", "host:", "host:0", "host:65536", "host:+1", "host:x", "host,65536",
		"host,", "host,-1", "[::1", "[::1]3260", "[host]:1", "::1::2:3", "a b", "a/b", "u@h",
		"host\x1b[0m", strings.Repeat("h", 300),
	} {
		if a, _, err := ParseTargetAddress(s); err == nil {
			t.Errorf("%q was read as %s", s, a)
		}
	}
}
