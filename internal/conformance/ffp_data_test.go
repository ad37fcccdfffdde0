package conformance

import (
	"fmt"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// bursts sets what may go without being asked for.
func bursts(initialR2T, immediate string, segment, first, burst, r2ts int) option {
	return answers("InitialR2T="+initialR2T, "ImmediateData="+immediate,
		fmt.Sprintf("MaxRecvDataSegmentLength=%d", segment),
		fmt.Sprintf("FirstBurstLength=%d", first), fmt.Sprintf("MaxBurstLength=%d", burst),
		fmt.Sprintf("MaxOutstandingR2T=%d", r2ts))
}

// payload counts the bytes of data.
func payload(list []*PDU) (n int) {
	for _, p := range list {
		n += len(p.Data)
	}
	return n
}

// asks sends R2Ts for the rest of a write, one after the other, and gives all
// Data-Out that came.
func (r *rig) asks(l *Link, q *PDU, from, total, burst int) (list []*PDU) {
	r.t.Helper()
	for sn := uint32(0); from < total; sn++ {
		n := min(burst, total-from)
		l.Send(l.Ready(q, sn, 0x100+sn, from, n))
		got := r.take(l)
		if payload(got) != n {
			r.t.Fatalf("%d bytes for an R2T of %d", payload(got), n)
		}
		list = append(list, got...)
		from += n
	}
	return list
}

// writes runs one write of 20000 bytes under these settings and checks what comes
// unasked: how much with the command, how much in all.
func writes(t *testing.T, initialR2T, immediate string, withCommand, unasked int) {
	t.Helper()
	const total, segment, first, burst = 20000, 1024, 4096, 8192
	r := newUp(t, bursts(initialR2T, immediate, segment, first, burst, 1))
	l := r.first()
	c := r.write(total)
	list := r.take(l)
	q := list[0]
	if len(q.Data) != withCommand || payload(list) != unasked {
		t.Errorf("InitialR2T=%s, ImmediateData=%s: %d with the command, %d in all; wanted %d, %d",
			initialR2T, immediate, len(q.Data), payload(list), withCommand, unasked)
	}
	if q.Final() != (len(list) == 1) {
		t.Errorf("F=%v and %d Data-Out", q.Final(), len(list)-1)
	}
	if q.U32(20) != total {
		t.Errorf("expected data transfer length %d", q.U32(20))
	}
	list = append(list, r.asks(l, q, unasked, total, burst)...)
	r.data(c, list...)
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_6_1_DataSN(t *testing.T) {
	r := newUp(t, bursts("No", "Yes", 512, 2048, 2048, 1))
	l := r.first()
	c := r.write(6144)
	list := r.take(l)
	q := list[0]
	for i, p := range list[1:] {
		if p.DataSN() != uint32(i) {
			t.Errorf("unsolicited Data-Out %d has DataSN %d", i, p.DataSN())
		}
	}
	for i := range 2 {
		l.Send(l.Ready(q, uint32(i), uint32(i), 2048*(i+1), 2048))
		for k, p := range r.many(l, DataOut, 4) {
			if p.DataSN() != uint32(k) {
				t.Errorf("R2T %d, Data-Out %d has DataSN %d", i, k, p.DataSN())
			}
		}
	}
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_8_1_UnsolicitedAndSolicited(t *testing.T) { writes(t, "No", "Yes", 1024, 4096) }
func TestFFP_8_2_Solicited(t *testing.T)               { writes(t, "Yes", "No", 0, 0) }
func TestFFP_8_3_Unsolicited(t *testing.T)             { writes(t, "No", "No", 0, 4096) }

func TestFFP_9_1_TargetTransferTag(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 512, 512, 1024, 1))
	l := r.first()
	c := r.write(4096)
	q := r.one(l, SCSI)
	var list []*PDU
	for i, ttt := range []uint32{0, 0xfffffffe, 0xdeadbeef, 1} {
		l.Send(l.Ready(q, uint32(i), ttt, 1024*i, 1024))
		for _, p := range r.many(l, DataOut, 2) {
			if p.TTT() != ttt || p.U64(8) != q.U64(8) || p.ITT() != q.ITT() {
				t.Errorf("for 0x%x: %x", ttt, p.H)
			}
			list = append(list, p)
		}
	}
	r.data(c, list...)
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_10_1_DataInStatus(t *testing.T) {
	r := newUp(t)
	l := r.first()
	c := r.read(8192)
	q := r.one(l, SCSI)
	want := pattern(8192)
	l.Send(l.Data(q, 0, 0, 0, want[:4096]))
	l.Send(l.Data(q, 1, 4096, FBit|SBit, want[4096:]))
	r.done(c)
	if string(c.Data) != string(want) {
		t.Error("the data read is another")
	}
	next := r.check()
	q = r.one(l, SCSI)
	if q.ExpStatSN() != l.StatSN {
		t.Errorf("ExpStatSN %d: the status in Data-In is not counted", q.ExpStatSN())
	}
	l.Good(q.ITT())
	r.done(next)
}

func TestFFP_11_1_1_DataOutSegment(t *testing.T) {
	for _, segment := range []int{512, 516, 1000, 8192} {
		r := newUp(t, bursts("Yes", "No", segment, 16384, 16384, 1))
		l := r.first()
		c := r.write(16384)
		q := r.one(l, SCSI)
		list := r.asks(l, q, 0, 16384, 16384)
		for i, p := range list {
			if len(p.Data) > segment || len(p.Data) < segment && i != len(list)-1 {
				t.Errorf("segment %d: Data-Out %d has %d bytes", segment, i, len(p.Data))
			}
		}
		r.data(c, list...)
	}
}

func TestFFP_11_1_2_DataInEmpty(t *testing.T) {
	r := newUp(t)
	l := r.first()
	c := r.read(512)
	q := r.one(l, SCSI)
	l.Send(l.Data(q, 0, 0, 0, nil))
	l.Send(l.Data(q, 1, 0, FBit, pattern(512)))
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_11_2_1_FBitUnsolicited(t *testing.T) {
	r := newUp(t, bursts("No", "No", 512, 2048, 8192, 1))
	r.write(8192)
	list := r.take(r.first())
	for i, p := range list[1:] {
		if p.Final() != (i == 3) {
			t.Errorf("Data-Out %d of 4: F=%v", i, p.Final())
		}
	}
}

func TestFFP_11_2_2_FBitSolicited(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 512, 2048, 8192, 1))
	l := r.first()
	r.write(8192)
	q := r.one(l, SCSI)
	l.Send(l.Ready(q, 0, 1, 0, 1025))
	for i, p := range r.many(l, DataOut, 3) {
		if p.Final() != (i == 2) {
			t.Errorf("Data-Out %d of 3: F=%v", i, p.Final())
		}
	}
}

func TestFFP_11_3_DataOutDataSN(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 512, 2048, 8192, 2))
	l := r.first()
	r.write(8192)
	q := r.one(l, SCSI)
	l.Send(l.Ready(q, 0, 1, 0, 1024))
	l.Send(l.Ready(q, 1, 2, 1024, 1024))
	for i, p := range r.many(l, DataOut, 4) {
		if p.DataSN() != uint32(i%2) || p.TTT() != uint32(1+i/2) {
			t.Errorf("Data-Out %d: DataSN %d for 0x%x", i, p.DataSN(), p.TTT())
		}
	}
}

func TestFFP_11_4_BufferOffset(t *testing.T) {
	r := newUp(t, bursts("No", "Yes", 512, 1024, 4096, 1))
	l := r.first()
	c := r.write(5120)
	list := r.take(l)
	list = append(list, r.asks(l, list[0], 1024, 5120, 4096)...)
	at := len(list[0].Data)
	for i, p := range list[1:] {
		if int(p.Offset()) != at {
			t.Errorf("Data-Out %d at %d, wanted %d", i, p.Offset(), at)
		}
		at += len(p.Data)
	}
	r.data(c, list...)
}

func TestFFP_12_1_R2TTargetTransferTag(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 8192, 2048, 8192, 1))
	l := r.first()
	r.write(4096)
	q := r.one(l, SCSI)
	l.Send(l.Ready(q, 0, 0x77, 0, 4096))
	p := r.one(l, DataOut)
	if p.TTT() != 0x77 || p.Offset() != 0 || len(p.Data) != 4096 || !p.Final() {
		t.Errorf("%x", p.H)
	}
}

func TestFFP_12_2_R2TOffsetAndLength(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 700, 2048, 8192, 1))
	l := r.first()
	c := r.write(8001)
	q := r.one(l, SCSI)
	var list []*PDU
	at := 0
	for i, n := range []int{1, 3, 700, 701, 4096, 2500} {
		l.Send(l.Ready(q, uint32(i), uint32(i), at, n))
		got := r.take(l)
		if payload(got) != n || int(got[0].Offset()) != at {
			t.Errorf("%d bytes at %d for an R2T of %d at %d", payload(got), got[0].Offset(), n, at)
		}
		list = append(list, got...)
		at += n
	}
	r.data(c, list...)
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_12_3_R2TOutOfOrder(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 512, 1024, 1024, 4), answers("DataSequenceInOrder=No"),
		offer(func(o *login.Offer) { o.DataSequenceInOrder, o.ErrorRecoveryLevel = false, 0 }))
	l := r.first()
	c := r.write(4096)
	q := r.one(l, SCSI)
	for i, at := range []int{2048, 0, 3072, 1024} {
		l.Send(l.Ready(q, uint32(i), uint32(i), at, 1024))
	}
	list := r.many(l, DataOut, 8)
	for i, p := range list {
		if p.TTT() != uint32(i/2) {
			t.Errorf("Data-Out %d is for R2T %d", i, p.TTT())
		}
	}
	r.data(c, list...)
	l.Good(q.ITT())
	r.done(c)
}

func TestFFP_12_4_ParallelCommands(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 512, 1024, 4096, 2))
	l := r.first()
	var cmds []*scsi.Command
	for range 4 {
		cmds = append(cmds, r.write(8192))
	}
	list := r.many(l, SCSI, 4)
	data := map[uint32][]*PDU{}
	for half := range 2 {
		for i := 3; i >= 0; i-- { // the last command first
			l.Send(l.Ready(list[i], uint32(half), uint32(10*half+i), 4096*half, 4096))
		}
	}
	for _, p := range r.many(l, DataOut, 4*16) {
		data[p.ITT()] = append(data[p.ITT()], p)
	}
	for i, q := range list {
		r.data(cmds[i], data[q.ITT()]...)
		l.Good(q.ITT())
	}
	r.done(cmds...)
}

func TestFFP_16_1_1_CommandWithImmediateData(t *testing.T) {
	writes(t, "Yes", "Yes", 1024, 1024)
	r := newUp(t, bursts("Yes", "Yes", 8192, 4096, 8192, 1))
	for _, n := range []int{1, 2, 3, 4, 511, 4096} {
		c := r.write(n)
		q := r.one(r.first(), SCSI)
		if len(q.Data) != n || !q.Final() || q.H[1]&0x60 != 0x20 || q.U64(8) != lunBytes {
			t.Errorf("write of %d: %x", n, q.H)
		}
		if string(q.H[32:48]) != string(c.CDB[:]) {
			t.Errorf("CDB %x, submitted %x", q.H[32:48], c.CDB)
		}
		r.data(c, q)
		r.first().Good(q.ITT())
		r.done(c)
	}
}

func TestFFP_16_1_2_CommandWithoutImmediateData(t *testing.T) {
	r := newUp(t, bursts("Yes", "No", 8192, 4096, 8192, 1))
	for _, n := range []int{1, 512, 4096} {
		r.write(n)
		if q := r.one(r.first(), SCSI); len(q.Data) != 0 || !q.Final() || int(q.U32(20)) != n {
			t.Errorf("write of %d: %x", n, q.H)
		}
	}
}

func TestFFP_16_2_1_ImmediateOnly(t *testing.T)      { writes(t, "Yes", "Yes", 1024, 1024) }
func TestFFP_16_2_2_NothingUnsolicited(t *testing.T) { writes(t, "Yes", "No", 0, 0) }
func TestFFP_16_2_3_NothingImmediate(t *testing.T)   { writes(t, "No", "No", 0, 4096) }
func TestFFP_16_2_4_FirstBurstOfBoth(t *testing.T)   { writes(t, "No", "Yes", 1024, 4096) }
func TestFFP_16_3_1_FBitWithoutDataOut(t *testing.T) { writes(t, "Yes", "Yes", 1024, 1024) }

func TestFFP_16_5_MaxCmdSNInResponse(t *testing.T) {
	r := newUp(t, window(3))
	l := r.first()
	c1, c2, c3, c4 := r.check(), r.check(), r.check(), r.check()
	list := r.many(l, SCSI, 3)
	r.target.Window = 0
	l.Good(list[0].ITT())
	l.Good(list[1].ITT())
	r.none(l)
	r.target.Window = 2
	l.Good(list[2].ITT())
	l.Good(r.one(l, SCSI).ITT())
	r.done(c1, c2, c3, c4)
}

func TestFFP_16_6_ExpectedDataTransferLength(t *testing.T) {
	r := newUp(t)
	l := r.first()
	for _, n := range []int{512, 4096, 100, 65536} {
		c := r.read(n)
		q := r.one(l, SCSI)
		if int(q.U32(20)) != n || q.H[1]&0x60 != 0x40 || !q.Final() {
			t.Errorf("read of %d: %x", n, q.H)
		}
		l.Send(l.Data(q, 0, 0, FBit|SBit, pattern(n)))
		r.done(c)
	}
	// Less than expected comes with an underflow, and counts as that.
	c := r.read(4096)
	q := r.one(l, SCSI)
	p := l.Data(q, 0, 0, FBit|SBit|0x02, pattern(96))
	l.Send(p.Set(44, 4, 4000))
	r.done(c)
	if c.Transferred != 96 {
		t.Errorf("%d bytes transferred", c.Transferred)
	}
	// None expected: neither R nor W, no length.
	r.check()
	if q := r.one(l, SCSI); q.U32(20) != 0 || q.H[1]&0x60 != 0 {
		t.Errorf("%x", q.H)
	}
}

// Statuses that a command may end with reach its owner as they are, once, and the
// session goes on: what is to be done about them (sending it anew, waiting) is the
// owner's, and it does it with a new command: new tag, new CmdSN.
func TestFFP_16_4_Statuses(t *testing.T) {
	for _, c := range []struct {
		name           string
		status         byte
		key, asc, ascq byte
	}{
		{"16.4.1 protocol service CRC error", 2, 0x0b, 0x47, 0x05},
		{"16.4.3 unexpected unsolicited data", 2, 0x0b, 0x0c, 0x0c},
		{"16.4.4 not enough unsolicited data", 2, 0x0b, 0x0c, 0x0d},
		{"16.4.5 BUSY", 0x08, 0, 0, 0},
		{"16.4.6 RESERVATION CONFLICT", 0x18, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t)
			l := r.first()
			w := r.write(4096)
			q := r.one(l, SCSI)
			var data []byte
			if c.status == 2 {
				data = sense(c.key, c.asc, c.ascq)
			}
			l.Send(l.Status(q.ITT(), c.status, data))
			e, ok := r.back(w)[w].(*scsi.StatusError)
			if !ok || byte(e.Status) != c.status || byte(e.Sense.Key) != c.key ||
				e.Sense.ASC != c.asc || e.Sense.ASCQ != c.ascq {
				t.Errorf("ended with %v", w.Err)
			}
			r.none(l)
			again := r.write(4096)
			p := r.one(l, SCSI)
			if p.ITT() == q.ITT() || p.CmdSN() != q.CmdSN()+1 {
				t.Errorf("the new command has tag 0x%x, CmdSN %d", p.ITT(), p.CmdSN())
			}
			l.Good(p.ITT())
			r.done(again)
		})
	}
}
