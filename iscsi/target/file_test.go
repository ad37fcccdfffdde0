package target

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// do does one operation and waits for it.
func (s *File) doNow(t *testing.T, done chan func(time.Duration), op Op) error {
	t.Helper()
	over := false
	op.Done = func(time.Duration) { over = true }
	if !s.Submit(&op) {
		(<-done)(0)
		if !over {
			t.Fatal("something else was posted")
		}
	}
	return op.Err
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	done := make(chan func(time.Duration), 10)
	post := func(f func(time.Duration)) { done <- f }
	s, err := OpenFile(FileConfig{Path: path, Size: 1 << 20, Post: post})
	if err != nil {
		t.Fatal(err)
	}
	data := noise(1, 8192)
	for _, op := range []Op{
		{Kind: OpWrite, Offset: 4096, Length: 8192, Data: data},
		{Kind: OpWrite, Offset: 0, Length: 512, Data: data[:512], FUA: true},
		{Kind: OpZero, Offset: 6000, Length: 100},
		{Kind: OpFlush},
	} {
		if err := s.doNow(t, done, op); err != nil {
			t.Fatalf("%+v: %v", op, err)
		}
	}
	want := bytes.Clone(data)
	clear(want[6000-4096 : 6100-4096])
	got := make([]byte, 8192)
	if err := s.doNow(t, done, Op{Kind: OpRead, Offset: 4096, Length: 8192, Data: got}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other data comes back")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.doNow(t, done, Op{Kind: OpFlush}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
		t.Error(info, err)
	}

	ro, err := OpenFile(FileConfig{Path: path, ReadOnly: true, Post: post})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if ro.Size() != 1<<20 {
		t.Error(ro.Size())
	}
	for _, op := range []Op{{Kind: OpWrite, Data: data}, {Kind: OpZero, Length: 4096}} {
		if err := ro.doNow(t, done, op); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%+v: %v", op.Kind, err)
		}
	}
}

func TestFileThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []FileConfig{
		{Path: filepath.Join(dir, "none")},
		{Path: empty},
		{Path: empty, Size: 4096, ReadOnly: true},
		{Path: filepath.Join(dir, "no", "such"), Size: 4096},
	} {
		if s, err := OpenFile(c); err == nil {
			s.Close()
			t.Errorf("%+v: no error", c)
		}
	}
}
