package conformance

import (
	"bytes"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// levelOne makes a session at error recovery level 1.
func levelOne(t *testing.T, options ...option) (*rig, *Link) {
	t.Helper()
	needs(t, 1)
	options = append([]option{answers("ErrorRecoveryLevel=1", "MaxOutstandingR2T=4",
		"InitialR2T=Yes", "ImmediateData=No")}, options...)
	r := newUp(t, options...)
	if r.s.Params().ErrorRecoveryLevel != 1 {
		t.Fatal("not at level 1")
	}
	return r, r.first()
}

// until lets time pass until the initiator sends a PDU of this kind, and answers
// its pings in between. What else it sent is lost.
func (r *rig) until(l *Link, op byte, within time.Duration) *PDU {
	r.t.Helper()
	for end := r.now + within; r.now <= end; r.sleep(250 * time.Millisecond) {
		for _, p := range r.take(l) {
			if p.Op() == op {
				return p
			}
			if p.Op() == NopOut && p.ITT() != None {
				l.Send(l.Nop(p.ITT(), None, 0, nil))
			}
		}
		if r.s.Err() != nil {
			break
		}
	}
	r.t.Fatalf("no %s within %v (session: %v)", opNames[op], within, r.s.Err())
	return nil
}

// asksFor checks a SNACK.
func asksFor(t *testing.T, p *PDU, kind byte, itt, begRun, run uint32) {
	t.Helper()
	if p.Op() != SNACK || p.H[1] != 0x80|kind || p.ITT() != itt || p.U32(40) != begRun ||
		p.U32(44) != run {
		t.Errorf("%x; wanted a SNACK of type %d for 0x%x from %d, %d of them", p.H, kind, itt,
			begRun, run)
	}
}

// dataOf makes the Data-In PDUs of a read, 1024 bytes each, without status.
func dataOf(l *Link, q *PDU, want []byte) (list []*PDU) {
	for at := 0; at < len(want); at += 1024 {
		end := min(at+1024, len(want))
		var flags byte
		if end == len(want) {
			flags = FBit
		}
		list = append(list, l.Data(q, uint32(at/1024), uint32(at), flags, want[at:end]))
	}
	return list
}

// status is a SCSI Response that says how many Data-In or R2T there were.
func withCount(p *PDU, n int) *PDU { return p.Set(atDataSN, 4, uint64(n)) }

// lost lets the Data-In from a to b get lost and checks that they are asked for.
func lost(t *testing.T, a, b int) {
	t.Helper()
	r, l := levelOne(t)
	want := pattern(8192)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	list := dataOf(l, q, want)
	for i, p := range list {
		if i < a || i >= b {
			l.Send(p)
		}
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), len(list)))
	if len(r.back()) != 0 {
		t.Fatal("done without all its data")
	}
	p := r.one(l, SNACK)
	if a == 0 && b == len(list) {
		run := p.U32(44) // 0 is all that there are
		if run != 0 && int(run) != len(list) {
			t.Errorf("run of %d", run)
		}
		asksFor(t, p, SNACKData, q.ITT(), 0, run)
	} else {
		asksFor(t, p, SNACKData, q.ITT(), uint32(a), uint32(b-a))
	}
	for _, p := range list[a:b] {
		l.Send(l.Numbered(p))
	}
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
	r.alive()
}

func TestER_3_2_DataSNACKSingle(t *testing.T) { lost(t, 2, 3) }
func TestER_3_3_DataSNACKRun(t *testing.T)    { lost(t, 1, 5) }
func TestER_3_4_DataSNACKAll(t *testing.T)    { lost(t, 0, 8) }

func TestER_3_1_R2TSNACK(t *testing.T) {
	r, l := levelOne(t)
	c := r.write(4096)
	q := r.one(l, SCSI)
	first := l.Ready(q, 0, 50, 0, 2048)
	l.Send(l.Ready(q, 1, 51, 2048, 2048)) // 0 was lost
	var sent []*PDU
	var snack *PDU
	for _, p := range r.take(l) {
		if p.Op() == SNACK {
			snack = p
		} else {
			sent = append(sent, p)
		}
	}
	if snack == nil {
		t.Fatal("the R2T that was lost is not asked for")
	}
	asksFor(t, snack, SNACKData, q.ITT(), 0, 1)
	// Both sequences are sent, each once.
	r.target.Judge.Lenient = map[string]bool{"11.8:": true} // the second was heard first
	l.Send(l.Numbered(first))
	sent = append(sent, r.take(l)...)
	r.data(c, sent...)
	if payload(sent) != 4096 {
		t.Errorf("%d bytes for 4096", payload(sent))
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 2))
	r.done(c)
}

func TestER_3_5_StatusSNACK(t *testing.T) {
	r, l := levelOne(t)
	c1, c2, c3 := r.check(), r.check(), r.check()
	list := r.many(l, SCSI, 3)
	s1 := l.Status(list[0].ITT(), 0, nil)
	s2 := l.Status(list[1].ITT(), 0, nil)
	l.Send(l.Status(list[2].ITT(), 0, nil))
	asksFor(t, r.one(l, SNACK), SNACKStatus, None, s1.U32(24), 2)
	l.Send(s1)
	l.Send(s2)
	r.done(c1, c2, c3)
	c := r.check()
	q := r.one(l, SCSI)
	if q.ExpStatSN() != l.StatSN {
		t.Errorf("ExpStatSN %d, %d is next", q.ExpStatSN(), l.StatSN)
	}
	l.Good(q.ITT())
	r.done(c)
}

// The last status is lost: nothing shows the gap until somebody asks.
func TestER_3_6_StatusSNACKAtTheEnd(t *testing.T) {
	r, l := levelOne(t)
	c := r.check()
	q := r.one(l, SCSI)
	lostOne := l.Status(q.ITT(), 0, nil)
	p := r.until(l, SNACK, 20*time.Second)
	asksFor(t, p, SNACKStatus, None, lostOne.U32(24), 1)
	l.Send(lostOne)
	r.done(c)
}

// Status that is lost with the last Data-In: the data is asked for, or the status.
func TestER_3_7_LastDataInLost(t *testing.T) {
	r, l := levelOne(t)
	want := pattern(2048)
	c := r.read(2048)
	q := r.one(l, SCSI)
	l.Send(l.Data(q, 0, 0, 0, want[:1024]))
	last := l.Data(q, 1, 1024, FBit|SBit, want[1024:])
	p := r.until(l, SNACK, 20*time.Second)
	if kind := p.H[1] & 0x0f; kind != SNACKStatus && kind != SNACKData {
		t.Errorf("type %d", kind)
	}
	l.Send(last)
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
}

// What a SNACK asks for does not come: it is asked for again, a bounded number of
// times; then the level below takes over.
func TestER_3_8_SNACKUnanswered(t *testing.T) {
	r, l := levelOne(t)
	c1, c2 := r.check(), r.check()
	list := r.many(l, SCSI, 2)
	l.Status(list[0].ITT(), 0, nil) // lost
	l.Good(list[1].ITT())
	n := 0
	for range 240 {
		for _, p := range r.take(l) {
			switch p.Op() {
			case SNACK:
				n++
			case NopOut:
				if r.s.Err() == nil {
					l.Send(l.Nop(p.ITT(), None, 0, nil))
				}
			}
		}
		if r.s.Err() != nil {
			break
		}
		r.sleep(250 * time.Millisecond)
	}
	if n < 2 || n > 20 || r.s.Err() == nil {
		t.Errorf("%d SNACKs in a minute, session: %v", n, r.s.Err())
	}
	r.back(c1, c2)
}

func TestER_1_1_InadvertentRetry(t *testing.T) {
	// The command had arrived, and its answer is on the way when the retry is
	// sent: it ends once, and what the target answers to the retry (nothing) is
	// not waited for.
	r, l := levelOne(t)
	c := r.check()
	q := r.one(l, SCSI)
	held := q.CmdSN()
	r.target.Held = &held
	again := r.until(l, SCSI, 30*time.Second)
	if again.ITT() != q.ITT() || again.CmdSN() != q.CmdSN() || !bytes.Equal(again.H[32:], q.H[32:]) {
		t.Errorf("sent again as %x, was %x", again.H, q.H)
	}
	r.target.Held = nil
	l.Good(q.ITT())
	r.done(c)
	next := r.check()
	q = r.until(l, SCSI, time.Second)
	if q.CmdSN() != held+1 {
		t.Errorf("CmdSN %d, %d was due", q.CmdSN(), held+1)
	}
	l.Good(q.ITT())
	r.done(next)
}

func TestER_1_2_RetryAfterDigestError(t *testing.T) {
	// A target that finds a data digest error in a command says so by a Reject
	// and ends the command with "protocol service CRC error": the command ends,
	// once, and is not sent again under its old number.
	r, l := levelOne(t, answers("ImmediateData=Yes", "DataDigest=CRC32C"))
	c := r.write(512)
	q := r.one(l, SCSI)
	l.Send(l.Refuse(0x02, q))
	l.Send(l.Status(q.ITT(), 2, sense(0x0b, 0x47, 0x05)))
	for _, err := range r.back(c) {
		crcError(t, err)
	}
	r.sleep(10 * time.Second)
	for _, p := range r.take(l) {
		if p.Op() == SCSI {
			t.Errorf("sent again: %x", p.H)
		}
	}
	r.alive()
}

// sense is fixed-format sense data.
func sense(key, asc, ascq byte) []byte {
	b := make([]byte, 18)
	b[0], b[2], b[7], b[12], b[13] = 0x70, key, 10, asc, ascq
	return b
}

func crcError(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(*scsi.StatusError)
	if !ok || e.Sense.Key != 0x0b || e.Sense.ASC != 0x47 || e.Sense.ASCQ != 0x05 {
		t.Errorf("ended with %v", err)
	}
}

func TestFFP_4_1_CommandRetry(t *testing.T) {
	// The command never arrived: ExpCmdSN stands still while the target answers
	// pings. It comes again: same tag, CmdSN, LUN, CDB, and no other.
	r, l := levelOne(t)
	c1, c2 := r.check(), r.check()
	list := r.many(l, SCSI, 2)
	held := list[0].CmdSN()
	r.target.Held = &held
	again := r.until(l, SCSI, 30*time.Second)
	was := list[0]
	if !bytes.Equal(again.H[:28], was.H[:28]) || !bytes.Equal(again.H[32:], was.H[32:]) {
		t.Errorf("sent again as %x, was %x", again.H, was.H)
	}
	r.target.Held = nil
	goods(l, list)
	r.done(c1, c2)
	r.alive()
}

// dataACK checks the answer to the A bit.
func dataACK(t *testing.T) {
	t.Helper()
	r, l := levelOne(t)
	want := pattern(3072)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	for i := range uint32(3) {
		p := l.Data(q, i, 1024*i, FBit|ABit, want[1024*i:1024*(i+1)])
		l.Send(p.Set(8, 8, lunBytes).Set(20, 4, uint64(0x500+i)))
		snack := r.one(l, SNACK)
		asksFor(t, snack, DataACK, None, i+1, 0)
		if snack.TTT() != 0x500+i || snack.U64(8) != lunBytes {
			t.Errorf("%x", snack.H)
		}
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 3))
	r.done(c)
}

func TestFFP_10_2_DataInABit(t *testing.T) { dataACK(t) }
func TestFFP_13_2_DataACKForSNACK(t *testing.T) {
	dataACK(t)
	// With a gap before it, nothing is acknowledged that did not come.
	r, l := levelOne(t)
	want := pattern(3072)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	lostOne := l.Data(q, 0, 0, 0, want[:1024])
	p := l.Data(q, 1, 1024, FBit|ABit, want[1024:2048])
	l.Send(p.Set(20, 4, 0x900))
	for _, p := range r.take(l) {
		if p.H[1]&0x0f == DataACK && p.U32(40) > 0 {
			t.Errorf("acknowledged up to %d, 0 was lost", p.U32(40))
		}
	}
	l.Send(lostOne)
	acked := false
	for _, p := range r.take(l) {
		acked = acked || p.Op() == SNACK && p.H[1]&0x0f == DataACK
	}
	if !acked {
		t.Error("no DataACK once the gap was filled")
	}
	l.Send(l.Data(q, 2, 2048, FBit|SBit, want[2048:]))
	r.done(c)
}

func TestFFP_13_1_BegRun(t *testing.T) {
	// The first number that is missing, for gaps that come one after the other.
	r, l := levelOne(t)
	want := pattern(8192)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	list := dataOf(l, q, want)
	l.Send(list[0])
	l.Send(list[2])
	asksFor(t, r.one(l, SNACK), SNACKData, q.ITT(), 1, 1)
	l.Send(list[5])
	asksFor(t, r.one(l, SNACK), SNACKData, q.ITT(), 3, 2)
	for _, i := range []int{1, 3, 4, 6, 7} {
		l.Send(list[i])
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 8))
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
}

func TestFFP_16_4_2_SNACKRejected(t *testing.T) {
	// The target cannot send the data again: the command ends with an error, for
	// its owner to send as a new one.
	r, l := levelOne(t)
	c := r.read(2048)
	q := r.one(l, SCSI)
	list := dataOf(l, q, pattern(2048))
	l.Send(list[1])
	snack := r.one(l, SNACK)
	l.Send(l.Refuse(0x03, snack))
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 2))
	for _, err := range r.back(c) {
		crcError(t, err)
	}
	r.alive()
	c = r.read(2048)
	q2 := r.until(l, SCSI, time.Second)
	if q2.ITT() == q.ITT() || q2.CmdSN() != q.CmdSN()+1 {
		t.Errorf("the new command has tag 0x%x, CmdSN %d", q2.ITT(), q2.CmdSN())
	}
	for _, p := range dataOf(l, q2, pattern(2048)) {
		l.Send(p)
	}
	l.Send(withCount(l.Status(q2.ITT(), 0, nil), 2))
	r.done(c)
}

// A data digest error of Data-In: the PDU counts as lost.
func TestER_4_1_DataDigestErrorOfDataIn(t *testing.T) {
	r, l := levelOne(t, answers("DataDigest=CRC32C", "HeaderDigest=CRC32C"))
	want := pattern(4096)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	list := dataOf(l, q, want)
	r.tainted()
	list[2].BadDataDigest = true
	for _, p := range list {
		l.Send(p)
	}
	asksFor(t, r.one(l, SNACK), SNACKData, q.ITT(), 2, 1)
	list[2].BadDataDigest = false
	l.Send(list[2])
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 4))
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
}

// A header digest error: the length cannot be trusted, the connection ends.
func TestER_4_2_HeaderDigestError(t *testing.T) {
	r, l := levelOne(t, answers("DataDigest=CRC32C", "HeaderDigest=CRC32C"))
	c := r.check()
	q := r.one(l, SCSI)
	r.tainted()
	p := l.Status(q.ITT(), 0, nil)
	p.BadHeaderDigest = true
	l.Send(p)
	if r.s.Err() == nil {
		t.Error("alive after a header digest error at level 1")
	}
	r.back(c)
}

// A recovery R2T: the target asks again for data that it has lost, under a new
// target transfer tag.
func TestER_4_3_RecoveryR2T(t *testing.T) {
	r, l := levelOne(t)
	c := r.write(4096)
	q := r.one(l, SCSI)
	l.Send(l.Ready(q, 0, 70, 0, 4096))
	list := r.take(l)
	r.data(c, list...)
	l.Send(l.Ready(q, 1, 71, 1024, 512))
	p := r.one(l, DataOut)
	if p.TTT() != 71 || p.Offset() != 1024 || len(p.Data) != 512 || p.DataSN() != 0 {
		t.Errorf("%x", p.H)
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 2))
	r.done(c)
}

// Data-In that comes twice is not taken twice.
func TestER_4_4_DataInTwice(t *testing.T) {
	r, l := levelOne(t)
	want := pattern(3072)
	c := r.read(len(want))
	q := r.one(l, SCSI)
	list := dataOf(l, q, want)
	l.Send(list[0])
	l.Send(list[2])
	r.one(l, SNACK)
	for _, i := range []int{0, 1, 1, 2} {
		l.Send(list[i])
	}
	l.Send(withCount(l.Status(q.ITT(), 0, nil), 3))
	r.done(c)
	if !bytes.Equal(c.Data, want) {
		t.Error("the data read is another")
	}
}
