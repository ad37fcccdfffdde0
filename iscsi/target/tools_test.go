package target

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
)

const testName = "iqn.2026-01.test.braid:disk"

func ramShell(
	t *testing.T, portals int, size uint64, change func(t *testing.T, s *shell, c *Config),
) (*shell, string) {
	t.Helper()
	s := newShell(t, portals, func(s *shell) *Target {
		ram, err := NewRAM(size, 0)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Name: testName, LUNs: []LUNConfig{{
			Number: 0, Store: ram, WriteCache: true, Thin: true,
		}}}
		for _, a := range s.addrs {
			cfg.Portals = append(cfg.Portals, PortalConfig{Address: a, Group: 1})
		}
		if change != nil {
			change(t, s, &cfg)
		}
		tg, err := New(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return tg
	})
	return s, fmt.Sprintf("iscsi://%s/%s/0", s.addrs[0], testName)
}

func fileStore(t *testing.T, post func(func(now time.Duration)), size uint64) *File {
	t.Helper()
	f, err := OpenFile(FileConfig{
		Path: filepath.Join(t.TempDir(), "disk"), Size: size, Workers: 2, Post: post,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
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
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *shell, c *Config)
	}{
		{"ram", nil},
		{"file", func(t *testing.T, s *shell, c *Config) {
			c.LUNs[0].Store = fileStore(t, s.post, 64<<20)
		}},
		{"r2t only, small bursts", func(_ *testing.T, _ *shell, c *Config) {
			c.InitialR2T, c.NoImmediateData = true, true
			c.MaxBurstLength, c.FirstBurstLength = 16<<10, 8<<10
			c.MaxRecvDataSegmentLength = 4096
		}},
		{"unsolicited data", func(_ *testing.T, _ *shell, c *Config) {
			c.NoImmediateData = true
			c.MaxRecvDataSegmentLength = 8192
		}},
		{"digests", func(_ *testing.T, _ *shell, c *Config) {
			c.HeaderDigest = login.DigestCRC32C
		}},
		// Of a thin disk of such blocks qemu itself asks for the status of half a
		// block, and fails.
		{"4 KiB blocks", func(_ *testing.T, _ *shell, c *Config) {
			c.LUNs[0].BlockSize, c.LUNs[0].Thin = 4096, false
		}},
		{"slow", func(_ *testing.T, _ *shell, c *Config) {
			c.LUNs[0].WriteCache = false
			s, err := ParseScript("at 0s delay all 0ms..2ms")
			if err != nil {
				panic(err)
			}
			c.Script = s
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, url := ramShell(t, 1, 64<<20, c.change)
			args := []string{"-f", "raw"}
			if c.name == "digests" {
				args = []string{"--image-opts"}
				url = fmt.Sprintf("driver=iscsi,transport=tcp,portal=%s,target=%s,lun=0,"+
					"header-digest=crc32c", s.addrs[0], testName)
			}
			args = append(args,
				"-c", "write -P 0x5a 4096 1M", "-c", "write -P 0xa5 12288 4096", "-c", "flush",
				"-c", "read -P 0x5a 16384 1036288", "-c", "read -P 0xa5 12288 4096", "-c", "read -P 0 0 4096",
				"-c", "write -z 8192 65536", "-c", "read -P 0 8192 65536",
				"-c", "write -z -u 131072 65536", "-c", "read -P 0 131072 65536",
				"-c", "write -P 1 -f 16M 8M", "-c", "read -P 1 16M 8M", url)
			out := run(t, "qemu-io", args...)
			if strings.Contains(out, "verification failed") || strings.Contains(out, "rror") {
				t.Fatal(out)
			}
		})
	}
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
		{[]string{"iscsi-inq", "-e", "1", "-c", "131", url}, "NAA"},
		{[]string{"iscsi-inq", "-e", "1", "-c", "176", url}, "maximum transfer length:65536"},
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
