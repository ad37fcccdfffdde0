package target

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const testName = "iqn.2026-01.test.braid:disk"

func ramShell(t testing.TB, portals int, size uint64, change func(c *Config)) (*shell, string) {
	t.Helper()
	var url string
	s := newShell(t, portals, func(addrs []string, s *shell) *Target {
		ram, err := NewRAM(size, 0)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Name: testName, LUNs: []LUNConfig{{
			Number: 0, Store: ram, WriteCache: true, Thin: true,
		}}}
		for _, a := range addrs {
			cfg.Portals = append(cfg.Portals, PortalConfig{Address: a, Group: 1})
		}
		if change != nil {
			change(&cfg)
		}
		tg, err := New(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		url = fmt.Sprintf("iscsi://%s/%s/0", addrs[0], testName)
		return tg
	})
	return s, url
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func tryRun(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool(t, name), args...).CombinedOutput()
	return string(out), err
}

func TestQemuReadsBackWhatItWrote(t *testing.T) {
	_, url := ramShell(t, 1, 64<<20, nil)
	out := run(t, "qemu-io", "-f", "raw",
		"-c", "write -P 0x5a 4096 1M", "-c", "write -P 0xa5 1536 512", "-c", "flush",
		"-c", "read -P 0x5a 4096 1M", "-c", "read -P 0xa5 1536 512", "-c", "read -P 0 0 1536",
		"-c", "discard 8192 65536", "-c", "read -P 0 8192 65536",
		"-c", "write -z 131072 65536", "-c", "read -P 0 131072 65536",
		"-c", "write -P 1 -f 16M 8M", "-c", "read -P 1 16M 8M", url)
	if strings.Contains(out, "verification failed") || strings.Contains(out, "rror") {
		t.Fatal(out)
	}
	t.Log(out)
}

func TestQemuImgInfo(t *testing.T) {
	_, url := ramShell(t, 1, 64<<20, nil)
	if out := run(t, "qemu-img", "info", "-f", "raw", url); !strings.Contains(out, "64 MiB") {
		t.Fatal(out)
	}
}

func TestLibiscsiTools(t *testing.T) {
	_, url := ramShell(t, 2, 64<<20, nil)
	host := url[:strings.Index(url[8:], "/")+8]
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"iscsi-ls", "-s", host}, testName},
		{[]string{"iscsi-inq", url}, "braid"},
		{[]string{"iscsi-inq", "-e", "1", "-c", "0x83", url}, "NAA"},
		{[]string{"iscsi-inq", "-e", "1", "-c", "0xb0", url}, "Block Limits"},
		{[]string{"iscsi-readcapacity16", url}, "67108864"},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			out := run(t, c.args[0], c.args[1:]...)
			t.Log(out)
			if !strings.Contains(out, c.want) {
				t.Errorf("no %q", c.want)
			}
		})
	}
}
