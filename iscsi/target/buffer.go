package target

import "math/bits"

const (
	minBufferBits = 8  // 256 bytes
	maxBufferBits = 25 // 32 MiB
	keepBits      = 22 // larger ones are not kept
)

// A buffer is a piece of memory that one task or one queued PDU owns.
type buffer struct {
	b     []byte // all of it
	class uint8
}

// buffers keeps buffers by powers of two. What is out is bounded.
type buffers struct {
	free  [maxBufferBits + 1][]*buffer
	limit int // bytes
	out   int // bytes
}

// get returns a buffer of at least n bytes, or nil if too many bytes are out.
func (p *buffers) get(n int) *buffer {
	class := classOf(n)
	if p.out+1<<class > p.limit {
		return nil
	}
	return p.take(class)
}

// must returns a buffer of at least n bytes whatever is out. It is for answers,
// whose number is bounded by other means.
func (p *buffers) must(n int) *buffer { return p.take(classOf(n)) }

func classOf(n int) uint8 {
	class := max(bits.Len(uint(max(n, 1)-1)), minBufferBits)
	if class > maxBufferBits {
		panic("target: buffer too large")
	}
	return uint8(class)
}

func (p *buffers) take(class uint8) *buffer {
	p.out += 1 << class
	list := p.free[class]
	if len(list) == 0 {
		return &buffer{b: make([]byte, 1<<class), class: class}
	}
	b := list[len(list)-1]
	p.free[class] = list[:len(list)-1]
	return b
}

func (p *buffers) put(b *buffer) {
	p.out -= 1 << b.class
	if p.out < 0 {
		panic("target: buffer given back twice")
	}
	if b.class <= keepBits {
		p.free[b.class] = append(p.free[b.class], b)
	}
}
