package target

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// note writes a PDU of the target as a line, from its bytes as RFC 7143 section 11
// lays them out. StatSN counts from the first after the login.
func (p *peer) note(g *got) string {
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(g.Header[at:]) }
	stat := func() string { return fmt.Sprintf(" stat %d", u32(24)-p.first) }
	flag := func(bit byte, s string) string {
		if g.Header[1]&bit != 0 {
			return s
		}
		return ""
	}
	switch g.Header[0] {
	case 0x20:
		return "NOP-In" + stat()
	case 0x21:
		s := fmt.Sprintf("status %02x data %d", g.Header[3], u32(36)) + stat()
		if tag := u32(20); tag != 0 {
			s += fmt.Sprintf(" tag %d", tag)
		}
		if len(g.data) > 15 {
			s += fmt.Sprintf(" sense %x/%02x%02x", g.data[4]&15, g.data[14], g.data[15])
		}
		return s
	case 0x22:
		return fmt.Sprintf("task response %d", g.Header[2]) + stat()
	case 0x25:
		s := fmt.Sprintf("in %d: %d+%d%s%s", u32(36), u32(40), len(g.data), flag(0x80, " F"),
			flag(0x40, " A"))
		if g.Header[1]&1 != 0 {
			s += " S" + stat()
		}
		return s
	case 0x26:
		return fmt.Sprintf("logout response %d wait %d retain %d", g.Header[2],
			binary.BigEndian.Uint16(g.Header[40:]), binary.BigEndian.Uint16(g.Header[42:])) + stat()
	case 0x31:
		return fmt.Sprintf("R2T %d: %d+%d", u32(36), u32(40), u32(44))
	case 0x32:
		return fmt.Sprintf("async %d: %d %d %d", g.Header[36], binary.BigEndian.Uint16(g.Header[38:]),
			binary.BigEndian.Uint16(g.Header[40:]), binary.BigEndian.Uint16(g.Header[42:])) + stat()
	case 0x3f:
		return fmt.Sprintf("reject %02x next %d", g.Header[2], u32(36)) + stat()
	}
	return g.Opcode().String()
}

// notes are the lines of what came, and of what comes now.
func (p *peer) notes(list []got) string {
	var s []string
	for i := range list {
		s = append(s, p.note(&list[i]))
	}
	return strings.Join(s, "; ")
}

func (p *peer) want(list []got, want string) []got {
	p.b.Helper()
	if s := p.notes(list); s != want {
		p.b.Fatalf("\ngot  %s\nwant %s", s, want)
	}
	return list
}

// hear does as if what came had been heard, and acknowledges it from now on.
func (p *peer) hear(list []got) {
	for i := range list {
		switch g := &list[i]; g.Opcode() {
		case pdu.OpR2T:
		case pdu.OpDataIn:
			if g.Header[1]&1 != 0 {
				p.stat = g.StatSN() + 1
			}
		default:
			p.stat = g.StatSN() + 1
		}
	}
}

// recovering begins a session of error recovery level 1 or 2.
func recovering(t *testing.T, cfg Config) (*bench, *peer) {
	t.Helper()
	if cfg.ErrorRecoveryLevel == 0 {
		cfg.ErrorRecoveryLevel = 1
	}
	if cfg.MaxRecvDataSegmentLength == 0 {
		cfg.MaxRecvDataSegmentLength = 512
	}
	cfg.FirstAttention = AttentionNone
	b := newBench(t, cfg)
	return b, b.recovering("a", 0, 0, 1)
}

// recovering logs in, and takes 1024 bytes in one PDU at most.
func (b *bench) recovering(initiator string, portal int, tsih, cid uint16) *peer {
	b.Helper()
	p := b.connect(portal)
	o := offer(initiator)
	o.MaxRecvDataSegmentLength = 1024
	if err := p.login(o, 1, tsih, cid); err != nil {
		b.Fatal(err)
	}
	p.first = p.stat
	return p
}

func snack(kind uint8, itt, from, n uint32) pdu.SNACK {
	return pdu.SNACK{Type: kind, ITT: itt, TTT: pdu.ReservedTag, BegRun: from, RunLength: n}
}

func (p *peer) snack(kind uint8, itt, from, n uint32) []got {
	p.b.Helper()
	s := snack(kind, itt, from, n)
	s.ExpStatSN = p.stat
	return p.ask(s, nil)
}

// fill writes a pattern that tells blocks apart, and has it acknowledged.
func (p *peer) fill(blocks int) []byte {
	p.b.Helper()
	data := noise(7, blocks*512)
	for off := 0; off < len(data); off += 512 {
		c := p.command(scsi.Write16(uint64(off/512), 1, false), data[off:off+512], 0)
		p.hear(p.ask(c, data[off:off+512]))
	}
	return data
}

// replica: what is sent again is as it was but for ExpCmdSN and MaxCmdSN (RFC 7143
// section 11.16).
func replica(a, b got) bool {
	copy(a.Header[28:36], b.Header[28:36])
	return a.Header == b.Header && string(a.data) == string(b.data)
}

func TestDataSNACK(t *testing.T) {
	_, p := recovering(t, Config{})
	data := p.fill(7)
	p.first = p.stat
	c := p.command(scsi.Read16(0, 7, false), nil, 3584)
	list := p.want(p.ask(c, nil),
		"in 0: 0+1024; in 1: 1024+1024; in 2: 2048+1024; in 3: 3072+512 F S stat 0")
	for _, x := range []struct {
		from, n  uint32
		again    []int
		rejected string
	}{
		{1, 1, []int{1}, ""},
		{1, 2, []int{1, 2}, ""},
		{2, 0, []int{2, 3}, ""},
		{0, 0, []int{0, 1, 2, 3}, ""},
		{3, 1, []int{3}, ""},
		{4, 0, nil, ""}, // all from the next on: there is none yet
		{4, 1, nil, "reject 04 next 4 stat 1"},
		{3, 2, nil, "reject 04 next 4 stat 2"},
		{9, 0, nil, "reject 04 next 4 stat 3"},
		{0xffffffff, 2, nil, "reject 04 next 4 stat 4"},
	} {
		got := p.snack(pdu.SNACKData, c.ITT, x.from, x.n)
		if x.again == nil {
			p.want(got, x.rejected)
			continue
		}
		if len(got) != len(x.again) {
			t.Fatalf("%d+%d: %s", x.from, x.n, p.notes(got))
		}
		for i, n := range x.again {
			if !replica(got[i], list[n]) {
				t.Errorf("%d+%d: PDU %d is not as it was", x.from, x.n, n)
			}
		}
	}
	if r := results(t, list)[c.ITT]; string(r.data) != string(data) {
		t.Error("other data")
	}
	// After the status is acknowledged there is nothing to ask for.
	p.stat = p.first + 5
	p.want(p.snack(pdu.SNACKData, c.ITT, 1, 1), "reject 04 next 0 stat 5")
	if n := p.c.session.counters; n.SNACKs != 11 || n.Resent != 10 {
		t.Errorf("%+v", n)
	}
}

// What a SNACK brings is what was read then, whatever was written since.
func TestDataSNACKDoesNotReadAgain(t *testing.T) {
	_, p := recovering(t, Config{})
	data := p.fill(4)
	c := p.command(scsi.Read16(0, 4, false), nil, 2048)
	p.ask(c, nil)
	p.ask(p.command(scsi.Write16(0, 1, false), pattern(1, 512), 0), pattern(1, 512))
	list := p.snack(pdu.SNACKData, c.ITT, 0, 1)
	if len(list) != 1 || string(list[0].data) != string(data[:1024]) {
		t.Error("other data:", p.notes(list))
	}
}

func TestDataACK(t *testing.T) {
	b, p := recovering(t, Config{MaxBurstLength: 2048})
	data := p.fill(16)
	p.first = p.stat
	c := p.command(scsi.Read16(0, 10, false), nil, 5120)
	list := p.want(p.ask(c, nil), "in 0: 0+1024; in 1: 1024+1024 F A; in 2: 2048+1024; "+
		"in 3: 3072+1024 F A; in 4: 4096+1024 F S stat 0")
	// By hand, section 11.7: TTT and LUN are valid with the A bit; ITT 10h.
	want := "25c0000000000400" + "0000000000000000" + fmt.Sprintf("%08x", c.ITT) + "00000001" +
		"00000000" + hex.EncodeToString(list[1].Header[28:36]) + "0000000100000400" + "00000000"
	if h := hex.EncodeToString(list[1].Header[:]); h != want {
		t.Errorf("\ngot  %s\nwant %s", h, want)
	}
	ack := snack(pdu.SNACKDataACK, pdu.ReservedTag, 2, 0)
	ack.TTT, ack.ExpStatSN = list[1].TTT(), p.stat
	if p.want(p.ask(ack, nil), ""); p.c.held != 3072 {
		t.Errorf("%d bytes are kept", p.c.held)
	}
	p.want(p.snack(pdu.SNACKData, c.ITT, 1, 1), "reject 04 next 5 stat 1")
	p.want(p.snack(pdu.SNACKData, c.ITT, 0, 0), "in 2: 2048+1024; "+
		"in 3: 3072+1024 F A; in 4: 4096+1024 F S stat 0")
	for _, x := range []pdu.SNACK{
		{TTT: ack.TTT, BegRun: 1}, // goes back
		{TTT: ack.TTT, BegRun: 6}, // not sent
		{TTT: ack.TTT + 7, BegRun: 3},
		{TTT: ack.TTT, BegRun: 3, LUN: [8]byte{0, 1}},
	} {
		x.Type, x.ITT, x.ExpStatSN = pdu.SNACKDataACK, pdu.ReservedTag, p.stat
		if got := p.ask(x, nil); len(got) != 1 || got[0].Header[2] != 0x08 {
			t.Errorf("%+v: %s", x, p.notes(got))
		}
	}
	if r := results(t, list)[c.ITT]; string(r.data) != string(data[:5120]) {
		t.Error("other data")
	}
	// The status acknowledges the rest.
	p.stat = p.first + 2
	p.ask(pdu.NopOut{Immediate: true, ITT: pdu.ReservedTag, TTT: pdu.ReservedTag, CmdSN: p.cmdSN,
		ExpStatSN: p.stat}, nil)
	if p.c.held != b.t.pool.out { // the Rejects
		t.Errorf("%d bytes are kept, %d out", p.c.held, b.t.pool.out)
	}
}

func TestStatusSNACK(t *testing.T) {
	_, p := recovering(t, Config{})
	p.fill(4)
	p.first = p.stat
	var all []got
	for _, c := range []marshaler{
		p.command(scsi.TestUnitReady(), nil, 0),
		p.command(scsi.Read16(0, 4, false), nil, 2048),
		p.command([16]byte{0xff}, nil, 0),
		pdu.NopOut{Immediate: true, ITT: 99, TTT: pdu.ReservedTag, CmdSN: p.cmdSN, ExpStatSN: p.stat},
		pdu.TaskRequest{Immediate: true, Function: pdu.AbortTask, ITT: 98, RefTag: 1,
			CmdSN: p.cmdSN, ExpStatSN: p.stat},
	} {
		all = append(all, p.ask(c, nil)...)
	}
	p.want(all, "status 00 data 0 stat 0; in 0: 0+1024; in 1: 1024+1024 F S stat 1; "+
		"status 02 data 0 stat 2 sense 5/2000; NOP-In stat 3; task response 1 stat 4")
	byStat := map[uint32]got{0: all[0], 1: all[2], 2: all[3], 3: all[4], 4: all[5]}
	for _, x := range []struct {
		from, n uint32
		again   []uint32
	}{
		{0, 1, []uint32{0}}, {1, 1, []uint32{1}}, {2, 2, []uint32{2, 3}}, {3, 0, []uint32{3, 4}},
	} {
		list := p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first+x.from, x.n)
		if len(list) != len(x.again) {
			t.Fatalf("%d+%d: %s", x.from, x.n, p.notes(list))
		}
		for i, n := range x.again {
			if !replica(list[i], byStat[n]) {
				t.Errorf("StatSN %d is not as it was:\n%x\n%x", n, list[i].Header, byStat[n].Header)
			}
		}
	}
	if n := len(p.snack(pdu.SNACKStatus, pdu.ReservedTag, 0, 0)); n != 5 {
		t.Errorf("%d responses for all", n)
	}
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first+5, 0), "")
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first+4, 2), "reject 04 next 0 stat 5")
	p.stat = p.first + 3
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first+2, 1), "reject 04 next 0 stat 6")
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, 0, 0),
		"NOP-In stat 3; task response 1 stat 4; reject 04 next 0 stat 5; reject 04 next 0 stat 6")
}

// What was sent last may be lost, and nothing comes behind it.
func TestStatusIsAskedToBeAcknowledged(t *testing.T) {
	b, p := recovering(t, Config{})
	p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil)
	b.advance(b.t.cfg.AckInterval - 1)
	p.want(p.flush(), "")
	b.advance(1)
	list := p.want(p.flush(), "NOP-In stat 1")
	if list[0].TTT() == pdu.ReservedTag || list[0].ITT() != pdu.ReservedTag {
		t.Errorf("tags %x %x", list[0].ITT(), list[0].TTT())
	}
	p.want(p.ask(pdu.NopOut{Immediate: true, ITT: pdu.ReservedTag, TTT: list[0].TTT(),
		CmdSN: p.cmdSN, ExpStatSN: p.first + 1}, nil), "")
	b.advance(b.t.cfg.AckInterval * 10)
	p.want(p.flush(), "")
	// It asks a few times, not for ever.
	p.stat = p.first + 1
	p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil)
	for range 10 {
		b.advance(b.t.cfg.AckInterval)
		list = append(list, p.flush()...)
	}
	if len(list) != 1+maxAckRequests || p.dead {
		t.Error(p.notes(list))
	}
}

func TestRDataSNACK(t *testing.T) {
	_, p := recovering(t, Config{MaxBurstLength: 2048})
	data := p.fill(10)
	p.first = p.stat
	c := p.command(scsi.Read16(0, 10, false), nil, 5120)
	list := p.ask(c, nil)
	ack := snack(pdu.SNACKDataACK, pdu.ReservedTag, 2, 0)
	ack.TTT, ack.ExpStatSN = list[1].TTT(), p.stat
	p.ask(ack, nil)
	again := snack(pdu.SNACKRData, c.ITT, 0, 0)
	again.TTT, again.ExpStatSN = 77, p.stat
	p.c.params.MaxXmitDataSegmentLength = 1536 // what R-Data is for
	got := p.want(p.ask(again, nil), "in 2: 2048+1536; in 3: 3584+512 F A; in 4: 4096+1024 F; "+
		"status 00 data 5 stat 0 tag 77")
	whole := string(list[0].data) + string(list[1].data)
	for i := range got {
		whole += string(got[i].data)
	}
	if whole != string(data) {
		t.Error("other data")
	}
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first, 1), "status 00 data 5 stat 0 tag 77")
	again.TTT = 0
	p.want(p.ask(again, nil), "reject 09 next 0 stat 1")
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	b, p := recovering(t, Config{QueueDepth: 4})
	b.advance(b.t.cfg.AckInterval)
	most := uint32(p.c.maxAnswers())
	var reads []uint32
	read := func() []got {
		c := p.command(scsi.Read16(0, 1, false), nil, 512)
		reads = append(reads, c.ITT)
		return p.ask(c, nil)
	}
	for range most {
		if len(read()) != 1 {
			t.Fatal("no answer")
		}
	}
	// Further commands wait, and the initiator is asked to acknowledge at once.
	p.want(read(), "")
	p.want(read(), "")
	b.advance(1)
	p.want(p.flush(), fmt.Sprintf("NOP-In stat %d", most))
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first, 1), "in 0: 0+512 F S stat 0")
	p.stat = p.first + 1
	p.want(p.ask(pdu.NopOut{Immediate: true, ITT: pdu.ReservedTag, TTT: pdu.ReservedTag,
		CmdSN: p.cmdSN, ExpStatSN: p.stat}, nil), fmt.Sprintf("in 0: 0+512 F S stat %d", most))
	// One that does not is not waited for for ever: the oldest answer goes.
	for i := range maxBacklogAsks {
		b.advance(b.t.cfg.AckInterval)
		if n := len(p.flush()); n != 1 {
			t.Fatalf("%d answers to silence %d", n, i)
		}
	}
	b.advance(b.t.cfg.AckInterval)
	p.want(p.flush(), fmt.Sprintf("in 0: 0+512 F S stat %d", most+1))
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first+1, 1),
		fmt.Sprintf("reject 03 next 0 stat %d", most+2))
	p.want(p.snack(pdu.SNACKData, reads[1], 0, 1), fmt.Sprintf("reject 04 next 0 stat %d", most+3))
	p.want(p.snack(pdu.SNACKData, reads[2], 0, 1), "in 0: 0+512 F S stat 2")

	// Of one command's data the oldest goes at once, if it is not acknowledged.
	b, p = recovering(t, Config{LUNs: []LUNConfig{{Store: newRAM(t, 4<<20)}}})
	b.t.cfg.BufferBytes = 0 // the least is kept
	c := p.command(scsi.Read16(0, 8192, false), nil, 4<<20)
	p.ask(c, nil)
	if p.c.held > minHeldBytes+outputBytes {
		t.Errorf("%d bytes are kept", p.c.held)
	}
	p.want(p.snack(pdu.SNACKData, c.ITT, 4095, 1), "in 4095: 4193280+1024 F S stat 0")
	p.want(p.snack(pdu.SNACKData, c.ITT, 1, 1), "reject 03 next 0 stat 1")
}

// A command whose data cannot be sent again, and which has no status yet, fails.
func TestRefusedSNACKFailsTheCommand(t *testing.T) {
	b, p := recovering(t, Config{})
	p.fill(8)
	p.first = p.stat
	b.t.RefuseSNACKs(2)
	c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
	c.DataLen = 0
	p.want(p.ask(c, nil), "R2T 0: 0+2048")
	p.want(p.snack(pdu.SNACKData, c.ITT, 0, 1), "reject 03 next 0 stat 0")
	ttt := b.t.lastTTT
	p.want(p.ask(pdu.DataOut{Final: true, ITT: c.ITT, TTT: ttt, DataLen: 512,
		ExpStatSN: p.stat}, pattern(1, 512)), "status 02 data 1 stat 1 sense b/1113")
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first, 1), "reject 03 next 0 stat 2")
	p.want(p.snack(pdu.SNACKStatus, pdu.ReservedTag, p.first, 1), "reject 03 next 0 stat 0")
}

// Large answers to pings that nobody acknowledges.
func TestPingsAreBounded(t *testing.T) {
	b, p := recovering(t, Config{MaxRecvDataSegmentLength: 256 << 10})
	p.par.MaxXmitDataSegmentLength = 256 << 10
	p.c.params.MaxXmitDataSegmentLength = 256 << 10
	for range 100 {
		p.ask(pdu.NopOut{Immediate: true, ITT: 1, TTT: pdu.ReservedTag, CmdSN: p.cmdSN,
			ExpStatSN: p.stat, DataLen: 256 << 10}, make([]byte, 256<<10))
	}
	if n := b.t.pool.out; n > 2*maxHeldBytes+256<<10 || n != p.c.held {
		t.Errorf("%d bytes are kept, counted %d", n, p.c.held)
	}
	if p.dies(); b.t.pool.out != 0 {
		t.Errorf("%d bytes are left", b.t.pool.out)
	}
}
