package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// healthy is a machine that lacks nothing, with one device that runs.
func healthy(t *testing.T) *machine {
	t.Helper()
	m := &machine{
		root: t.TempDir(), release: "6.1.0-37-amd64", rights: 1<<(unix.CAP_LAST_CAP+1) - 1,
		memlock: math.MaxUint64, threads: true, stateDir: "/var/lib/braid", runDir: "/run/braid",
		devices: func() map[string][]string { return map[string][]string{"lun0": {"/dev/nbd0"}} },
		run: func(name string, args ...string) (string, error) {
			return "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n" +
				"Result=success\nNRestarts=0\n", nil
		},
	}
	for name, text := range map[string]string{
		"/sys/module/nbd/refcnt":                    "0\n",
		"/sys/block/nbd0/pid":                       "77\n",
		"/sys/block/nbd0/backend":                   "naa.6001405aabbccdd\n",
		"/sys/block/nbd1/size":                      "0\n",
		"/proc/sys/vm/min_free_kbytes":              "67584\n",
		"/proc/sys/vm/overcommit_memory":            "0\n",
		"/proc/sys/net/ipv4/tcp_sack":               "1\n",
		"/proc/sys/net/ipv4/tcp_rmem":               "4096\t131072\t6291456\n",
		"/proc/swaps":                               "Filename Type\n/dev/sda2 partition\n",
		"/etc/iscsi/initiatorname.iscsi":            "InitiatorName=iqn.2020-01.com.example:me\n",
		"/etc/braid/lun0.toml":                      soundConfig,
		"/etc/braid/lun0.secret":                    "0123456789abcdef\n",
		"/etc/fstab":                                "/dev/sda1 / ext4\n/dev/braid/lun0 /srv ext4 _netdev 0 2\n",
		"/run/systemd/system/x":                     "",
		"/run/udev/control":                         "",
		"/usr/lib/systemd/system/braid@.service":    "",
		"/usr/lib/udev/rules.d/59-braid.rules":      "",
		"/lib/modules/6.1.0-37-amd64/modules.dep":   "kernel/drivers/block/nbd.ko:\n",
		"/sys/class/iscsi_session/session1/x":       "",
		"/sys/class/iscsi_session/other/targetname": "iqn.2001-04.com.example:t\n",
	} {
		put(t, m, name, text)
	}
	return m
}

const soundConfig = `urls = ["iscsi://192.0.2.1/iqn.2001-04.com.example:t/0",
  "iscsi://192.0.2.2/iqn.2001-04.com.example:t/0"]
nbd = "unix:/run/braid/lun0.nbd"
chap_user = "me"
chap_secret_file = "/etc/braid/lun0.secret"
`

func put(t *testing.T, m *machine, name, text string) {
	t.Helper()
	file := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, m *machine, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(m.root, name)); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorHealthy(t *testing.T) {
	all := examine(healthy(t))
	for _, f := range all {
		if f.State != allRight || f.Remedy != "" || f.Detail == "" {
			t.Errorf("%+v", f)
		}
	}
	var b bytes.Buffer
	if err := report(&b, all, "table"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Linux 6.1.0-37-amd64", "2, of which 1 are connected",
		"iqn.2020-01.com.example:me (/etc/iscsi/initiatorname.iscsi)", "/etc/braid/lun0.toml: 2 paths",
		"braid@lun0.service: active (running)", "/etc/fstab:2: /dev/braid/lun0 on /srv",
		"\nnothing is missing\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestDoctorFinds breaks one thing at a time: it is found, and nothing else is.
func TestDoctorFinds(t *testing.T) {
	without := func(capability int) func(t *testing.T, m *machine) {
		return func(_ *testing.T, m *machine) { m.rights &^= 1 << capability }
	}
	file := func(name, text string) func(t *testing.T, m *machine) {
		return func(t *testing.T, m *machine) { put(t, m, name, text) }
	}
	unit := func(text string) func(t *testing.T, m *machine) {
		return func(_ *testing.T, m *machine) {
			m.run = func(string, ...string) (string, error) { return text, nil }
		}
	}
	fstab := func(line string) func(t *testing.T, m *machine) { return file("/etc/fstab", line+"\n") }
	tests := []struct {
		name                  string
		harm                  func(t *testing.T, m *machine)
		state, detail, remedy string
	}{
		{"old kernel", func(_ *testing.T, m *machine) { m.release = "5.10.0" }, missing,
			"Linux 5.10.0; before 5.14", "5.14"},
		{"no driver", func(t *testing.T, m *machine) {
			drop(t, m, "/sys")
			drop(t, m, "/lib/modules")
		}, missing, "no NBD driver", "install a kernel"},
		{"no driver on Ubuntu", func(t *testing.T, m *machine) {
			drop(t, m, "/sys")
			drop(t, m, "/lib/modules")
			put(t, m, "/etc/os-release", "NAME=x\nID=ubuntu\n")
		}, missing, "no NBD driver", "apt-get install linux-modules-extra-6.1.0-37-amd64"},
		{"may not load it", func(t *testing.T, m *machine) {
			drop(t, m, "/sys")
			without(unix.CAP_SYS_MODULE)(t, m)
		}, missing, "may not load it", "sudo modprobe nbd"},
		{"stranded device", func(_ *testing.T, m *machine) {
			m.devices = func() map[string][]string { return nil }
		}, warned, "/dev/nbd0 (naa.6001405aabbccdd) is attached, and no daemon",
			"braid down /dev/nbd0"},
		{"no admin", without(unix.CAP_SYS_ADMIN), missing, "without CAP_SYS_ADMIN", "container"},
		{"not root", func(t *testing.T, m *machine) {
			m.user = 1000
			without(unix.CAP_SYS_ADMIN)(t, m)
		}, missing, "without CAP_SYS_ADMIN", "sudo braid"},
		{"memlock", func(t *testing.T, m *machine) {
			m.memlock = 8 << 20
			without(unix.CAP_IPC_LOCK)(t, m)
		}, warned, "at most 8M may be locked", "LimitMEMLOCK=infinity"},
		{"cgo", func(_ *testing.T, m *machine) { m.threads = false }, warned, "cgo", "CGO_ENABLED=0"},
		{"reserve", file("/proc/sys/vm/min_free_kbytes", "8192\n"), warned, "8192 KiB",
			"vm.min_free_kbytes=65536"},
		{"overcommit", file("/proc/sys/vm/overcommit_memory", "2\n"), warned, "strict",
			"vm.overcommit_memory=0"},
		{"swap", file("/proc/swaps", "Filename\n/dev/nbd0\tpartition\t1\n"), missing,
			"/dev/nbd0 is swap", "swapoff /dev/nbd0"},
		{"sack", file("/proc/sys/net/ipv4/tcp_sack", "0\n"), warned, "tcp_sack is off",
			"sysctl -w net.ipv4.tcp_sack=1"},
		{"window", file("/proc/sys/net/ipv4/tcp_rmem", "4096 8192 65536\n"), warned,
			"tcp_rmem: at most 64K", "net.ipv4.tcp_rmem='4096 131072 4194304'"},
		{"initiator name", file("/etc/iscsi/initiatorname.iscsi", "InitiatorName=x\n"), missing,
			"/etc/iscsi/initiatorname.iscsi:1: initiator", "editor /etc/iscsi/initiatorname.iscsi"},
		{"syntax", file("/etc/braid/lun0.toml", soundConfig+"retian = 5\n"), missing,
			"/etc/braid/lun0.toml:6: retian: unknown key; did you mean \"retain\"?", "editor"},
		{"value", file("/etc/braid/lun0.toml", soundConfig+"nop_timeout = \"0s\"\n"), missing,
			"/etc/braid/lun0.toml:6: nop_timeout", "editor"},
		{"no secret", func(t *testing.T, m *machine) { drop(t, m, "/etc/braid/lun0.secret") }, missing,
			"/etc/braid/lun0.toml: stat /etc/braid/lun0.secret: no such file", "install -m 600"},
		{"open secret", func(t *testing.T, m *machine) {
			if err := os.Chmod(filepath.Join(m.root, "/etc/braid/lun0.secret"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, missing, "read by others (mode 0640)", "chmod 600 /etc/braid/lun0.secret"},
		{"empty secret", file("/etc/braid/lun0.secret", ""), missing, "is empty", "editor"},
		{"kernel session", file("/sys/class/iscsi_session/session1/targetname",
			"iqn.2001-04.com.example:t\n"), warned, "logged in to iqn.2001-04.com.example:t too",
			"iscsiadm -m node -T iqn.2001-04.com.example:t -u"},
		{"no unit", func(t *testing.T, m *machine) { drop(t, m, "/usr/lib/systemd") }, warned,
			"braid@.service is not installed", "systemctl daemon-reload"},
		{"no rules", func(t *testing.T, m *machine) { drop(t, m, "/usr/lib/udev") }, warned,
			"59-braid.rules is not installed", "udevadm control --reload"},
		{"masked", unit("LoadState=masked\nActiveState=inactive\n"), missing, "masked",
			"systemctl unmask braid@lun0.service"},
		{"failed", unit("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n"),
			missing, "failed (failed): exit-code", "journalctl -b -u braid@lun0.service"},
		{"restarts", unit("LoadState=loaded\nActiveState=activating\nSubState=auto-restart\n" +
			"NRestarts=7\n"), missing, "restarted 7 times", "journalctl"},
		{"systemctl fails", func(_ *testing.T, m *machine) {
			m.run = func(string, ...string) (string, error) { return "", errors.New("no bus") }
		}, warned, "no bus", "systemctl status braid@lun0.service"},
		{"fstab: number", fstab("/dev/nbd0 /srv ext4 _netdev 0 2"), warned,
			"/etc/fstab:1: /dev/nbd0 may be another LUN", "/etc/fstab"},
		{"fstab: no _netdev", fstab("/dev/braid/lun0 /srv ext4 defaults 0 2"), missing, "_netdev",
			"/etc/fstab"},
		{"fstab: swap", fstab("/dev/disk/by-id/braid-naa.6 none swap sw 0 0"), missing, "swap space",
			"/etc/fstab"},
		{"fstab: requires", fstab("/dev/braid/lun0 /srv xfs _netdev,x-systemd.requires=" +
			"braid@lun0.service 0 0"), missing, "x-systemd.requires", "/etc/fstab"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := healthy(t)
			test.harm(t, m)
			var found []finding
			for _, f := range examine(m) {
				if f.State != allRight {
					found = append(found, f)
				}
			}
			if len(found) != 1 || found[0].State != test.state ||
				!strings.Contains(found[0].Detail, test.detail) ||
				!strings.Contains(found[0].Remedy, test.remedy) {
				t.Errorf("%+v", found)
			}
			err := report(&bytes.Buffer{}, found, "table")
			if wantErr := test.state == missing; wantErr != errors.Is(err, errSaid) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestDoctorBareMachine has nothing at all: no finding may be a panic or empty.
func TestDoctorBareMachine(t *testing.T) {
	m := &machine{root: t.TempDir(), release: "weird", stateDir: "/var/lib/braid",
		devices: func() map[string][]string { return nil },
		run:     func(string, ...string) (string, error) { return "", fs.ErrNotExist }}
	var b bytes.Buffer
	if err := report(&b, examine(m), "json"); !errors.Is(err, errSaid) {
		t.Error(err)
	}
	var doc struct {
		OK     bool
		Checks []finding
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil || doc.OK || len(doc.Checks) < 6 {
		t.Errorf("%v\n%s", err, b.String())
	}
	for _, f := range doc.Checks {
		if f.Check == "" || f.Detail == "" || (f.State == missing && f.Remedy == "") {
			t.Errorf("%+v", f)
		}
	}
}

// TestDoctorCommand runs it here: whatever this machine lacks, exit code and
// output agree.
func TestDoctorCommand(t *testing.T) {
	cmd := newDoctor()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true // as the root command has it
	var b bytes.Buffer
	cmd.SetOut(&b)
	cmd.SetArgs([]string{"-o", "json"})
	err := cmd.ExecuteContext(t.Context())
	var doc struct {
		OK     bool
		Checks []finding
	}
	if e := json.Unmarshal(b.Bytes(), &doc); e != nil {
		t.Fatalf("%v\n%s", e, b.String())
	}
	if doc.OK != (err == nil) || err != nil && exitCode(err) != exitFailed {
		t.Errorf("ok %v, error %v", doc.OK, err)
	}
	cmd = newDoctor()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"-o", "yaml"})
	if err := cmd.ExecuteContext(t.Context()); exitCode(err) != exitUsage {
		t.Error(err)
	}
}

func TestEffectiveCapabilities(t *testing.T) {
	got, err := effectiveCapabilities("Name:\tx\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n")
	if err != nil || got != 0x1fffeffffff {
		t.Errorf("%x, %v", got, err)
	}
	for _, bad := range []string{"", "CapEff:\tzz\n"} {
		if _, err := effectiveCapabilities(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func Example_doctor() {
	fmt.Println(writeFindings(os.Stdout, []finding{
		{"kernel", allRight, "Linux 6.1.0", ""},
		{"nbd driver", missing, "not loaded, and this user may not load it", "sudo modprobe nbd"},
	}, 1))
	// Output:
	// ok       kernel      Linux 6.1.0
	// missing  nbd driver  not loaded, and this user may not load it
	//                      -> sudo modprobe nbd
	//
	// 1 thing is missing
	// <nil>
}
