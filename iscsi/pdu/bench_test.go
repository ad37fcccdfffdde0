package pdu_test

import (
	"fmt"
	"testing"

	"braid/iscsi/pdu"
)

// onePlace puts every data segment into one buffer.
type onePlace []byte

func (p onePlace) Place(h *pdu.Header) []byte { return p[:h.DataLen()] }

// pump reads a stream into a receiver again and again, at most chunk bytes at a
// time, without allocating.
type pump struct {
	r      *pdu.Receiver
	stream []byte
	chunk  int
	bufs   [][]byte
}

func newPump(size, count, chunk int, digests bool) *pump {
	p := &pump{chunk: chunk, bufs: make([][]byte, 0, 4), r: pdu.NewReceiver(pdu.ReceiverConfig{
		MaxData: 1 << 20, Placer: make(onePlace, size), Buffer: 64 << 10})}
	p.r.SetDigests(digests, digests)
	for i := range count {
		p.stream = dataIn(uint32(i), size).encode(p.stream, digests, digests)
	}
	return p
}

// run takes the whole stream once and says how many PDUs came.
func (p *pump) run(tb testing.TB) int {
	count := 0
	for at := 0; at < len(p.stream); {
		p.bufs = p.r.Buffers(p.bufs[:0])
		end := min(at+p.chunk, len(p.stream))
		n := 0
		for _, b := range p.bufs {
			n += copy(b, p.stream[at+n:end])
		}
		at += n
		p.r.Received(n)
		for {
			got, ok, err := p.r.Next()
			if err != nil || got.DataDigestError {
				tb.Fatal("a bad PDU", err)
			}
			if !ok {
				break
			}
			count++
		}
	}
	return count
}

func BenchmarkReceiver(b *testing.B) {
	for _, size := range []int{0, 4096, 64 << 10, 256 << 10} {
		for _, digests := range []bool{false, true} {
			b.Run(fmt.Sprintf("data=%d/digests=%v", size, digests), func(b *testing.B) {
				p := newPump(size, 16, 256<<10, digests)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for n := 0; n < b.N; {
					n += p.run(b)
				}
			})
		}
	}
}

func BenchmarkSender(b *testing.B) {
	for _, size := range []int{0, 4096, 256 << 10} {
		for _, digests := range []bool{false, true} {
			b.Run(fmt.Sprintf("data=%d/digests=%v", size, digests), func(b *testing.B) {
				s := pdu.NewSender()
				s.SetDigests(digests, digests)
				d := dataIn(1, size)
				bufs := make([][]byte, 0, pdu.MaxSlices)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for n := 0; n < b.N; n += 16 {
					bufs = sendBatch(s, &d, bufs)
				}
			})
		}
	}
}

// sendBatch pushes 16 PDUs and sends them.
func sendBatch(s *pdu.Sender, d *sample, bufs [][]byte) [][]byte {
	for range 16 {
		s.Push(&d.header, d.data, pdu.Bulk)
	}
	for s.Len() > 0 {
		bufs = s.Buffers(bufs[:0])
		n := 0
		for _, b := range bufs {
			n += len(b)
		}
		s.Sent(n)
	}
	return bufs
}

func BenchmarkHeader(b *testing.B) {
	var h pdu.Header
	b.Run("SCSICommand.Marshal", func(b *testing.B) {
		c := pdu.SCSICommand{Final: true, Read: true, ITT: 1, ExpectedLen: 4096}
		for b.Loop() {
			c.CmdSN++
			c.Marshal(&h)
		}
	})
	b.Run("ParseDataIn", func(b *testing.B) {
		pdu.DataIn{Final: true, HasStatus: true, ITT: 1, DataLen: 4096}.Marshal(&h)
		for b.Loop() {
			if _, err := pdu.ParseDataIn(&h); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Nothing is allocated per PDU, once the buffers have grown.
func TestNoAllocations(t *testing.T) {
	check := func(name string, f func()) {
		t.Helper()
		f()
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, size := range []int{0, 3, 4096, 200_000} {
		for _, chunk := range []int{1448, 1 << 20} {
			p := newPump(size, 8, chunk, true)
			check(fmt.Sprintf("receive %d by %d", size, chunk), func() { p.run(t) })
		}
	}
	for _, n := range []int{4096, 200_000} {
		p := newPump(n, 8, 1448, true)
		p.r = pdu.NewReceiver(pdu.ReceiverConfig{MaxData: 1 << 20, Buffer: 64 << 10})
		p.r.SetDigests(true, true)
		check(fmt.Sprintf("receive %d, not placed", n), func() { p.run(t) })
	}
	s := pdu.NewSender()
	s.SetDigests(true, true)
	bufs := make([][]byte, 0, pdu.MaxSlices)
	d := dataIn(1, 4095)
	check("send", func() { bufs = sendBatch(s, &d, bufs) })
	var h pdu.Header
	c := pdu.SCSICommand{Write: true, Final: true, ITT: 1}
	check("command", func() {
		c.Marshal(&h)
		if _, err := pdu.ParseSCSICommand(&h); err != nil {
			t.Fatal(err)
		}
	})
}
