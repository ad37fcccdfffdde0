package fscheck

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A file is the one that is worked on, open twice: through the page cache and
// past it.
type file struct {
	folder string
	name   string
	cached *os.File
	direct *os.File // nil where the file system has no such thing

	undirected bool // do without direct
}

// open opens or creates the file.
func (f *file) open() error {
	path := filepath.Join(f.folder, f.name)
	var err error
	if f.cached, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if f.direct = nil; f.undirected {
		return nil
	}
	f.direct, err = os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		f.direct, err = nil, nil
	}
	return err
}

func (f *file) close() error {
	err := f.cached.Close()
	if f.direct != nil {
		err = errors.Join(err, f.direct.Close())
	}
	return err
}

// aligned makes a buffer for direct reads and writes.
func aligned(size int64) []byte {
	b := make([]byte, size+unit)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % unit
	return b[skip : skip+uintptr(size)]
}

func readAt(r io.ReaderAt, b []byte, at int64) ([]byte, error) {
	n, err := r.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// mapped calls use with a range of the file, mapped into memory. The range lies
// within the file. A device that cannot read or write a page answers with a
// fault, which becomes an error.
func (f *file) mapped(at, length int64, use func([]byte)) (err error) {
	start := at / unit * unit
	b, err := unix.Mmap(int(f.cached.Fd()), start, int(at-start+length),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("a mapped page could not be had: the device failed")
		}
	}()
	use(b[at-start:])
	return nil
}

func (f *file) fallocate(mode uint32, at, length int64) error {
	return os.NewSyscallError("fallocate",
		unix.Fallocate(int(f.cached.Fd()), mode, at, length))
}

// drop makes the file durable and forgets its pages, so that the next read comes
// from the device.
func (f *file) drop() error {
	if err := f.cached.Sync(); err != nil {
		return err
	}
	return os.NewSyscallError("fadvise",
		unix.Fadvise(int(f.cached.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// rename gives the file its other name.
func (f *file) rename() error {
	const suffix = ".renamed"
	to := f.name + suffix
	if n := len(f.name) - len(suffix); n > 0 && f.name[n:] == suffix {
		to = f.name[:n]
	}
	if err := os.Rename(filepath.Join(f.folder, f.name), filepath.Join(f.folder, to)); err != nil {
		return err
	}
	f.name = to
	return syncFolder(f.folder)
}

// replace puts a new file of some content into the place of this one, the way
// editors do it.
func (f *file) replace(content []byte) error {
	if err := save(f.folder, f.name, content); err != nil {
		return err
	}
	if err := f.close(); err != nil {
		return err
	}
	return f.open()
}

// save makes a file of some content durable under its name, at no time with
// another content.
func save(folder, name string, content []byte) error {
	path := filepath.Join(folder, name)
	if err := writeDurably(path+".new", content); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func writeDurably(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
