package fscheck

import (
	"encoding/binary"
	"fmt"
)

// A model is what a file must contain.
type model struct {
	data []byte // its length is the file's
}

func (m *model) size() int64 { return int64(len(m.data)) }

// resize cuts the file or lets it grow with zeroes.
func (m *model) resize(size int64) {
	if size <= m.size() {
		m.data = m.data[:size]
		return
	}
	old := m.size()
	if size > int64(cap(m.data)) {
		m.data = append(make([]byte, 0, size), m.data...)
	}
	m.data = m.data[:size]
	clear(m.data[old:])
}

func (m *model) write(b []byte, at int64) {
	m.resize(max(m.size(), at+int64(len(b))))
	copy(m.data[at:], b)
}

// zero makes a range zero, as far as the file reaches.
func (m *model) zero(at, length int64) {
	if at < m.size() {
		clear(m.data[at:min(m.size(), at+length)])
	}
}

// part is what a read of a range must give, which ends with the file.
func (m *model) part(at, length int64) []byte {
	at = min(at, m.size())
	return m.data[at:min(m.size(), at+length)]
}

// stamp fills b, which stands at an offset of a file, so that each word of eight
// bytes tells which operation wrote it, and where.
func stamp(b []byte, at int64, file int, op uint64) {
	var word [8]byte
	for i := 0; i < len(b); {
		o := at + int64(i)
		binary.BigEndian.PutUint64(word[:], mark(file, op, o))
		i += copy(b[i:], word[o%8:])
	}
}

// mark is the word: a file of 8 bits, an operation of 32, a place of 24.
func mark(file int, op uint64, at int64) uint64 {
	return uint64(file+1)<<56 | op&0xffffffff<<24 | uint64(at/8)&0xffffff
}

// compare tells where got differs from want, both read at an offset.
func compare(got, want []byte, at int64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes were read at %d, not %d", len(got), at, len(want))
	}
	first, wrong := -1, 0
	for i := range got {
		if got[i] != want[i] {
			wrong++
			if first < 0 {
				first = i
			}
		}
	}
	if wrong == 0 {
		return nil
	}
	last := len(got) - 1
	for got[last] == want[last] {
		last--
	}
	return fmt.Errorf("%d bytes from %d to %d are wrong: there is %s, and should be %s", wrong,
		at+int64(first), at+int64(last), explain(got, first, at), explain(want, first, at))
}

// explain says what wrote the word that byte i of b is in.
func explain(b []byte, i int, at int64) string {
	start := i - int((at+int64(i))%8)
	if start < 0 || start+8 > len(b) {
		return fmt.Sprintf("%#x", b[i])
	}
	w := binary.BigEndian.Uint64(b[start:])
	if w == 0 {
		return "zeroes"
	}
	place := w & 0xffffff * 8
	return fmt.Sprintf("%#016x (file %d, operation %d, offset %d)", w, int(w>>56)-1,
		w>>24&0xffffffff, place)
}
