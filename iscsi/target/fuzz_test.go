package target

import (
	"encoding/binary"
	"testing"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// feed gives bytes to a connection as long as it takes any, and throws away what
// it answers.
func (p *peer) feed(data []byte) {
	for len(data) > 0 && !p.dead {
		n := 0
		for _, b := range p.c.RecvBuffers(nil) {
			n += copy(b, data[n:])
		}
		if n == 0 {
			break
		}
		p.c.Received(p.b.now, n)
		data = data[n:]
		p.b.check()
		p.discard()
	}
}

func (p *peer) discard() {
	for p.c.HasOutput() {
		n := 0
		for _, b := range p.c.SendBuffers(nil) {
			n += len(b)
		}
		p.c.Sent(p.b.now, n)
	}
	if p.c.Want() != WantNothing {
		p.c.Released()
		p.dead = true
	}
}

// check looks for what must always hold.
func (b *bench) check() {
	for _, s := range b.t.sessions {
		parked, active := 0, 0
		for k := s.first; k != nil; k = k.next {
			parked++
			if s.tasks[k.itt] != k {
				b.Fatal("a parked task is not in the table")
			}
		}
		if parked != len(s.tasks) {
			b.Fatalf("%d tasks in the list, %d in the table", parked, len(s.tasks))
		}
		for k := s.first; k != nil; k = k.next {
			if k.delivered && !k.immediate {
				active++
			}
		}
		for _, c := range s.conns {
			held := 0
			for i := range c.queue.n {
				held += c.queue.ring[(c.queue.head+i)%len(c.queue.ring)].in.held
			}
			for i := range c.unacked.n {
				a := c.unacked.at(i)
				if a.k != nil {
					held += a.k.in.held
				}
				if a.buf != nil {
					held += len(a.buf.b)
				}
				if a.statSN != c.statSN-uint32(c.unacked.n-i) {
					b.Fatal("a gap in what is kept")
				}
			}
			if held != c.held {
				b.Fatalf("%d bytes are kept, counted %d", held, c.held)
			}
		}
		if active != s.active || s.active > b.t.cfg.QueueDepth {
			b.Fatalf("%d tasks are active, counted %d", active, s.active)
		}
	}
}

// A step of the fuzzer is a header, whose data segment and numbers are made to
// fit so far that it is looked at.
const stepLen = pdu.HeaderLen + 2

func fuzzStep(p *peer, step []byte) []byte {
	var h pdu.Header
	copy(h[:], step[2:])
	how := step[0]
	h[4] = 0 // no AHS
	n := int(step[1]) * 7
	if h.Opcode() == pdu.OpDataOut || h.Opcode() == pdu.OpSCSICommand {
		n = int(step[1]) * 128
	}
	h[5], h[6], h[7] = 0, byte(n>>8), byte(n)
	binary.BigEndian.PutUint32(h[16:], uint32(how&7)) // few task tags
	if s := p.c.session; s != nil && how&8 != 0 {
		binary.BigEndian.PutUint32(h[24:], s.expCmdSN+uint32(how>>6))
		for _, k := range s.tasks {
			if how&16 != 0 && k.out.outstanding > 0 && h.Opcode() == pdu.OpDataOut {
				binary.BigEndian.PutUint32(h[20:], k.out.bursts[0].ttt)
				binary.BigEndian.PutUint32(h[16:], k.itt)
				binary.BigEndian.PutUint32(h[40:], k.out.bursts[0].next)
			}
		}
	}
	if p.c.level > 0 && how&32 != 0 {
		binary.BigEndian.PutUint32(h[28:], p.c.statSN-uint32(how&3))
		if h.Opcode() == pdu.OpSNACK && h[1]&15 == pdu.SNACKStatus {
			binary.BigEndian.PutUint32(h[40:], p.c.acked+uint32(how&3))
		}
	}
	data := append(h[:], make([]byte, n)...)
	return append(data, make([]byte, pdu.PadLen(n))...)
}

func fuzzSeed(ms ...marshaler) []byte {
	var b []byte
	for _, m := range ms {
		var h pdu.Header
		m.Marshal(&h)
		b = append(append(b, 8, 0), h[:]...)
	}
	return b
}

func FuzzConn(f *testing.F) {
	read, write := scsi.Read16(0, 8, false), scsi.Write16(0, 8, false)
	same := scsi.WriteSame16(0, 9, false, false)
	f.Add(fuzzSeed(pdu.SCSICommand{Final: true, Read: true, ExpectedLen: 4096, CDB: read},
		pdu.NopOut{TTT: pdu.ReservedTag}, pdu.TextRequest{Final: true, TTT: pdu.ReservedTag}))
	f.Add(fuzzSeed(pdu.SCSICommand{Final: true, Write: true, ExpectedLen: 4096, CDB: write},
		pdu.DataOut{Final: true}, pdu.TaskRequest{Function: pdu.LUNReset, Immediate: true},
		pdu.SNACK{}, pdu.LogoutRequest{}))
	f.Add(fuzzSeed(pdu.SCSICommand{Write: true, ExpectedLen: 512, CDB: same},
		pdu.DataOut{Final: true, TTT: pdu.ReservedTag}, pdu.TaskRequest{Function: pdu.AbortTask}))
	f.Add(append(fuzzSeed(pdu.SCSICommand{Final: true, Read: true, ExpectedLen: 4096, CDB: read},
		pdu.SNACK{Type: pdu.SNACKData, BegRun: 3}, pdu.SNACK{Type: pdu.SNACKRData, TTT: 5},
		pdu.SNACK{Type: pdu.SNACKStatus}, pdu.SCSICommand{Final: true, Write: true,
			ExpectedLen: 4096, CDB: write}, pdu.SNACK{}, pdu.DataOut{Final: true}), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, Config{QueueDepth: 8, ErrorRecoveryLevel: len(data) % 3,
			MaxBurstLength: 1024, MaxRecvDataSegmentLength: 512, DefaultTime2Retain: 1})
		p := b.session("a", 0, 1)
		other := b.session("b", 1, 1)
		b.t.Delay(0, AnyCommand, 0, 3*time.Millisecond)
		b.t.ExecuteLate(true, 0, time.Millisecond)
		for len(data) >= stepLen {
			p.feed(fuzzStep(p, data[:stepLen]))
			data = data[stepLen:]
			b.advance(time.Millisecond)
			if p.discard(); p.dead {
				// The same session again where that is possible, else a new one.
				tsih := p.resp.TSIH
				p = b.connect(0)
				if len(data)%2 == 0 || p.login(offer("a"), 1, tsih, 1) != nil {
					p = b.connect(0)
					if err := p.login(offer("a"), 1, 0, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if !p.dead {
			p.c.Closed(b.now, nil)
		}
		b.advance(time.Minute)
		if r := other.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good &&
			r.sense.Key != scsi.UnitAttention {
			t.Error("the other session suffers:", r)
		}
		if b.t.failures != 0 {
			t.Errorf("%d connections still wait", b.t.failures)
		}
		if b.t.pool.out != 0 || len(b.t.delayed.heap) != 0 {
			t.Errorf("left behind: %d bytes of buffers, %d tasks", b.t.pool.out, len(b.t.delayed.heap))
		}
	})
}

// FuzzRaw gives any bytes to a connection from its beginning.
func FuzzRaw(f *testing.F) {
	var h pdu.Header
	pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3, DataLen: 4}.Marshal(&h)
	f.Add(append(h[:], "a=b\x00"...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, Config{})
		p := b.connect(0)
		p.feed(data)
		b.advance(time.Minute)
		if p.discard(); !p.dead {
			t.Error("a connection without login lives")
		}
	})
}
