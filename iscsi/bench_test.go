package iscsi

import (
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// An echo is a target that answers every read of 4 KiB and every write without
// allocation, so that what is measured is the session.
type echo struct {
	r    *rig
	p    *peer
	bufs [][]byte
	cmd  scsi.Command
	data []byte
	h    pdu.Header
}

func newEcho(t *testing.T, dir scsi.Direction, n, erl int) *echo {
	r := newUp(t, 1, level(erl))
	e := &echo{r: r, p: r.peers[0], bufs: make([][]byte, 0, 2*pdu.MaxSlices)}
	e.cmd = scsi.Command{Dir: dir, Data: make([]byte, n), Timeout: 30 * second}
	e.data = make([]byte, n)
	return e
}

// round takes one command through the session.
func (e *echo) round() {
	r, c := e.r, e.p.c
	r.s.Submit(r.now, &e.cmd)
	sent := 0
	var itt uint32
	e.bufs = c.SendBuffers(e.bufs[:0])
	itt = (*pdu.Header)(e.bufs[0]).ITT()
	for _, b := range e.bufs {
		sent += len(b)
	}
	c.Sent(r.now, sent)
	r.exp++
	h := &e.h
	exp, top := e.p.window()
	if e.cmd.Dir == scsi.Read {
		pdu.DataIn{ITT: itt, TTT: pdu.ReservedTag, Final: true, HasStatus: true, StatSN: e.p.sn(),
			ExpCmdSN: exp, MaxCmdSN: top, DataLen: len(e.data)}.Marshal(h)
	} else {
		pdu.SCSIResponse{ITT: itt, StatSN: e.p.sn(), ExpCmdSN: exp, MaxCmdSN: top}.Marshal(h)
	}
	e.receive(h[:])
	if e.cmd.Dir == scsi.Read {
		e.receive(e.data)
	}
	if r.s.Completed() != &e.cmd || e.cmd.Err != nil {
		r.t.Fatalf("did not come back: %v, %v", e.cmd.Err, r.s.Err())
	}
	r.s.Deadline()
	r.s.Tick(r.now)
}

func (e *echo) receive(wire []byte) {
	for len(wire) > 0 {
		e.bufs = e.p.c.RecvBuffers(e.bufs[:0])
		n := copy(e.bufs[0], wire)
		wire = wire[n:]
		e.p.c.Received(e.r.now, n)
	}
}

// Nothing is allocated per command.
func TestNoAllocation(t *testing.T) {
	for _, c := range []struct {
		name   string
		dir    scsi.Direction
		n, erl int
	}{
		{"read", scsi.Read, 4096, 0},
		{"write", scsi.Write, 4096, 0},
		{"large write", scsi.Write, 256 << 10, 0},
		{"read at level 2", scsi.Read, 4096, 2},
		{"write at level 2", scsi.Write, 4096, 2},
	} {
		e := newEcho(t, c.dir, c.n, c.erl)
		for range 1000 {
			e.round()
		}
		if n := testing.AllocsPerRun(500, e.round); n != 0 {
			t.Errorf("%s: %v allocations per command", c.name, n)
		}
	}
}

func BenchmarkRead4K(b *testing.B)  { benchmark(b, scsi.Read) }
func BenchmarkWrite4K(b *testing.B) { benchmark(b, scsi.Write) }

func benchmark(b *testing.B, dir scsi.Direction) {
	e := newEcho(&testing.T{}, dir, 4096, 0)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		e.round()
	}
}
