package fscheck

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testConfig(t *testing.T) Config {
	return Config{Folder: t.TempDir(), State: filepath.Join(t.TempDir(), "state"), Seed: 7,
		Files: 2, Size: 256 << 10, Ops: 200}
}

// TestRun works on whatever file system the tests' folder is on.
func TestRun(t *testing.T) {
	c := testConfig(t)
	for range 3 {
		r, err := Run(c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations != c.Files*c.Ops || r.Bytes < 1<<20 {
			t.Errorf("%v", r)
		}
		if _, err := Verify(c.Folder, c.State); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFinds damages the files behind the checker's back.
func TestFinds(t *testing.T) {
	one := func(path string, change func([]byte) []byte) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(b), 0)
	}
	for name, c := range map[string]struct {
		damage func(path string) error
		want   string
	}{
		"a byte": {func(p string) error {
			return one(p, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "1 bytes from"},
		"the last byte": {func(p string) error {
			return one(p, func(b []byte) []byte { return b[:len(b)-1] })
		}, "bytes, not"},
		"a byte more": {func(p string) error {
			return one(p, func(b []byte) []byte { return append(b, 0) })
		}, "bytes, not"},
		"the file": {os.Remove, "no such file"},
	} {
		cfg := testConfig(t)
		if _, err := Run(cfg); err != nil {
			t.Fatal(err)
		}
		if err := c.damage(largestFile(t, cfg.Folder)); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(cfg.Folder, cfg.State); err == nil || !strings.Contains(err.Error(),
			c.want) {
			t.Errorf("%s, verify: %v", name, err)
		}
		if _, err := Run(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, run: %v", name, err)
		}
	}
}

func largestFile(t *testing.T, folder string) string {
	t.Helper()
	all, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var size int64
	for _, e := range all {
		if i, err := e.Info(); err == nil && i.Size() > size {
			path, size = filepath.Join(folder, e.Name()), i.Size()
		}
	}
	return path
}

func TestPlanIsOfTheSeed(t *testing.T) {
	a, b, other := newPlan(1, 0, 0, 1<<20), newPlan(1, 0, 0, 1<<20), newPlan(2, 0, 0, 1<<20)
	seen, same := [kinds]bool{}, true
	for range 2000 {
		x := a.next(100000)
		if y := b.next(100000); x != y {
			t.Fatalf("%v, %v", x, y)
		}
		same = same && x == other.next(100000)
		seen[x.kind] = true
		if x.offset < 0 || x.length < 0 || x.kind != readDirect && x.offset+x.length > 1<<20 {
			t.Fatalf("%v", x)
		}
	}
	for k, s := range seen {
		if !s {
			t.Errorf("never: %v", kind(k))
		}
	}
	if same {
		t.Error("another seed makes the same operations")
	}
}

func TestModel(t *testing.T) {
	var m model
	m.write([]byte("abcdef"), 2)
	m.zero(3, 2)
	m.zero(7, 9)
	m.resize(6)
	m.resize(9)
	if want := "\x00\x00a\x00\x00d\x00\x00\x00"; string(m.data) != want {
		t.Errorf("%q, want %q", m.data, want)
	}
	if got := m.part(5, 100); string(got) != "d\x00\x00\x00" || len(m.part(50, 1)) != 0 {
		t.Errorf("%q", got)
	}
}

func TestCompare(t *testing.T) {
	want, got := make([]byte, 64), make([]byte, 64)
	stamp(want, 1003, 2, 77)
	copy(got, want)
	if err := compare(got, want, 1003); err != nil {
		t.Error(err)
	}
	stamp(got[21:37], 1024, 2, 76)
	err := compare(got, want, 1003)
	const words = "2 bytes from 1028 to 1036 are wrong: there is 0x030000004c000080 (file 2, " +
		"operation 76, offset 1024), and should be 0x030000004d000080 (file 2, operation 77, offset 1024)"
	if err == nil || err.Error() != words {
		t.Errorf("%v\nwant %s", err, words)
	}
	// A word is the same whatever the writes that it was cut from.
	part := make([]byte, 64)
	for i := 0; i < 64; i += 5 {
		stamp(part[i:min(64, i+5)], 1003+int64(i), 2, 77)
	}
	if !bytes.Equal(part, want) {
		t.Errorf("%x\n%x", part, want)
	}
}

func TestConfig(t *testing.T) {
	for i, c := range []Config{
		{Files: 0, Size: 4096, Ops: 1}, {Files: 251, Size: 4096, Ops: 1},
		{Files: 1, Size: 0, Ops: 1}, {Files: 1, Size: 5000, Ops: 1},
		{Files: 1, Size: 1 << 30, Ops: 1}, {Files: 1, Size: 4096},
	} {
		if _, err := Run(c); err == nil {
			t.Errorf("%d is taken", i)
		}
	}
}
