package logwrites

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden are the heads of a log's sectors, 512 bytes each, the rest zero: a write
// of one sector, a flush, a mark, a discard of two sectors, a forced write, the end.
var golden = []string{
	"726873776673 6a00 0100000000000000 0600000000000000 00020000",
	"0300000000000000 0100000000000000 0000000000000000 0000000000000000",
	"6161",
	"0000000000000000 0000000000000000 0100000000000000 0000000000000000",
	"0000000000000000 0000000000000000 0800000000000000 0200000000000000 6d31",
	"0300000000000000 0200000000000000 0400000000000000 0000000000000000",
	"0100000000000000 0100000000000000 1200000000000000 0000000000000000",
	"6262",
	"0000000000000000 0000000000000000 0800000000000000 1100000000000000" +
		"646d2d6c6f672d7772697465732d656e64",
}

func goldenLog(t testing.TB) []byte {
	var log []byte
	for _, head := range golden {
		b, err := hex.DecodeString(strings.ReplaceAll(head, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, append(b, make([]byte, 512-len(b))...)...)
	}
	return log
}

func TestEntries(t *testing.T) {
	l, err := Open(bytes.NewReader(goldenLog(t)))
	if err != nil {
		t.Fatal(err)
	}
	if l.Entries() != 6 || l.SectorSize() != 512 {
		t.Errorf("%d entries, sectors of %d", l.Entries(), l.SectorSize())
	}
	want := []string{
		"#0 1536+512 aa", "#1 flush ", `#2 mark "m1" `, "#3 discard 1536+1024 ",
		"#4 fua metadata 512+512 bb", `#5 mark "dm-log-writes-end" `,
	}
	for _, w := range want {
		e, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(l.Data(e))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String() + " " + string(bytes.TrimRight(data, "\x00")); got != w {
			t.Errorf("%s\nwant %s", got, w)
		}
	}
	if _, err := l.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	put := func(sector, at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[sector*512+at:], v)
			return b
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"nothing":           func([]byte) []byte { return nil },
		"magic":             put(0, 0, 1),
		"version":           put(0, 8, 2),
		"sector of 0":       put(0, 24, 0),
		"sector of 513":     put(0, 24, 513),
		"sector too large":  put(0, 24, 1<<20),
		"more entries":      put(0, 16, 7),
		"cut in an entry":   func(b []byte) []byte { return b[:8*512+100] },
		"offset too large":  put(1, 0, 1<<60),
		"length too large":  put(1, 8, 1<<60),
		"sum too large":     put(1, 8, 1<<54-4),
		"data past the log": put(1, 8, 1<<40),
		"mark too long":     put(4, 24, 481),
		"mark far too long": put(4, 24, 1<<63),
	} {
		l, err := Open(bytes.NewReader(change(goldenLog(t))))
		for err == nil {
			_, err = l.Next()
		}
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add(goldenLog(f))
	f.Add(goldenLog(f)[:700])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			e, err := l.Next()
			if err != nil {
				return
			}
			if e.Offset < 0 || e.Length < 0 || n > len(b)/512 {
				t.Fatalf("entry %d: %v", n, e)
			}
			l.Data(e)
		}
	})
}

func newImage(t *testing.T, size int64) (*Image, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	m, err := Create(path, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, path
}

// sectors shows the first byte of each sector of a file.
func sectors(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := ""
	for i := 0; i < len(b); i += 512 {
		if b[i] == 0 {
			s += "."
		} else {
			s += string(b[i])
		}
	}
	return s
}

func TestWalk(t *testing.T) {
	for _, c := range []struct {
		name   string
		points Points
		want   []string
	}{
		{"all", Points{}, []string{"#0  ...a....", "#1  ...a....", "#3 m1 ........", "#4 m1 .b......"}},
		{"flushes", Points{At: Flush | FUA}, []string{"#1  ...a....", "#4 m1 .b......"}},
		{"after", Points{After: "m1"}, []string{"#3 m1 ........", "#4 m1 .b......"}},
		{"first and last", Points{Most: 2}, []string{"#0  ...a....", "#4 m1 .b......"}},
		{"last", Points{Most: 1}, []string{"#4 m1 .b......"}},
	} {
		image, _ := newImage(t, 4096)
		path := filepath.Join(t.TempDir(), "copy")
		var got []string
		n, err := Walk(bytes.NewReader(goldenLog(t)), image, c.points, func(p Point) error {
			if err := image.Copy(path); err != nil {
				return err
			}
			number, _, _ := strings.Cut(p.Entry.String(), " ")
			got = append(got, number+" "+p.Mark+" "+sectors(t, path))
			return nil
		})
		if err != nil || n != len(c.want) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d points, %v:\n%q\nwant\n%q", c.name, n, err, got, c.want)
		}
	}
}

func TestWalkRefuses(t *testing.T) {
	short := goldenLog(t)
	short[16] = 5
	bad := errors.New("a check failed")
	for _, c := range []struct {
		name   string
		log    []byte
		size   int64
		points Points
		want   string
	}{
		{"no end", short, 4096, Points{}, ErrNoEnd.Error()},
		{"no such mark", goldenLog(t), 4096, Points{After: "m2"}, `no mark "m2"`},
		{"no such point", goldenLog(t), 4096, Points{At: Flush, After: "m1"}, "no such point"},
		{"small image", goldenLog(t), 1536, Points{At: FUA}, "beyond the device"},
		{"a check fails", goldenLog(t), 4096, Points{At: FUA}, "at entry #4 fua"},
	} {
		image, _ := newImage(t, c.size)
		_, err := Walk(bytes.NewReader(c.log), image, c.points, func(Point) error { return bad })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
