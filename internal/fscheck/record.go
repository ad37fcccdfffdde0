package fscheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Records are made durable in turn in three ways: appended to a log with
// fdatasync, written over their place in a table with O_DSYNC, and put in place of
// a file with fsync, rename and an fsync of the folder.
const (
	logRecord   = 96   // bytes of one record of the log
	tableRecord = 4096 // and of the table, which a disk writes whole or not at all
	tablePlaces = 16
	saveFiles   = 8
	longestSave = 64 << 10
	ways        = 3
)

// Record makes the records first to last durable in a folder, and calls done after
// each.
func Record(folder string, seed uint64, first, last int, done func(n int) error) error {
	log, err := os.OpenFile(filepath.Join(folder, "log"),
		os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	table, err := openTable(filepath.Join(folder, "table"))
	if err != nil {
		return err
	}
	defer table.Close()
	if err := syncFolder(folder); err != nil {
		return err
	}
	for n := first; n <= last; n++ {
		switch n % ways {
		case 0:
			if _, err = log.Write(record(seed, n, logRecord)); err == nil {
				err = log.Sync()
			}
		case 1:
			_, err = table.WriteAt(record(seed, n, tableRecord), place(n)*tableRecord)
		case 2:
			err = save(folder, saveName(n), record(seed, n, saveLength(seed, n)))
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := done(n); err != nil {
			return err
		}
	}
	return nil
}

func openTable(path string) (*os.File, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := writeDurably(path, make([]byte, tablePlaces*tableRecord)); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_SYNC, 0)
}

func place(n int) int64 { return int64(n / ways % tablePlaces) }

func saveName(n int) string { return fmt.Sprintf("saved%d", n/ways%saveFiles) }

func saveLength(seed uint64, n int) int {
	return 64 + rand.New(rand.NewPCG(seed, uint64(n))).IntN(longestSave)
}

// record makes the content of a record: its number, words that follow from seed
// and number, and a checksum.
func record(seed uint64, n, length int) []byte {
	b := make([]byte, 8, length+8)
	binary.BigEndian.PutUint64(b, uint64(n))
	random := rand.New(rand.NewPCG(seed, uint64(n)^1<<63))
	for len(b) < length-4 {
		b = binary.BigEndian.AppendUint64(b, random.Uint64())
	}
	b = b[:length-4]
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// expect tells what is wrong with b: it is no whole record, or not one that may be
// there.
func expect(seed uint64, b []byte, may func(n int) bool) error {
	if len(b) < 12 {
		return fmt.Errorf("it has %d bytes", len(b))
	}
	n := int(binary.BigEndian.Uint64(b))
	if !bytes.Equal(b, record(seed, n, len(b))) {
		return fmt.Errorf("it is no record, it begins with %x", b[:12])
	}
	if !may(n) {
		return fmt.Errorf("it is record %d of %d bytes", n, len(b))
	}
	return nil
}

// Recall checks that all records from first up to last are there, or such later
// ones as took their place.
func Recall(folder string, seed uint64, first, last int) error {
	if last < first {
		return nil
	}
	return errors.Join(recallLog(folder, seed, first, last), recallTable(folder, seed, first, last),
		recallSaved(folder, seed, first, last))
}

// recallLog may find more than it looks for, and behind that what was not synced.
func recallLog(folder string, seed uint64, first, last int) error {
	b, err := os.ReadFile(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	for n := first; n <= last; n++ {
		if n%ways != 0 {
			continue
		}
		if len(b) < logRecord {
			return fmt.Errorf("log: record %d is missing", n)
		}
		err := expect(seed, b[:logRecord], func(got int) bool { return got == n })
		if err != nil {
			return fmt.Errorf("log: record %d should be there: %w", n, err)
		}
		b = b[logRecord:]
	}
	return nil
}

func recallTable(folder string, seed uint64, first, last int) error {
	b, err := os.ReadFile(filepath.Join(folder, "table"))
	if err != nil {
		return err
	}
	if len(b) != tablePlaces*tableRecord {
		return fmt.Errorf("table: %d bytes", len(b))
	}
	// Later records come last, so each place is judged by the newest that it must hold.
	want := map[int64]int{}
	for n := first; n <= last; n++ {
		if n%ways == 1 {
			want[place(n)] = n
		}
	}
	for p := range int64(tablePlaces) {
		n, expected := want[p]
		if !expected {
			continue
		}
		err := expect(seed, b[p*tableRecord:(p+1)*tableRecord], func(got int) bool {
			return got >= n && got%ways == 1 && place(got) == p
		})
		if err != nil {
			return fmt.Errorf("table: place %d should hold record %d or later: %w", p, n, err)
		}
	}
	return nil
}

func recallSaved(folder string, seed uint64, first, last int) error {
	want := map[string]int{}
	for n := first; n <= last; n++ {
		if n%ways == 2 {
			want[saveName(n)] = n
		}
	}
	for k := range saveFiles {
		name := saveName(k*ways + 2)
		n, expected := want[name]
		if !expected {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		err = expect(seed, b, func(got int) bool {
			return got >= n && saveName(got) == name && len(b) == saveLength(seed, got)
		})
		if err != nil {
			return fmt.Errorf("%s should hold record %d or later: %w", name, n, err)
		}
	}
	return nil
}
