//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secretFile writes a secret to a file of its own.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(tempDir(t), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func chapFlags(t *testing.T, secret string) []string {
	return []string{"--chap-user", chapUser, "--chap-secret-file", secretFile(t, secret)}
}

func mutualFlags(t *testing.T, user, secret string) []string {
	return append(chapFlags(t, chapSecret), "--mutual-chap-user", user,
		"--mutual-chap-secret-file", secretFile(t, secret))
}

func TestLoginsThatWork(t *testing.T) {
	tests := []struct {
		name   string
		config tgtConfig
		flags  func(t *testing.T) []string
	}{
		{"CHAP", tgtConfig{chap: true}, func(t *testing.T) []string { return chapFlags(t, chapSecret) }},
		{"mutual CHAP", tgtConfig{chap: true, mutual: true}, func(t *testing.T) []string {
			return mutualFlags(t, mutualUser, mutualSecret)
		}},
		{"digests that the target demands", tgtConfig{digests: "CRC32C"},
			func(*testing.T) []string { return nil }},
		{"digests that braid demands", tgtConfig{digests: "None,CRC32C"}, func(*testing.T) []string {
			return []string{"--header-digest", "crc32c", "--data-digest", "crc32c"}
		}},
		{"mutual CHAP and digests", tgtConfig{chap: true, mutual: true, digests: "CRC32C"},
			func(t *testing.T) []string {
				return append(mutualFlags(t, mutualUser, mutualSecret), "--header-digest", "crc32c",
					"--data-digest", "crc32c", "--error-recovery-level", "0")
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.config.portals = 2
			g := startTgtd(t, test.config)
			flags := test.flags(t)
			d := up(t, []string{g.urls()[0], mcsURL(g.portals)}, flags...)
			fioLoad{uri: d.uri(), size: "4m", fsync: 32, block: "16k"}.run(t)
			qemuIO(t, d.uri(), "write -P 0x21 1M 1M", "flush", "read -P 0x21 1M 1M")
			g.holds(1<<20, 1<<20, 0x21)
			d.stop()
			checkDigests(t, g, flags, test.config.digests == "CRC32C" || strings.Contains(test.name, "digests"))
		})
	}
}

// checkDigests asks for what is negotiated on a session of the same settings.
func checkDigests(t *testing.T, g *tgtd, flags []string, want bool) {
	t.Helper()
	var login []string
	for i := 0; i < len(flags); i += 2 {
		if flags[i] != "--error-recovery-level" {
			login = append(login, flags[i], flags[i+1])
		}
	}
	args := append([]string{"inquire", g.urls()[0], "-o", "json"}, login...)
	code, out, said := braid(t, args...)
	var report struct {
		Session struct {
			HeaderDigest string `json:"header_digest"`
			DataDigest   string `json:"data_digest"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("braid inquire: exit code %d, %v: %s%s", code, err, out, said)
	}
	s := report.Session
	if got := s.HeaderDigest == "CRC32C" && s.DataDigest == "CRC32C"; got != want {
		t.Errorf("digests: header %s, data %s", s.HeaderDigest, s.DataDigest)
	}
}

// A login that the target refuses for good ends the daemon at once, with one
// line that says what the matter is.
func TestLoginsThatFail(t *testing.T) {
	tests := []struct {
		name   string
		config tgtConfig
		flags  func(t *testing.T) []string
		want   []string // words of the line
	}{
		{"wrong secret", tgtConfig{chap: true},
			func(t *testing.T) []string { return chapFlags(t, "not-the-secret-at-all") },
			[]string{"authentication", "secret"}},
		{"no secret", tgtConfig{chap: true}, func(*testing.T) []string { return nil },
			[]string{"authentication"}},
		{"wrong secret of the target", tgtConfig{chap: true, mutual: true},
			func(t *testing.T) []string { return mutualFlags(t, mutualUser, "not-the-secret-at-all") },
			[]string{"mutual"}},
		{"target that cannot prove itself", tgtConfig{chap: true},
			func(t *testing.T) []string { return mutualFlags(t, mutualUser, mutualSecret) },
			[]string{"target"}},
		{"digests that the target does not have", tgtConfig{digests: "None"},
			func(*testing.T) []string { return []string{"--header-digest", "crc32c"} },
			[]string{"HeaderDigest", "None"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.config.portals = 1
			g := startTgtd(t, test.config)
			line := refused(t, 1, g.urls(), test.flags(t)...)
			for _, word := range test.want {
				if !strings.Contains(line, word) {
					t.Errorf("%q says nothing of %q", line, word)
				}
			}
			for _, secret := range []string{chapSecret, mutualSecret, "not-the-secret"} {
				if strings.Contains(line, secret) {
					t.Errorf("%q tells a secret", line)
				}
			}
		})
	}
}
