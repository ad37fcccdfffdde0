//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// atOnce is how long a daemon may take to say that something is wrong for good:
// less than it tries where the trouble may pass (30 s).
const atOnce = 20 * time.Second

// refused starts a daemon that must end by itself, with that exit code and one
// line that says why. It returns the line.
func refused(t *testing.T, code int, urls []string, flags ...string) string {
	t.Helper()
	d := newDaemon(t, append(flags, "--log-level", "error")...)
	d.launch(t, urls...)
	return d.refused(code)
}

func (d *daemon) refused(want int) string {
	d.t.Helper()
	if code := d.code(atOnce); code != want {
		d.t.Errorf("exit code %d, not %d", code, want)
	}
	return oneLine(d.t, d.all.text())
}

// oneLine gives the line that says why a command has failed: the last one, and
// the only one of its kind. Log lines may stand before it.
func oneLine(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "braid: ") || strings.Count("\n"+text, "\nbraid: ") != 1 {
		t.Errorf("not one line of error at the end:\n%s", text)
	}
	return last
}

func contains(t *testing.T, line string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("%q says nothing of %q", line, w)
		}
	}
}

func TestRefusedByTarget(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 2, luns: 2})
	t.Run("wrong IQN", func(t *testing.T) {
		line := refused(t, 1, sessionURLs(g.portals, "iqn.2026-01.net.example:other", 1))
		contains(t, line, "no such target", g.portals[0][:4], "discover")
	})
	t.Run("wrong LUN", func(t *testing.T) {
		contains(t, refused(t, 1, sessionURLs(g.portals, tgtIQN, 9)), "LUN", "inquire")
	})
	t.Run("two different LUNs", func(t *testing.T) {
		urls := []string{sessionURLs(g.portals, tgtIQN, 1)[0], sessionURLs(g.portals, tgtIQN, 2)[1]}
		line := refused(t, 1, urls)
		contains(t, line, "different")
	})
	t.Run("second daemon on the LUN", func(t *testing.T) {
		first := up(t, g.urls())
		second := newDaemon(t)
		second.folder = first.folder // of one user's locks
		for i, a := range second.args {
			if a == "--initiator-name" {
				second.args[i+1] = "iqn.2026-01.net.example:" + first.name
			}
		}
		second.launch(t, g.urls()...)
		line := second.refused(1)
		contains(t, line, "in use", fmt.Sprint(first.cmd.Process.Pid), first.name)
		qemuIO(t, first.uri(), "write -P 1 0 64k", "flush")
		first.stop()
	})
	t.Run("busy socket", func(t *testing.T) {
		d := newDaemon(t)
		l, err := net.Listen("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d.launch(t, g.urls()...)
		contains(t, d.refused(1), d.socket, "in use")
	})
	t.Run("socket left by a dead process", func(t *testing.T) {
		d := newDaemon(t)
		l, err := net.Listen("unix", d.socket)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
		d.launch(t, g.urls()...)
		d.awaitReady()
		d.stop()
	})
	t.Run("busy control socket", func(t *testing.T) {
		d := newDaemon(t)
		l, err := net.Listen("unix", d.control)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d.launch(t, g.urls()...)
		contains(t, d.refused(1), d.control, "in use")
	})
	t.Run("busy port", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		contains(t, refused(t, 1, g.urls(), "--nbd", "tcp:"+l.Addr().String()),
			l.Addr().String(), "in use")
	})
}

func TestUnreachablePortal(t *testing.T) {
	t.Parallel()
	address := addresses(t, 1)[0]
	urls := sessionURLs([]string{address}, tgtIQN, 1)
	began := time.Now()
	line := refused(t, 1, urls, "--start-timeout", "2s")
	contains(t, line, address, "refused", "start-timeout")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it was given up after %v, before --start-timeout", took)
	}
	t.Run("the other one answers", func(t *testing.T) {
		g := startTgtd(t, tgtConfig{portals: 1})
		d := newDaemon(t)
		d.launch(t, append(urls, g.urls()...)...)
		d.awaitReady()
		d.awaitStates("faulty active")
		d.stop()
	})
	t.Run("it never answers", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		line := refused(t, 1, sessionURLs([]string{l.Addr().String()}, tgtIQN, 1),
			"--start-timeout", "3s", "--login-timeout", "1s")
		contains(t, line, l.Addr().String())
	})
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		path := filepath.Join(tempDir(t), "disk.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const url = `urls = ["iscsi://127.0.0.1:1/iqn.2026-01.net.example:e2e/1"]` + "\n"
	const nbd = `nbd = "unix:/tmp/never"` + "\n"
	typo := file(url + nbd + "\n# a comment\nbarier = \"drain\"\n")
	value := file(url + nbd + "barrier = \"wait\"\n")
	syntax := file(url + "nbd = unix\n")
	lun := file("# disk\nurls = [\n  \"iscsi://127.0.0.1:1/iqn.2026-01.net.example:e2e/-1\",\n]\n")
	secret := file(url + nbd + "chap_user = \"a\"\nchap_secret_file = \"/does/not/exist\"\n")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"typo in a key", []string{"up", typo}, []string{typo + ":5", "barier", `"barrier"`}},
		{"bad value", []string{"up", value}, []string{value + ":3", "barrier", "drain, hold"}},
		{"bad syntax", []string{"up", syntax}, []string{syntax + ":2", "nbd"}},
		{"bad URL in a list", []string{"up", lun}, []string{lun + ":3", "urls", "LUN"}},
		{"missing secret", []string{"up", secret}, []string{"chap_secret_file", "/does/not/exist"}},
		{"missing file", []string{"up", "no-such-device"}, []string{"no-such-device.toml"}},
		{"bad flag", []string{"up", url[9 : len(url)-3], "--bariers", "drain"}, []string{"bariers"}},
		{"bad flag value", []string{"up", url[9 : len(url)-3], "--no-path", "soon"},
			[]string{"--no-path", "soon", "queue"}},
		{"bad URL", []string{"up", "iscsi://127.0.0.1/1"}, []string{"iscsi://HOST"}},
		{"no arguments", []string{"up"}, []string{"braid up"}},
		{"unknown command", []string{"upp"}, []string{"upp", "up"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, out, said := braid(t, test.args...)
			if code != 2 || out != "" {
				t.Errorf("exit code %d, not 2; standard output %q", code, out)
			}
			contains(t, oneLine(t, said), test.want...)
		})
	}
}
