package pdu_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"braid/iscsi/pdu"
)

// sample is a PDU in a test's stream.
type sample struct {
	header pdu.Header
	ahs    []byte
	data   []byte
	broken bool // the data digest is to be wrong
}

// encode appends the PDU as it is on the wire: header, AHS, header digest, data,
// padding, data digest (RFC 7143 section 11.1).
func (s sample) encode(dst []byte, headerDigest, dataDigest bool) []byte {
	start := len(dst)
	dst = append(dst, s.header[:]...)
	dst = append(dst, s.ahs...)
	if headerDigest {
		dst = appendDigest(dst, pdu.Digest(dst[start:]))
	}
	start = len(dst)
	dst = append(dst, s.data...)
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	if dataDigest && len(s.data) > 0 {
		crc := pdu.Digest(dst[start:])
		if s.broken {
			crc ^= 1 << 9
		}
		dst = appendDigest(dst, crc)
	}
	return dst
}

func appendDigest(dst []byte, crc uint32) []byte {
	return append(dst, byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24))
}

// dataIn is a Data-In with the given tag and n bytes of data made from it.
func dataIn(itt uint32, n int) sample {
	s := sample{data: make([]byte, n)}
	for i := range s.data {
		s.data[i] = byte(uint32(i)*7 + itt*31 + uint32(i)>>8)
	}
	pdu.DataIn{Final: true, ITT: itt, TTT: pdu.ReservedTag, DataLen: n}.Marshal(&s.header)
	return s
}

// withAHS gives the PDU words of additional header.
func (s sample) withAHS(words int) sample {
	s.header[4] = byte(words)
	s.ahs = bytes.Repeat([]byte{0xa1, 0xa2, 0xa3, 0xa4}, words)
	return s
}

// chooser places data segments by the tag: into buffers of its own where place
// says so.
type chooser struct {
	place  func(itt uint32) bool
	placed map[uint32][]byte
	asked  []uint32
}

func (c *chooser) Place(h *pdu.Header) []byte {
	c.asked = append(c.asked, h.ITT())
	if c.place == nil || !c.place(h.ITT()) {
		return nil
	}
	b := make([]byte, h.DataLen())
	if c.placed == nil {
		c.placed = map[uint32][]byte{}
	}
	c.placed[h.ITT()] = b
	return b
}

// feeder puts a stream into a receiver in chunks, as readv does, and writes down
// what comes out.
type feeder struct {
	r       *pdu.Receiver
	chunk   func(rest int) int
	pause   func() bool // leave PDUs in the receiver until after the next read
	bufs    [][]byte
	out     []string
	wrong   []string
	chooser *chooser
	err     error
}

func (f *feeder) feed(stream []byte) {
	for len(stream) > 0 {
		f.bufs = f.r.Buffers(f.bufs[:0])
		if len(f.bufs) == 0 {
			f.drain(false)
			if f.bufs = f.r.Buffers(f.bufs); len(f.bufs) == 0 {
				return
			}
		}
		n := min(max(f.chunk(len(stream)), 1), len(stream))
		taken := 0
		for _, b := range f.bufs {
			taken += copy(b, stream[taken:n])
		}
		stream = stream[taken:]
		f.r.Received(taken)
		f.drain(f.pause != nil && f.pause())
	}
	f.drain(false)
}

// drain takes PDUs: all that are there, or one at most.
func (f *feeder) drain(one bool) {
	for {
		p, ok, err := f.r.Next()
		if err != nil {
			f.err = err
		}
		if !ok {
			return
		}
		f.out = append(f.out, fmt.Sprintf("%x ahs %x data %d %x bad %v", p.Header[:], p.AHS,
			len(p.Data), pdu.Digest(p.Data), p.DataDigestError))
		if cap(p.Data) != len(p.Data) {
			f.wrong = append(f.wrong, "more than the data segment can be reached")
		}
		if b := f.chooser.placed[p.Header.ITT()]; b != nil && len(p.Data) > 0 && &b[0] != &p.Data[0] {
			f.wrong = append(f.wrong, fmt.Sprintf("tag %d is not where it was placed",
				p.Header.ITT()))
		}
		if one {
			return
		}
	}
}

// expected is what a feeder must write down for the samples.
func expected(samples []sample, dataDigest bool) []string {
	var out []string
	for _, s := range samples {
		out = append(out, fmt.Sprintf("%x ahs %x data %d %x bad %v", s.header[:], s.ahs,
			len(s.data), pdu.Digest(s.data), dataDigest && s.broken && len(s.data) > 0))
	}
	return out
}

// mixed is a stream with everything in it.
func mixed() []sample {
	var nop sample
	pdu.NopOut{Immediate: true, ITT: 1000, TTT: pdu.ReservedTag}.Marshal(&nop.header)
	samples := []sample{nop, nop.withAHS(255)}
	for i, n := range []int{
		1, 2, 3, 4, 5, 48, 512, 4096, 4095, 0, 8192, 16380, 16381, 16384, 16385, 20_001, 65536,
		7, 33_001, 3, 4096, 4096, 4096, 0, 40_000, 1,
	} {
		s := dataIn(uint32(i), n)
		s.broken = i%5 == 3
		samples = append(samples, s)
		if i%4 == 0 {
			samples = append(samples, dataIn(uint32(2000+i), n).withAHS(i%7+1), nop)
		}
	}
	return samples
}

// chunkers are ways in which a stream may arrive.
func chunkers(rnd *rand.Rand) map[string]func(int) int {
	return map[string]func(int) int{
		"byte by byte": func(int) int { return 1 },
		"all at once":  func(rest int) int { return rest },
		"48":           func(int) int { return 48 },
		"segments":     func(int) int { return 1448 },
		"random small": func(int) int { return rnd.IntN(9) + 1 },
		"random":       func(int) int { return rnd.IntN(1 << rnd.IntN(18)) },
	}
}

func testRand(t testing.TB) *rand.Rand {
	const seed = 20240611
	t.Helper()
	return rand.New(rand.NewPCG(seed, seed))
}
