package fscheck

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const trailLength = 40

// A worker does the operations on one file.
type worker struct {
	index int
	made  bool // the file is there already
	file  file
	model model
	plan  *plan
	data  []byte // what is written next
	read  []byte // what is read, as long as a whole file
	done  int    // operations
	bytes int64  // compared
	trail [trailLength]operation
}

// step does the next operation. The error tells the operations that led to it.
func (w *worker) step() error {
	o := w.plan.next(w.model.size())
	w.trail[w.done%trailLength] = o
	w.done++
	err := w.do(o)
	switch {
	case err == nil:
		return nil
	case unsupported(err) && !w.plan.missing[o.kind]:
		w.plan.missing[o.kind] = true
		return nil
	}
	return fmt.Errorf("%s, operation %v: %w\nbefore it:\n%s", w.file.name, o, err, w.history())
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

func (w *worker) history() string {
	var b strings.Builder
	for i := max(0, w.done-trailLength); i < w.done-1; i++ {
		fmt.Fprintf(&b, "  %v\n", w.trail[i%trailLength])
	}
	return b.String()
}

func (w *worker) do(o operation) error {
	switch o.kind {
	case read, readDirect, readMapped:
		return w.get(o)
	case write, writeDirect, writeMapped:
		return w.put(o)
	case truncate, allocate, allocateKeep, punch, zeroRange:
		return w.shape(o)
	case sync:
		return w.file.cached.Sync()
	case syncData:
		return unix.Fdatasync(int(w.file.cached.Fd()))
	case drop:
		return w.file.drop()
	case reopen:
		return errors.Join(w.file.close(), w.file.open())
	case rename:
		return w.file.rename()
	case replace:
		return w.file.replace(w.model.data)
	case whole:
		return w.verify()
	}
	panic("fscheck: an operation of no kind")
}

// get reads and compares.
func (w *worker) get(o operation) error {
	want := w.model.part(o.offset, o.length)
	got, err := w.read[:len(want)], error(nil)
	switch {
	case o.kind == readMapped:
		err = w.file.mapped(o.offset, o.length, func(b []byte) { copy(got, b) })
	case o.kind == readDirect && w.file.direct != nil:
		got, err = readAt(w.file.direct, w.read[:o.length], o.offset)
	default:
		got, err = readAt(w.file.cached, w.read[:o.length], o.offset)
	}
	if err != nil {
		return err
	}
	w.bytes += int64(len(got))
	return compare(got, want, o.offset)
}

// put writes, and tells the model.
func (w *worker) put(o operation) error {
	b := w.data[:o.length]
	stamp(b, o.offset, w.index, o.number)
	var err error
	switch {
	case o.kind == writeMapped:
		err = w.putMapped(b, o.offset)
	case o.kind == writeDirect && w.file.direct != nil:
		_, err = w.file.direct.WriteAt(b, o.offset)
	default:
		_, err = w.file.cached.WriteAt(b, o.offset)
	}
	if err == nil {
		w.model.write(b, o.offset)
	}
	return err
}

// putMapped writes by a memory map, which has to lie within the file.
func (w *worker) putMapped(b []byte, at int64) error {
	if end := at + int64(len(b)); end > w.model.size() {
		if err := w.file.cached.Truncate(end); err != nil {
			return err
		}
		w.model.resize(end)
	}
	return w.file.mapped(at, int64(len(b)), func(m []byte) { copy(m, b) })
}

// shape changes what the file is made of.
func (w *worker) shape(o operation) (err error) {
	end := o.offset + o.length
	switch o.kind {
	case truncate:
		if err = w.file.cached.Truncate(o.offset); err == nil {
			w.model.resize(o.offset)
		}
	case allocate:
		if err = w.file.fallocate(0, o.offset, o.length); err == nil {
			w.model.resize(max(w.model.size(), end))
		}
	case allocateKeep:
		err = w.file.fallocate(unix.FALLOC_FL_KEEP_SIZE, o.offset, o.length)
	case punch:
		err = w.file.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, o.offset,
			o.length)
		if err == nil {
			w.model.zero(o.offset, o.length)
		}
	case zeroRange:
		if err = w.file.fallocate(unix.FALLOC_FL_ZERO_RANGE, o.offset, o.length); err == nil {
			w.model.resize(max(w.model.size(), end))
			w.model.zero(o.offset, o.length)
		}
	}
	return err
}

// verify compares the whole file with the model, from the device.
func (w *worker) verify() error {
	if err := w.file.drop(); err != nil {
		return err
	}
	info, err := w.file.cached.Stat()
	if err != nil {
		return err
	}
	if info.Size() != w.model.size() {
		return fmt.Errorf("the file has %d bytes, not %d", info.Size(), w.model.size())
	}
	got, err := readAt(w.file.cached, w.read[:w.model.size()], 0)
	if err != nil {
		return err
	}
	w.bytes += int64(len(got))
	return compare(got, w.model.data, 0)
}
