package sim

import (
	"bytes"
	"fmt"
	"unsafe"
)

const (
	poison    = 0xdb
	minBuffer = 4 << 10
	maxBuffer = 256 << 10
	rest      = 24 // how many buffers of a class rest before one is used again
)

// memory is a pool of buffers that finds their misuse: a buffer that is given back is
// poisoned and rests for a while, so that who still reads it gets nonsense and who still
// writes to it is found out.
type memory struct {
	limit int64
	inUse int64
	peak  int64
	lent  map[*byte]int // length given out
	free  map[int][][]byte
	fault string // the first misuse
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, lent: map[*byte]int{}, free: map[int][][]byte{}}
}

// Get implements nbd.Pool.
func (m *memory) Get(n int) []byte {
	if n <= 0 || n > maxBuffer {
		panic(fmt.Sprintf("sim: a buffer of %d bytes is asked for", n))
	}
	class := minBuffer
	for class < n {
		class *= 2
	}
	if m.inUse+int64(class) > m.limit {
		return nil
	}
	var b []byte
	if f := m.free[class]; len(f) > rest {
		b, m.free[class] = f[0], f[1:]
		m.check(b)
	} else {
		b = make([]byte, class)
		fill(b)
	}
	m.inUse += int64(class)
	m.peak = max(m.peak, m.inUse)
	m.lent[unsafe.SliceData(b)] = n
	return b[:n]
}

// Put implements nbd.Pool and mpath.Pool.
func (m *memory) Put(b []byte) {
	key := unsafe.SliceData(b)
	n, ok := m.lent[key]
	if !ok {
		panic("sim: a buffer is given back that is not lent, or twice, or in part")
	}
	b = b[:cap(b)]
	if len(b) < n {
		panic("sim: a buffer is given back shortened")
	}
	delete(m.lent, key)
	m.inUse -= int64(len(b))
	fill(b)
	m.free[len(b)] = append(m.free[len(b)], b)
}

func fill(b []byte) { copy(b, poisoned) }

var poisoned = bytes.Repeat([]byte{poison}, maxBuffer)

// check finds out whether a resting buffer was written to.
func (m *memory) check(b []byte) {
	if bytes.Equal(b, poisoned[:len(b)]) || m.fault != "" {
		return
	}
	for i, x := range b {
		if x != poison {
			m.fault = fmt.Sprintf("a buffer of %d bytes was written to at %d after it was given back",
				len(b), i)
			return
		}
	}
}

// checkAll looks at every resting buffer.
func (m *memory) checkAll() {
	for class := minBuffer; class <= maxBuffer; class *= 2 {
		for _, b := range m.free[class] {
			m.check(b)
		}
	}
}
