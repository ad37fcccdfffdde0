package logwrites

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Flags of an entry.
const (
	Flush    = 1 << iota // a flush, of everything that stands before it in the log
	FUA                  // written through the cache
	Discard              // no data
	Mark                 // a text that was put into the log; nothing was written
	Metadata             // the file system called it metadata
)

// EndMark is the last entry of a log that was closed in order. A log without it
// is cut short: the kernel stops logging, and says so in its own log only, when
// the log device is full.
const EndMark = "dm-log-writes-end"

const (
	magic     = 0x6a736677736872
	version   = 1
	superSize = 28
	entrySize = 32
	// sectors of the logged device are between these sizes, in bytes
	minSector, maxSector = 512, 65536
)

// ErrFormat is wrapped by the errors that say that this is no log, or one that is
// damaged.
var ErrFormat = errors.New("not a log of log-writes")

// An Entry is one request to the logged device.
type Entry struct {
	Index  uint64 // in the log, from 0
	Flags  uint64
	Offset int64  // in the device, in bytes
	Length int64  // in the device, in bytes
	Mark   string // of an entry with the flag Mark
	data   int64  // where its data is in the log, in bytes
}

// Has tells whether any of the flags is set.
func (e Entry) Has(flags uint64) bool { return e.Flags&flags != 0 }

func (e Entry) String() string {
	s := fmt.Sprintf("#%d", e.Index)
	for i, name := range []string{"flush", "fua", "discard", "mark", "metadata"} {
		if e.Has(1 << i) {
			s += " " + name
		}
	}
	if e.Has(Mark) {
		return fmt.Sprintf("%s %q", s, e.Mark)
	}
	if e.Length > 0 {
		s += fmt.Sprintf(" %d+%d", e.Offset, e.Length)
	}
	return s
}

// A Log reads the entries of a log in order.
type Log struct {
	r       io.ReaderAt
	sector  int64 // bytes
	entries uint64
	index   uint64 // of the next entry
	at      int64  // of the next entry, in bytes
	buffer  []byte
}

// Open reads the head of a log. The error wraps ErrFormat where it is none.
func Open(r io.ReaderAt) (*Log, error) {
	var head [superSize]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, superSize), head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if m := binary.LittleEndian.Uint64(head[0:]); m != magic {
		return nil, fmt.Errorf("%w: it begins with %#x", ErrFormat, m)
	}
	if v := binary.LittleEndian.Uint64(head[8:]); v != version {
		return nil, fmt.Errorf("%w: version %d", ErrFormat, v)
	}
	sector := int64(binary.LittleEndian.Uint32(head[24:]))
	if sector < minSector || sector > maxSector || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("%w: sectors of %d bytes", ErrFormat, sector)
	}
	return &Log{
		r: r, sector: sector, entries: binary.LittleEndian.Uint64(head[16:]),
		at: sector, buffer: make([]byte, sector),
	}, nil
}

// Entries is how many entries the log has.
func (l *Log) Entries() uint64 { return l.entries }

// SectorSize is the unit of the logged device, in bytes.
func (l *Log) SectorSize() int64 { return l.sector }

// Next reads the next entry; io.EOF after the last. Other errors wrap ErrFormat.
func (l *Log) Next() (Entry, error) {
	if l.index == l.entries {
		return Entry{}, io.EOF
	}
	// A read that ends exactly with the log may say io.EOF, which is not the end here.
	if n, err := l.r.ReadAt(l.buffer, l.at); n < len(l.buffer) {
		return Entry{}, fmt.Errorf("%w: entry %d: %w", ErrFormat, l.index, truncated(err))
	}
	e := Entry{Index: l.index, Flags: binary.LittleEndian.Uint64(l.buffer[16:])}
	length := binary.LittleEndian.Uint64(l.buffer[24:])
	room := uint64(l.sector - entrySize)
	if e.Has(Mark) && length > room {
		return Entry{}, fmt.Errorf("%w: entry %d: a mark of %d bytes", ErrFormat, l.index, length)
	}
	var ok bool
	if e.Offset, ok = l.bytes(binary.LittleEndian.Uint64(l.buffer[0:])); ok {
		e.Length, ok = l.bytes(binary.LittleEndian.Uint64(l.buffer[8:]))
	}
	if !ok || e.Offset+e.Length < 0 {
		return Entry{}, fmt.Errorf("%w: entry %d: out of any device's range", ErrFormat, l.index)
	}
	e.data = l.at + l.sector
	l.at = e.data
	if e.Has(Mark) {
		e.Mark = string(l.buffer[entrySize : entrySize+length])
	} else if !e.Has(Discard) {
		l.at += e.Length
	}
	if l.at < e.data {
		return Entry{}, fmt.Errorf("%w: entry %d: out of any log's range", ErrFormat, l.index)
	}
	l.index++
	return e, nil
}

// Data reads what an entry wrote: Length bytes, or none of a discard or a mark.
func (l *Log) Data(e Entry) *io.SectionReader {
	n := e.Length
	if e.Has(Discard | Mark) {
		n = 0
	}
	return io.NewSectionReader(l.r, e.data, n)
}

func (l *Log) bytes(sectors uint64) (int64, bool) {
	n := int64(sectors) * l.sector
	return n, sectors <= uint64(1<<63-1)/uint64(l.sector)
}

func truncated(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
