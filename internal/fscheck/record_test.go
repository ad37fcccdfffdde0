package fscheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testSeed = 3

func recorded(t *testing.T, last int) string {
	t.Helper()
	folder, next := t.TempDir(), 1
	err := Record(folder, testSeed, 1, last, func(n int) error {
		if n != next {
			t.Errorf("record %d after %d", n, next-1)
		}
		next++
		return nil
	})
	if err != nil || next != last+1 {
		t.Fatalf("up to %d: %v", next-1, err)
	}
	return folder
}

func TestRecall(t *testing.T) {
	folder := recorded(t, 100)
	for last := range 101 {
		if err := Recall(folder, testSeed, 1, last); err != nil {
			t.Errorf("up to %d: %v", last, err)
		}
	}
	if err := Record(folder, testSeed, 101, 110, func(int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := Recall(folder, testSeed, 1, 110); err != nil {
		t.Error(err)
	}
}

func TestRecallFinds(t *testing.T) {
	const last = 100 // 100 is of the table, 99 of the log, 98 saved
	for name, c := range map[string]struct {
		damage func(folder string) error
		want   string
	}{
		"nothing written yet": {func(f string) error { return os.RemoveAll(f) }, "no such file"},
		"log cut": {func(f string) error {
			return os.Truncate(filepath.Join(f, "log"), 33*logRecord-1)
		}, "record 99 is missing"},
		"log zero": {func(f string) error {
			return patch(filepath.Join(f, "log"), 5*logRecord, make([]byte, logRecord))
		}, "log: record 18 should be there"},
		"table old": {func(f string) error {
			old := record(testSeed, 100-ways*tablePlaces, tableRecord)
			return patch(filepath.Join(f, "table"), place(100)*tableRecord, old)
		}, "should hold record 100 or later: it is record 52"},
		"table torn": {func(f string) error {
			old := record(testSeed, 100-ways*tablePlaces, tableRecord)
			return patch(filepath.Join(f, "table"), place(100)*tableRecord, old[:512])
		}, "should hold record 100 or later"},
		"saved old": {func(f string) error {
			n := 98 - ways*saveFiles
			return os.WriteFile(filepath.Join(f, saveName(98)),
				record(testSeed, n, saveLength(testSeed, n)), 0)
		}, "should hold record 98 or later: it is record 74"},
		"saved empty": {func(f string) error {
			return os.Truncate(filepath.Join(f, saveName(98)), 0)
		}, "should hold record 98 or later"},
		"saved not": {func(f string) error {
			return os.Remove(filepath.Join(f, saveName(98)))
		}, "record 98: open"},
	} {
		folder := recorded(t, last)
		if err := c.damage(folder); err != nil {
			t.Fatal(err)
		}
		err := Recall(folder, testSeed, 1, last)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func patch(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, at)
	return err
}
