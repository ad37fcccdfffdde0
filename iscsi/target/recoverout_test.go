package target

import (
	"bytes"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// A piece is one Data-Out of a test: its place, and what becomes of it.
type piece struct {
	sn, offset, n int
	final         bool
	lost, damaged bool
}

// pieces sends Data-Out; damaged ones have a data digest that does not fit.
func (p *peer) pieces(itt, ttt uint32, data []byte, list ...piece) []got {
	p.b.Helper()
	var all []got
	for _, x := range list {
		if x.lost {
			continue
		}
		p.push(pdu.DataOut{Final: x.final, ITT: itt, TTT: ttt, DataSN: uint32(x.sn),
			Offset: uint32(x.offset), DataLen: x.n, ExpStatSN: p.stat}, data[x.offset:x.offset+x.n])
		if x.damaged {
			p.send.Spoil(pdu.Bulk, false)
		}
		all = append(all, p.flush()...)
	}
	return all
}

func TestRecoveryR2T(t *testing.T) {
	const whole = "R2T 0: 0+2048"
	for _, x := range []struct {
		what   string
		pieces []piece
		want   string
		again  piece // what is asked for again, as one Data-Out; none if n is 0
		after  string
	}{
		{"nothing lost", []piece{{0, 0, 512, false, false, false}, {1, 512, 1536, true, false, false}},
			"status 00 data 1 stat 0", piece{}, ""},
		{"digest", []piece{{0, 0, 512, false, false, true}, {1, 512, 1536, true, false, false}},
			"reject 02 next 0 stat 0; R2T 1: 0+512", piece{offset: 0, n: 512},
			"status 00 data 2 stat 1"},
		{"digest of the last", []piece{{0, 0, 512, false, false, false}, {1, 512, 1536, true, false, true}},
			"reject 02 next 0 stat 0; R2T 1: 512+1536", piece{offset: 512, n: 1536},
			"status 00 data 2 stat 1"},
		{"a gap", []piece{{0, 0, 512, false, false, false}, {1, 512, 512, false, true, false},
			{2, 1024, 1024, true, false, false}},
			"R2T 1: 512+512", piece{offset: 512, n: 512}, "status 00 data 2 stat 0"},
		{"two gaps", []piece{{0, 0, 512, false, true, false}, {1, 512, 512, false, false, false},
			{2, 1024, 512, false, true, false}, {3, 1536, 512, true, false, false}},
			"R2T 1: 0+1536", piece{offset: 0, n: 1536}, "status 00 data 2 stat 0"},
		{"a gap and a digest", []piece{{0, 0, 512, false, true, false},
			{1, 512, 512, false, false, true}, {2, 1024, 1024, true, false, false}},
			"reject 02 next 0 stat 0; R2T 1: 0+1024", piece{offset: 0, n: 1024},
			"status 00 data 2 stat 1"},
		{"a duplicate", []piece{{0, 0, 512, false, false, false}, {0, 0, 512, false, false, false},
			{1, 512, 1536, true, false, false}}, "status 00 data 1 stat 0", piece{}, ""},
		{"a damaged duplicate", []piece{{0, 0, 512, false, false, false},
			{0, 0, 512, false, false, true}, {1, 512, 1536, true, false, false}},
			"reject 02 next 0 stat 0; status 00 data 1 stat 1", piece{}, ""},
		{"ends too soon", []piece{{0, 0, 512, true, false, false}},
			"R2T 1: 512+1536", piece{offset: 512, n: 1536}, "status 00 data 2 stat 0"},
	} {
		t.Run(x.what, func(t *testing.T) {
			b, p := recovering(t, Config{DataDigest: login.DigestCRC32C,
				MaxRecvDataSegmentLength: 64 << 10})
			data := noise(3, 2048)
			c := p.command(scsi.Write16(0, 4, false), data, 0)
			c.DataLen = 0
			list := p.want(p.ask(c, nil), whole)
			list = p.want(p.pieces(c.ITT, list[0].TTT(), data, x.pieces...), x.want)
			if x.again.n > 0 {
				x.again.final = true
				p.want(p.pieces(c.ITT, list[len(list)-1].TTT(), data, x.again), x.after)
			}
			back := make([]byte, 2048)
			b.t.units[0].Store.Submit(&Op{Kind: OpRead, Length: 2048, Data: back})
			if !bytes.Equal(back, data) {
				t.Error("other data was written")
			}
			if len(b.t.delayed.heap) != 0 {
				t.Error("a timer is left")
			}
		})
	}
}

func TestDataOutThatStaysAway(t *testing.T) {
	b, p := recovering(t, Config{MaxRecvDataSegmentLength: 64 << 10, MaxBurstLength: 2048})
	wait := func() []got { b.advance(b.t.cfg.DataTimeout); return p.flush() }
	data := noise(3, 4096)
	c := p.command(scsi.Write16(0, 8, false), data, 0)
	c.DataLen = 0
	p.want(p.ask(c, nil), "R2T 0: 0+2048")
	// Perhaps the R2T was lost, then perhaps the data was.
	p.want(wait(), "R2T 0: 0+2048")
	list := p.want(wait(), "R2T 1: 0+2048")
	p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{n: 512}, piece{sn: 2, offset: 1024, n: 512}), "")
	list = p.want(wait(), "R2T 2: 512+1536")
	// The sequence that was given up: whatever comes of it now is ignored.
	p.want(p.pieces(c.ITT, list[0].TTT()-1, data, piece{sn: 3, offset: 1536, n: 512, final: true}), "")
	list = p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{offset: 512, n: 1536, final: true}),
		"R2T 3: 2048+2048")
	p.want(p.snack(pdu.SNACKData, c.ITT, 3, 0), "R2T 3: 2048+2048")
	p.want(p.snack(pdu.SNACKData, c.ITT, 2, 1), "reject 04 next 4 stat 0")
	p.want(p.snack(pdu.SNACKData, c.ITT, 0, 0), "R2T 3: 2048+2048")
	p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{offset: 2048, n: 2048, final: true}),
		"status 00 data 4 stat 1")
	p.stat = p.first + 2 // so that nothing is unacknowledged below

	// Unsolicited data of which nothing, or only a part, comes.
	c = p.command(scsi.Write16(0, 4, false), data[:2048], 0)
	c.DataLen, c.Final = 512, false
	p.want(p.ask(c, data[:512]), "")
	list = p.want(wait(), "R2T 0: 512+1536")
	p.want(p.pieces(c.ITT, pdu.ReservedTag, data, piece{offset: 512, n: 512, final: true}), "")
	p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{offset: 512, n: 1536, final: true}),
		"status 00 data 1 stat 2")
	p.stat++
	c = p.command(scsi.Write16(0, 4, false), data[:2048], 0)
	c.DataLen, c.Final = 0, false
	p.want(p.ask(c, nil), "")
	p.want(p.pieces(c.ITT, pdu.ReservedTag, data, piece{sn: 1, offset: 512, n: 512}), "")
	list = p.want(wait(), "R2T 0: 0+512")
	list = p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{n: 512, final: true}),
		"R2T 1: 1024+1024")
	p.want(p.pieces(c.ITT, list[0].TTT(), data, piece{offset: 1024, n: 1024, final: true}),
		"status 00 data 2 stat 3")

	// An initiator that never sends it is given up.
	c = p.command(scsi.Write16(0, 4, false), data[:2048], 0)
	c.DataLen = 0
	p.ask(c, nil)
	for range maxTimeouts {
		if wait(); p.dead {
			t.Fatal("given up too soon")
		}
	}
	if wait(); !p.dead || b.t.pool.out != 0 || len(b.t.delayed.heap) != 0 {
		t.Errorf("dead %v, %d bytes, %d timers", p.dead, b.t.pool.out, len(b.t.delayed.heap))
	}
}

// A command whose immediate data is damaged was never received: the same command
// again is executed, and a third one is not.
func TestCommandAgain(t *testing.T) {
	b, p := recovering(t, Config{DataDigest: login.DigestCRC32C})
	first := p.command(scsi.Write16(0, 1, false), pattern(1, 512), 0)
	p.push(first, pattern(1, 512))
	p.send.Spoil(pdu.Bulk, false)
	p.want(p.flush(), "reject 02 next 0 stat 0")
	second := p.command(scsi.Write16(0, 1, false), pattern(2, 512), 0)
	p.want(p.ask(second, pattern(2, 512)), "") // it waits for its turn
	if s := p.c.session; s.expCmdSN != first.CmdSN {
		t.Errorf("ExpCmdSN %d, want %d", s.expCmdSN, first.CmdSN)
	}
	p.want(p.ask(first, pattern(1, 512)), "status 00 data 0 stat 1; status 00 data 0 stat 2")
	p.want(p.ask(first, pattern(1, 512)), "")
	if x := block0(b); x != 2 {
		t.Errorf("block 0 is %d", x)
	}
	// A command that is refused by a Reject leaves a gap too, section 7.3.
	bad := p.command(scsi.Write16(0, 1, false), pattern(3, 512), 0)
	bad.Attr = 7
	p.want(p.ask(bad, pattern(3, 512)), "reject 09 next 0 stat 3")
	bad.Attr = 0
	p.want(p.ask(bad, pattern(3, 512)), "status 00 data 0 stat 4")
}

func TestDisturbances(t *testing.T) {
	b, p := recovering(t, Config{HeaderDigest: login.DigestCRC32C, DataDigest: login.DigestCRC32C})
	play := func(text string) {
		t.Helper()
		s, err := ParseScript("at 0s " + text)
		if err != nil {
			t.Fatal(err)
		}
		b.t.Play(b.now, s)
		b.t.Tick(b.now)
	}
	read := func() []got { return p.ask(p.command(scsi.Read16(0, 4, false), nil, 2048), nil) }
	for _, x := range []struct{ script, want string }{
		{"lose 1 data-in", "in 1: 1024+1024 F S stat 0"},
		{"lose 1 status", "in 0: 0+1024"},
		{"lose 1 data-in after 1 portal 1", "in 0: 0+1024"},
		{"lose 1 command portal 2", "in 0: 0+1024; in 1: 1024+1024 F S stat 3"},
		{"lose off", "in 0: 0+1024; in 1: 1024+1024 F S stat 4"},
		{"lose 100% data-in for 1s", ""},
	} {
		play(x.script)
		p.want(read(), x.want)
	}
	b.advance(b.t.cfg.AckInterval)
	p.flush()
	p.want(read(), "in 0: 0+1024; in 1: 1024+1024 F S stat 6")
	play("damage 1 command") // a READ has no data: it is lost
	p.want(read(), "")
	play("lose 1 command after 5") // cannot come any more: the window is stuck
	p.want(read(), "")

	play("lose off")
	b, p = recovering(t, Config{HeaderDigest: login.DigestCRC32C, DataDigest: login.DigestCRC32C})
	play("damage 1 data-in")
	p.damaged = true
	read()
	if p.damage != 1 {
		t.Errorf("%d damaged PDUs came", p.damage)
	}
	play("damage 1 data-out")
	c := p.command(scsi.Write16(0, 4, false), pattern(1, 2048), 0)
	c.DataLen = 0
	list := p.want(p.ask(c, nil), "R2T 0: 0+2048")
	p.want(p.pieces(c.ITT, list[0].TTT(), pattern(1, 2048), piece{n: 512},
		piece{sn: 1, offset: 512, n: 512}, piece{sn: 2, offset: 1024, n: 512},
		piece{sn: 3, offset: 1536, n: 512, final: true}), "reject 02 next 0 stat 1; R2T 1: 0+512")
}
