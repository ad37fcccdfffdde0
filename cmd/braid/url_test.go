package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	const iqn = "iqn.2001-04.com.example:disk"
	tests := []struct {
		in   string
		want URL
		out  string // canonical form, "" if equal to in
	}{
		{"iscsi://10.0.0.1/" + iqn + "/1",
			URL{"", []string{"10.0.0.1:3260"}, iqn, 1}, ""},
		{"iscsi://10.0.0.1:3260/" + iqn + "/0",
			URL{"", []string{"10.0.0.1:3260"}, iqn, 0}, "iscsi://10.0.0.1/" + iqn + "/0"},
		{"iscsi://a.example:3261,b.example/" + iqn + "/16383",
			URL{"", []string{"a.example:3261", "b.example:3260"}, iqn, 16383}, ""},
		{"iscsi://[fe80::1]:860,[::1]/" + iqn + "/7",
			URL{"", []string{"[fe80::1]:860", "[::1]:3260"}, iqn, 7}, ""},
		{"iscsi://[fe80::1%25eth0]/" + iqn + "/7",
			URL{"", []string{"[fe80::1%eth0]:3260"}, iqn, 7}, ""},
		{"iscsi://h/" + iqn + "/a_b/1", URL{"", []string{"h:3260"}, iqn + "/a_b", 1}, ""},
		{"iscsi://joe@10.0.0.1/eui.02004567A425678D/2",
			URL{"joe", []string{"10.0.0.1:3260"}, "eui.02004567A425678D", 2}, ""},
		{"iscsi://iqn.1993-08.org.debian%3A01@h/naa.52004567BA64678D/2",
			URL{"iqn.1993-08.org.debian:01", []string{"h:3260"}, "naa.52004567BA64678D", 2},
			"iscsi://iqn.1993-08.org.debian%3A01@h/naa.52004567BA64678D/2"},
	}
	for _, tt := range tests {
		got, err := ParseURL(tt.in)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", tt.in, err)
			continue
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseURL(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
		out := tt.out
		if out == "" {
			out = tt.in
		}
		if s := got.String(); s != out {
			t.Errorf("ParseURL(%q).String() = %q, want %q", tt.in, s, out)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "must begin with iscsi://"},
		{"http://h/iqn.x/1", "must begin with iscsi://"},
		{"iscsi://h", "must look like"},
		{"iscsi://h/iqn.2001-04.com.example:a", "must look like"},
		{"iscsi://h/iqn.2001-04.com.example:a/", "must look like"},
		{"iscsi://h//1", "must look like"},
		{"iscsi:///iqn.2001-04.com.example:a/1", "host is missing"},
		{"iscsi://h,/iqn.2001-04.com.example:a/1", "host is missing"},
		{"iscsi://:3260/iqn.2001-04.com.example:a/1", "host is missing"},
		{"iscsi://h:0/iqn.2001-04.com.example:a/1", "port \"0\""},
		{"iscsi://h:/iqn.2001-04.com.example:a/1", "port \"\""},
		{"iscsi://h:65536/iqn.2001-04.com.example:a/1", "port \"65536\""},
		{"iscsi://fe80::1/iqn.2001-04.com.example:a/1", "stands in brackets, as [fe80::1]"},
		{"iscsi://[fe80::1/iqn.2001-04.com.example:a/1", "not closed"},
		{"iscsi://[nonsense]/iqn.2001-04.com.example:a/1", "no IPv6 address"},
		{"iscsi://[::1]3260/iqn.2001-04.com.example:a/1", "after the bracket"},
		{"iscsi://joe:pw@h/iqn.2001-04.com.example:a/1", "holds no secret"},
		{"iscsi://@h/iqn.2001-04.com.example:a/1", "no user name"},
		{"iscsi://h/disk1/1", `target name "disk1" does not begin with "iqn."`},
		{"iscsi://h/iqn./1", "wants a date"},
		{"iscsi://h/iqn." + strings.Repeat("a", 220) + "/1", "at most 223"},
		{"iscsi://h/iqn.a b/1", "is not allowed"},
		{"iscsi://h/iqn.2001-04.com.example:a/x", "LUN \"x\""},
		{"iscsi://h/iqn.2001-04.com.example:a/0x1", "LUN \"0x1\""},
		{"iscsi://h/iqn.2001-04.com.example:a/-1", "LUN \"-1\""},
		{"iscsi://h/iqn.2001-04.com.example:a/16384", "LUN \"16384\""},
		{"iscsi://h/iqn.2001-04.com.example:a/1/", "must look like"},
		{"iscsi://" + strings.Repeat("h,", 64) + "h/iqn.2001-04.com.example:a/1", "65 portals"},
	}
	for _, tt := range tests {
		_, err := ParseURL(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseURL(%q) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

// FuzzParseURL wants that what is understood is written the same way again.
func FuzzParseURL(f *testing.F) {
	f.Add("iscsi://joe@[::1]:3261,h/iqn.2001-04.com.example:disk/1")
	f.Add("iscsi://10.0.0.1/eui.02004567A425678D/16383")
	f.Add("iscsi://%41@h/naa.%35/0")
	f.Fuzz(func(t *testing.T, in string) {
		u, err := ParseURL(in)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", in, u, err)
		}
		if !reflect.DeepEqual(u, again) {
			t.Fatalf("%q became %q: %+v and %+v", in, u, u, again)
		}
	})
}
