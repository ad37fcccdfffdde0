// Package fuzz is what the fuzz tests of whole engines share: the fuzzer's input as the
// decisions of a run.
package fuzz

import "math/rand/v2"

// A Source makes the decisions of a run out of the fuzzer's input. When that is used up it
// goes on with numbers of its own, since rand draws again until it likes what it gets. It
// implements rand.Source.
type Source struct {
	Input []byte // what is not used yet
	more  uint64
}

// Uint64 implements rand.Source.
func (s *Source) Uint64() uint64 {
	if len(s.Input) == 0 {
		s.more += 0x9e3779b97f4a7c15
		return s.more ^ s.more>>29
	}
	x := s.Input[0]
	s.Input = s.Input[1:]
	return uint64(x) * 0x0101010101010101
}

// Noise is n bytes of input to begin with, the same for the same numbers.
func Noise(seed, stream uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, stream))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}
