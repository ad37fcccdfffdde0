package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const goodConfig = `
urls = [
  "iscsi://10.0.0.1/iqn.2001-04.com.example:disk/1",
  "iscsi://10.0.1.1/iqn.2001-04.com.example:disk/1",
]
nbd = ["unix:/run/braid/disk.nbd", "tcp:127.0.0.1:10809"]
nbd_sockets = 2
barrier = "epoch"
no_path = "30s"
fence_settle = "2s"
retain = "64MiB"
trust_wce = true
error_recovery_level = 0
header_digest = "crc32c"
start_timeout = "0"
`

func TestParse(t *testing.T) {
	c, err := Parse("disk.toml", []byte(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	for _, host := range []string{"10.0.0.1:3260", "10.0.1.1:3260"} {
		want.URLs = append(want.URLs,
			URL{Portals: []string{host}, Target: "iqn.2001-04.com.example:disk", LUN: 1})
	}
	want.NBD = Exports{{"unix", "/run/braid/disk.nbd"}, {"tcp", "127.0.0.1:10809"}}
	want.NBDSockets = 2
	want.Barrier = "epoch"
	want.NoPath = NoPath(30 * time.Second)
	want.FenceSettle = Duration(2 * time.Second)
	want.Retain = 64 << 20
	want.TrustWCE = true
	want.ErrorRecoveryLevel = 0
	want.HeaderDigest = "crc32c"
	want.StartTimeout = 0
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Parse gave\n%+v, want\n%+v", c, want)
	}
}

// TestBadConfigs wants a file, a line and a key in what is said of a mistake.
func TestBadConfigs(t *testing.T) {
	const head = `urls = ["iscsi://h/iqn.2001-04.com.example:disk/1"]` + "\n" + `nbd = "unix:/x"` + "\n"
	tests := []struct{ name, doc, want string }{
		{"typo", head + `bariier = "drain"`,
			`c.toml:3: bariier: unknown key; did you mean "barrier"?`},
		{"flag spelling", head + `path-selector = "round-robin"`,
			`c.toml:3: path-selector: unknown key; did you mean "path_selector"?`},
		{"nothing near", head + `zzz = 1`, `c.toml:3: zzz: unknown key; `},
		{"table", head + "[device]\nbarrier = \"drain\"", `c.toml:3: device: unknown key`},
		{"syntax", head + `barrier = drain`, `c.toml:3: barrier: `},
		{"twice", head + `nbd = "unix:/y"`, `c.toml:3: nbd: `},
		{"barrier", head + `barrier = "drian"`,
			`c.toml:3: barrier: "drian" is none of drain, hold, epoch; did you mean "drain"?`},
		{"barrier type", head + `barrier = 1`, `c.toml:3: barrier: `},
		{"selector", head + `path_selector = "least"`, `c.toml:3: path_selector: "least" is none`},
		{"digest", head + `data_digest = "crc32"`, `c.toml:3: data_digest: "crc32" is none of`},
		{"fence", head + `fence = "stonith"`, `c.toml:3: fence: "stonith" is none of`},
		{"no path", head + `no_path = "never"`, `c.toml:3: no_path: "never" is none of queue,`},
		{"no path unit", head + `no_path = "12"`, `c.toml:3: no_path: "12" is none of queue,`},
		{"size", head + `retain = "256MB"`, `c.toml:3: retain: "256MB" is not a size`},
		{"size sign", head + `retain = -1`, `c.toml:3: retain: "-1" is not a size`},
		{"size huge", head + `retain = "99999999TiB"`, `c.toml:3: retain: "99999999TiB" is not`},
		{"duration", head + `nop_timeout = "5"`, `c.toml:3: nop_timeout: "5" is not a duration`},
		{"duration number", head + `nop_timeout = 5`, `c.toml:3: nop_timeout: 5 has no unit: write it like "5s"`},
		{"duration long", head + `login_timeout = "48h"`, `c.toml:3: login_timeout: 48h0m0s is too`},
		{"erl", head + `error_recovery_level = 3`, `c.toml:3: error_recovery_level: 3 is none`},
		{"sockets", head + `nbd_sockets = 9`, `c.toml:3: nbd_sockets: 9 is none of 1 to 8`},
		{"bool", head + `read_only = "yes"`, `c.toml:3: read_only: "yes" is a text`},
		{"bool number", head + `read_only = 1`, `c.toml:3: read_only: 1 is not what belongs here`},
		{"list", head + `barrier = ["drain"]`, `c.toml:3: barrier: one value belongs here`},
		{"list of numbers", `urls = [5]`, `c.toml:1: urls: 5 is not a text`},
		{"empty", head + `chap_user = ""`, `c.toml:3: chap_user: it may not be empty`},
		{"number in quotes", head + `error_recovery_level = "0"`,
			`c.toml:3: error_recovery_level: "0" is a text`},
		{"dotted", head + `barrier.mode = "drain"`, `c.toml:3: barrier: map[`},
		{"log level", head + `log_level = "verbose"`, `c.toml:3: log_level: "verbose" is none`},
		{"name", head + `name = "../x"`, `c.toml:3: name: name "../x": it begins with`},
		{"initiator", head + `initiator_name = "host1"`, `c.toml:3: initiator_name: initiator name "host1"`},
		{"control", head + `control = "/run/x.sock"`, `c.toml:3: control: "/run/x.sock": write it`},
		{"control shared", head + `control = "unix:/x"`, `c.toml:2: nbd: unix:/x is the control`},
		{"chap without secret", head + `chap_user = "joe"`,
			`c.toml: chap_secret_file: the secret of CHAP user "joe" is missing`},
		{"secret without user", head + `chap_secret_file = "/s"`,
			`c.toml:3: chap_secret_file: a secret without a user`},
		{"mutual alone", head + "mutual_chap_user = \"t\"\nmutual_chap_secret_file = \"/s\"",
			`c.toml:4: mutual_chap_secret_file: mutual CHAP needs chap_user`},
		{"no url", `nbd = "unix:/x"`, `c.toml: urls: no URL`},
		{"bad url", "urls = [\n \"iscsi://h/iqn.2001-04.com.example:disk/1\",\n \"iscsi://h/disk/1\"\n]",
			`c.toml:3: urls: URL "iscsi://h/disk/1": target name "disk" does not begin`},
		{"kernel devices", `nbd = ["/dev/nbd3", "unix:/x", "auto"]` + "\n" +
			`urls = ["iscsi://h/iqn.2001-04.com.example:disk/1"]`,
			`c.toml:1: nbd: /dev/nbd3 and auto: one kernel device is enough`},
		{"no kernel device", `nbd = "/dev/nbd03"` + "\n" +
			`urls = ["iscsi://h/iqn.2001-04.com.example:disk/1"]`,
			`c.toml:1: nbd: "/dev/nbd03" is none of`},
		{"export twice", `nbd = ["unix:/x", "unix:/x"]` + "\n" +
			`urls = ["iscsi://h/iqn.2001-04.com.example:disk/1"]`,
			`c.toml:1: nbd: unix:/x is there twice`},
		{"export", `nbd = "udp:x"`, `c.toml:1: nbd: "udp:x" is none of`},
		{"port", `nbd = "tcp:127.0.0.1:0"`, `c.toml:1: nbd: "tcp:127.0.0.1:0": port "0"`},
		{"socket path", `nbd = "unix:/` + strings.Repeat("x", 107) + `"`, `at most 107 bytes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(file, []byte(tt.doc), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadConfig([]string{file}, NewFlags(pflag.NewFlagSet("", 0)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if exitCode(err) != exitUsage {
				t.Errorf("exit code %d, want %d", exitCode(err), exitUsage)
			}
		})
	}
}

// TestFlagsOverFile wants a flag to win over the file, and to be blamed for it.
func TestFlagsOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk.toml")
	if err := os.WriteFile(file, []byte(goodConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(args ...string) (Config, error) {
		fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
		flags := NewFlags(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		return loadConfig([]string{file}, flags)
	}
	c, err := load("--barrier=hold", "--nbd", "unix:/a", "--nbd", "unix:/b", "--read-only")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "disk" || c.Barrier != "hold" || !c.ReadOnly || c.Retain != 64<<20 ||
		!reflect.DeepEqual(c.NBD, Exports{{"unix", "/a"}, {"unix", "/b"}}) {
		t.Errorf("got %+v", c)
	}
	for _, tt := range []struct{ flag, want string }{
		{"--fence=preempt", `--fence: "preempt" is none of auto, reinstate, reserve, reset, wait, none`},
		{"--barrier=", `--barrier: "" is none of`},
		{"--nop-timeout=5", `--nop-timeout: "5" is not a duration`},
		{"--read-only=maybe", `--read-only: "maybe" is neither`},
	} {
		if _, err := load(tt.flag); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.flag, err, tt.want)
		}
	}
}

// TestOptionsAreTheKeys wants every key of the file in the table of options,
// once, and the other way round.
func TestOptionsAreTheKeys(t *testing.T) {
	have := make(map[string]bool)
	for _, o := range options(&Config{}) {
		if have[o.key] {
			t.Errorf("option %s is there twice", o.key)
		}
		have[o.key] = true
	}
	fields := reflect.VisibleFields(reflect.TypeFor[Config]())
	for _, f := range fields {
		key := strings.ToLower(f.Name)
		for o := range have {
			if strings.ReplaceAll(o, "_", "") == key {
				delete(have, o)
				key = ""
				break
			}
		}
		if key != "" {
			t.Errorf("field %s is no option", f.Name)
		}
	}
	for key := range have {
		t.Errorf("option %q is no field", key)
	}
}

func TestDefaultName(t *testing.T) {
	for _, tt := range []struct{ target, want string }{
		{"iqn.2001-04.com.example:storage.disk1", "storage.disk1-3"},
		{"iqn.2001-04.com.example", "iqn.2001-04.com.example-3"},
		{"iqn.2001-04.com.example:a:b", "b-3"},
		{"iqn.2001-04.com.example:", "lun-3"},
		{"iqn.2001-04.com.example:" + strings.Repeat("x", 200), strings.Repeat("x", 56) + "-3"},
		{"iqn.2001-04.com.example:näh", "n_h-3"},
	} {
		got := DefaultName(URL{Target: tt.target, LUN: 3})
		if got != tt.want || checkDeviceName(got) != nil {
			t.Errorf("DefaultName(%q) = %q, want %q", tt.target, got, tt.want)
		}
	}
}

func TestReadSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for _, tt := range []struct{ data, want, err string }{
		{"hunter2hunter2\n", "hunter2hunter2", ""},
		{" spaces stay \r\n", " spaces stay ", ""},
		{"", "", "is empty"},
		{"\n", "", "is empty"},
		{strings.Repeat("a", 600), "", "has 600 bytes"},
	} {
		if err := os.WriteFile(file, []byte(tt.data), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(file)
		if string(got) != tt.want || (err == nil) != (tt.err == "") ||
			err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("readSecret of %q = %q, %v", tt.data, got, err)
		}
	}
	if _, err := readSecret(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("readSecret of nothing: %v", err)
	}
}

// FuzzParse wants a *ConfigError or a configuration, never a panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("a.b.c = 1\n[x]\n[[y]]\n"))
	f.Add([]byte("retain = \"\"\"\n1\"\"\""))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := Parse("f", doc)
		var located *ConfigError
		if err != nil && !errors.As(err, &located) {
			t.Fatalf("%T: %v", err, err)
		}
		if err == nil {
			_ = c.Check()
		}
	})
}

// TestExample wants the sample configuration to be right, also with every
// default in it made explicit: then it must change nothing.
func TestExample(t *testing.T) {
	doc, err := os.ReadFile("../../deploy/braid.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("braid.toml.example", doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`)
	open := setting.ReplaceAll(doc, []byte("$1"))
	all, err := Parse("braid.toml.example", open)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options(&all) {
		if lineOf(open, o.key, "") == 0 && o.key != "name" {
			t.Errorf("the sample does not tell of %s", o.key)
		}
	}
	// These have no default value to show: the sample shows an example of each.
	all.Control, all.HeaderDigest, all.DataDigest, all.InitiatorName = "", "", "", ""
	all.CHAPUser, all.CHAPSecretFile, all.MutualCHAPUser, all.MutualCHAPSecretFile = "", "", "", ""
	if !reflect.DeepEqual(all, c) {
		t.Errorf("the defaults of the sample are\n%+v, not\n%+v", all, c)
	}
}
