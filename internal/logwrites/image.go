package logwrites

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// An Image is a sparse file that becomes what the logged device was.
type Image struct {
	file   *os.File
	size   int64
	buffer []byte
}

const copyUnit = 1 << 20 // bytes that are copied at a time

// Create makes an empty image of a number of bytes at path. What was there is
// lost.
func Create(path string, size int64) (*Image, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return &Image{file: f, size: size, buffer: make([]byte, copyUnit)}, nil
}

// Close closes the file; the image stays.
func (m *Image) Close() error { return m.file.Close() }

// Apply does to the image what an entry did to the device. What was discarded
// reads as zeroes. An entry outside of the image is an error.
func (m *Image) Apply(l *Log, e Entry) error {
	if e.Has(Mark) || e.Length == 0 {
		return nil
	}
	if e.Offset > m.size || e.Length > m.size-e.Offset {
		return fmt.Errorf("entry %v ends beyond the device of %d bytes", e, m.size)
	}
	if e.Has(Discard) {
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		return unix.Fallocate(int(m.file.Fd()), mode, e.Offset, e.Length)
	}
	n, err := io.CopyBuffer(io.NewOffsetWriter(m.file, e.Offset), onlyReader{l.Data(e)}, m.buffer)
	if err == nil && n < e.Length {
		err = fmt.Errorf("%w: entry %v: %w", ErrFormat, e, io.ErrUnexpectedEOF)
	}
	return err
}

// onlyReader keeps io.CopyBuffer from asking for anything but reads into its
// buffer.
type onlyReader struct{ io.Reader }

// Copy makes path a sparse copy of the image as it is now, so that a check may
// write to it.
func (m *Image) Copy(path string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := to.Truncate(m.size); err != nil {
		return err
	}
	for at := int64(0); ; {
		from, err := unix.Seek(int(m.file.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return to.Close()
		}
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		end, err := unix.Seek(int(m.file.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		part := io.NewSectionReader(m.file, from, end-from)
		if _, err := io.CopyBuffer(io.NewOffsetWriter(to, from), onlyReader{part},
			m.buffer); err != nil {
			return err
		}
		at = end
	}
}
