package target

import (
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// pump sends bytes to the target and throws away what it answers.
func (p *peer) pump(b []byte, bufs [][]byte) [][]byte {
	for len(b) > 0 {
		n := 0
		for _, r := range p.c.RecvBuffers(bufs[:0]) {
			n += copy(r, b[n:])
		}
		b = b[n:]
		p.c.Received(0, n)
		for p.c.HasOutput() {
			out := p.c.SendBuffers(bufs[:0])
			n := 0
			for _, v := range out {
				n += len(v)
			}
			p.c.Sent(0, n)
		}
	}
	return bufs
}

const batch = 32

// wire makes a batch of commands; patch sets the numbers of round i in it.
func wire(p *peer, cdb func(i int) [16]byte, write []byte, read int) (b []byte, patch func()) {
	var at []int
	for i := range batch {
		c := p.command(cdb(i), write, read)
		var h pdu.Header
		c.Marshal(&h)
		at = append(at, len(b))
		b = append(append(b, h[:]...), write...)
	}
	first := true
	return b, func() {
		if first {
			first = false
			return
		}
		for _, o := range at {
			h := (*pdu.Header)(b[o:])
			c, _ := pdu.ParseSCSICommand(h)
			c.CmdSN += batch
			c.ExpStatSN += batch
			c.ITT += batch
			c.Marshal(h)
		}
	}
}

func speed(
	b *testing.B, level int, store Store, cdb func(i int) [16]byte, write []byte, read int,
) {
	x := newBench(b, Config{ErrorRecoveryLevel: level, LUNs: []LUNConfig{{Store: store, WriteCache: true}}})
	p := x.session("speed", 0, 1)
	bufs := make([][]byte, 0, 256)
	full := pattern(1, 64<<10)
	for lba := uint64(0); lba < 16384; lba += 128 {
		if r := p.result(scsi.Write16(lba, 128, false), full, 0); r.status != scsi.Good {
			b.Fatal(r)
		}
	}
	w, patch := wire(p, cdb, write, read)
	patch()
	bufs = p.pump(w, bufs)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		patch()
		p.pump(w, bufs)
	}
	if n := p.c.unacked.n; n > batch {
		b.Errorf("%d answers are not acknowledged", n)
	}
}

func BenchmarkRead4K(b *testing.B) {
	store := newRAM(b, 64<<20)
	speed(b, 0, store, func(i int) [16]byte { return scsi.Read16(uint64(i*409&2047)*8, 8, false) }, nil, 4096)
}

// BenchmarkWrite4KKept and BenchmarkRead4KKept keep what error recovery may ask for.
func BenchmarkRead4KKept(b *testing.B) {
	store := newRAM(b, 64<<20)
	speed(b, 2, store, func(i int) [16]byte { return scsi.Read16(uint64(i*409&2047)*8, 8, false) },
		nil, 4096)
}

func BenchmarkWrite4KKept(b *testing.B) {
	store := newRAM(b, 64<<20)
	speed(b, 2, store, func(i int) [16]byte { return scsi.Write16(uint64(i*409&2047)*8, 8, false) },
		pattern(7, 4096), 0)
}

func BenchmarkWrite4K(b *testing.B) {
	store := newRAM(b, 64<<20)
	speed(b, 0, store, func(i int) [16]byte { return scsi.Write16(uint64(i*409&2047)*8, 8, false) },
		pattern(7, 4096), 0)
}

func BenchmarkRead64K(b *testing.B) {
	store := newRAM(b, 64<<20)
	speed(b, 0, store, func(i int) [16]byte { return scsi.Read16(uint64(i*37&127)*128, 128, false) }, nil,
		64<<10)
}

func BenchmarkVolatileWrite4K(b *testing.B) {
	v, err := NewVolatile(newRAM(b, 64<<20), 512, PerLUN)
	if err != nil {
		b.Fatal(err)
	}
	speed(b, 0, v, func(i int) [16]byte {
		return scsi.Write16(uint64(i*409&2047)*8, 8, false)
	}, pattern(7, 4096), 0)
}

// BenchmarkVolatileFresh writes blocks that were flushed before.
func BenchmarkVolatileFresh(b *testing.B) {
	v, err := NewVolatile(newRAM(b, 64<<20), 512, PerLUN)
	if err != nil {
		b.Fatal(err)
	}
	data := pattern(7, 4096)
	b.ReportAllocs()
	for i := range b.N {
		v.Submit(&Op{Kind: OpWrite, Offset: uint64(i%8192) * 4096, Length: 4096, Data: data})
		if i%8192 == 8191 {
			v.Submit(&Op{Kind: OpFlush})
		}
	}
}
