package target

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func noise(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// write sends a write as its login parameters permit, answering R2Ts, and gives
// its result and a transcript.
func (p *peer) write(cdb [16]byte, data []byte, immediate, unsolicited int) (result, []string) {
	p.b.Helper()
	c := p.command(cdb, data, 0)
	c.DataLen, c.Final = immediate, unsolicited == 0
	p.push(c, data[:immediate])
	out := func(from, to int, ttt uint32) {
		for sn := uint32(0); from < to; sn++ {
			n := min(to-from, p.par.MaxXmitDataSegmentLength)
			p.push(pdu.DataOut{
				Final: from+n == to, ITT: c.ITT, TTT: ttt, DataSN: sn,
				Offset: uint32(from), DataLen: n,
			}, data[from:from+n])
			from += n
		}
	}
	out(immediate, immediate+unsolicited, pdu.ReservedTag)
	var log []string
	for {
		list := p.flush()
		if len(list) == 0 {
			p.b.Fatal("stuck:", log)
		}
		for _, g := range list {
			switch g.Opcode() {
			case pdu.OpR2T:
				r, err := pdu.ParseR2T(&g.Header)
				if err != nil {
					p.b.Fatal(err)
				}
				log = append(log, fmt.Sprintf("R2T %d: %d+%d", r.R2TSN, r.Offset, r.DesiredLen))
				out(int(r.Offset), int(r.Offset+r.DesiredLen), r.TTT)
			case pdu.OpSCSIResponse:
				return results(p.b, list)[c.ITT], log
			default:
				p.b.Fatal(describe(list))
			}
		}
	}
}

func TestWritesComeInEveryWay(t *testing.T) {
	for _, c := range []struct {
		what                   string
		change                 func(c *Config)
		immediate, unsolicited int
		want                   string
	}{
		{"all immediate", nil, 24576, 0, "[]"},
		{"all unsolicited", nil, 0, 24576, "[]"},
		{"immediate and unsolicited", nil, 4096, 20480, "[]"},
		{"all solicited", nil, 0, 0, "[R2T 0: 0+24576]"},
		{"bursts, several R2Ts out", func(c *Config) {
			c.MaxBurstLength, c.FirstBurstLength, c.MaxOutstandingR2T = 8192, 8192, 2
		}, 0, 0, "[R2T 0: 0+8192 R2T 1: 8192+8192 R2T 2: 16384+8192]"},
		{"bursts behind the first one", func(c *Config) {
			c.MaxBurstLength, c.FirstBurstLength, c.MaxOutstandingR2T = 16384, 8192, 1
		}, 4096, 4096, "[R2T 0: 8192+16384]"},
		{"small segments", func(c *Config) { c.MaxRecvDataSegmentLength = 512 }, 512, 1024,
			"[R2T 0: 1536+23040]"},
		{"odd places", nil, 1000, 2001, "[R2T 0: 3001+21575]"},
		{"both digests", func(c *Config) {
			c.HeaderDigest, c.DataDigest = login.DigestCRC32C, login.DigestCRC32C
		}, 1001, 500, "[R2T 0: 1501+23075]"},
	} {
		t.Run(c.what, func(t *testing.T) {
			cfg := Config{}
			if c.change != nil {
				c.change(&cfg)
			}
			b := newBench(t, cfg)
			p := b.session("a", 0, 1)
			data := noise(1, 24576)
			r, log := p.write(scsi.Write16(3, 48, false), data, c.immediate, c.unsolicited)
			if r.status != scsi.Good || fmt.Sprint(log) != c.want {
				t.Errorf("%v %v, want %s", r, log, c.want)
			}
			back := p.result(scsi.Read16(3, 48, false), nil, 24576)
			if !bytes.Equal(back.data, data) {
				t.Error("other data comes back")
			}
			if b.t.pool.out != 0 {
				t.Errorf("%d bytes of buffers are still out", b.t.pool.out)
			}
		})
	}
}

func TestUnaskedDataEndsTheSession(t *testing.T) {
	for _, c := range []struct {
		what string
		out  pdu.DataOut
	}{
		{"unknown transfer tag", pdu.DataOut{TTT: 0x1234567, DataLen: 512}},
		{"unsolicited, but the command was final", pdu.DataOut{TTT: pdu.ReservedTag, DataLen: 512}},
		{"beyond the burst", pdu.DataOut{TTT: 0, Offset: 8000, DataLen: 512}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newBench(t, Config{})
			p := b.session("a", 0, 1)
			cmd := p.command(scsi.Write16(0, 16, false), make([]byte, 8192), 0)
			cmd.DataLen = 0
			list := p.ask(cmd, nil)
			if len(list) != 1 || list[0].Opcode() != pdu.OpR2T {
				t.Fatal(describe(list))
			}
			c.out.ITT = cmd.ITT
			if c.out.TTT == 0 {
				c.out.TTT = list[0].TTT()
			}
			list = p.ask(c.out, make([]byte, c.out.DataLen))
			if len(list) != 1 || list[0].Opcode() != pdu.OpReject || !p.dead {
				t.Errorf("%s, dead: %v", describe(list), p.dead)
			}
			if len(b.t.sessions) != 0 || b.t.pool.out != 0 {
				t.Errorf("%d sessions, %d bytes of buffers", len(b.t.sessions), b.t.pool.out)
			}
		})
	}
}

func TestDataDigestErrorFailsTheCommand(t *testing.T) {
	b := newBench(t, Config{DataDigest: login.DigestCRC32C})
	p := b.session("a", 0, 1)
	cmd := p.command(scsi.Write16(0, 2, false), make([]byte, 1024), 0)
	cmd.DataLen = 0
	ttt := p.ask(cmd, nil)[0].TTT()
	data := pattern(9, 1024)
	p.push(pdu.DataOut{Final: true, ITT: cmd.ITT, TTT: ttt, DataLen: 1024}, data)
	data[5] = 0 // after the digest was made
	list := p.flush()
	r := results(t, list)[cmd.ITT]
	if list[0].Opcode() != pdu.OpReject || r.sense.ASC != 0x47 || r.sense.ASCQ != 5 {
		t.Errorf("%s, %v", describe(list), r)
	}
	if x := block0(b); x != 0 {
		t.Errorf("it was written: %d", x)
	}
	if r := p.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
}

func TestBuffersAreBounded(t *testing.T) {
	b := newBench(t, Config{MaxBurstLength: 1 << 20})
	b.t.pool.limit = 256 << 10 // less than a real one, so that it runs out soon
	p := b.session("a", 0, 1)
	var cmds []pdu.SCSICommand
	data := noise(2, 128<<10)
	for i := range 4 {
		c := p.command(scsi.Write16(uint64(i)*256, 256, false), data, 0)
		c.DataLen = 0
		cmds = append(cmds, c)
		p.push(c, nil)
	}
	list := p.flush()
	if len(list) != 2 {
		t.Fatalf("%d R2Ts for two buffers", len(list))
	}
	done := 0
	for len(list) > 0 {
		for _, g := range list {
			if g.Opcode() == pdu.OpR2T {
				p.push(pdu.DataOut{
					Final: true, ITT: g.ITT(), TTT: g.TTT(), DataLen: len(data),
				}, data)
			} else {
				done++
			}
		}
		list = p.flush()
	}
	if done != len(cmds) || b.t.pool.out != 0 || len(b.t.waiting) != 0 {
		t.Errorf("%d of %d done, %d bytes out", done, len(cmds), b.t.pool.out)
	}
	// Data that comes unasked for and finds no buffer: TASK SET FULL.
	hold := b.t.pool.get(256 << 10)
	c := p.command(scsi.Write16(0, 256, false), data, 0)
	c.DataLen, c.Final = 0, false
	p.push(c, nil)
	p.push(pdu.DataOut{Final: true, ITT: c.ITT, TTT: pdu.ReservedTag, DataLen: len(data)}, data)
	if r := results(t, p.flush())[c.ITT]; r.status != scsi.TaskSetFull {
		t.Error(r)
	}
	b.t.pool.put(hold)
	// A session that dies gives its buffers to those who live, not to itself.
	other := b.session("b", 0, 1)
	for _, x := range []*peer{p, p, p, other} {
		c := x.command(scsi.Write16(0, 256, false), data, 0)
		c.DataLen = 0
		x.push(c, nil)
	}
	if list := p.flush(); len(list) != 2 {
		t.Fatal(describe(list))
	}
	if list := other.flush(); len(list) != 0 {
		t.Fatal(describe(list))
	}
	p.c.Closed(b.now, nil)
	if list := other.flush(); len(list) != 1 || list[0].Opcode() != pdu.OpR2T {
		t.Error(describe(list))
	}
}

func TestReadsGoOnWhenTheInitiatorReads(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	data := noise(3, 512<<10)
	if r, _ := p.write(scsi.Write16(0, 1024, false), data, 0, 0); r.status != scsi.Good {
		t.Fatal(r)
	}
	// Eight commands, and nothing of the answers is taken.
	var tags []uint32
	for range 8 {
		c := p.command(scsi.Read16(0, 1024, false), nil, len(data))
		tags = append(tags, c.ITT)
		p.push(c, nil)
	}
	var in []byte
	for _, v := range p.send.Buffers(nil) {
		in = append(in, v...)
	}
	p.send.Sent(len(in))
	p.c.Received(b.now, copy(p.c.RecvBuffers(nil)[0], in))
	if q := p.c.send.Payload(); q > 2*outputBytes {
		t.Errorf("%d bytes are queued", q)
	}
	// A write now does not change what was queued before it, nor tear it.
	b.t.units[0].Store.Submit(&Op{Kind: OpWrite, Length: 4096, Data: pattern(0xee, 4096)})
	all := results(t, p.flush())
	for i, tag := range tags {
		want := bytes.Clone(data)
		if i > 0 || all[tag].data[0] == 0xee {
			copy(want, pattern(0xee, 4096))
		}
		if !bytes.Equal(all[tag].data, want) {
			t.Errorf("read %d is torn", i)
		}
	}
}

func TestNothingIsAllocatedPerCommand(t *testing.T) {
	for level := range 3 {
		nothingIsAllocated(t, level)
	}
}

func nothingIsAllocated(t *testing.T, level int) {
	b := newBench(t, Config{ErrorRecoveryLevel: level})
	p := b.session("a", 0, 1)
	for _, c := range []struct {
		what string
		cdb  func(i int) [16]byte
		out  []byte
		in   int
	}{
		{"READ", func(i int) [16]byte { return scsi.Read16(uint64(i)*8, 8, false) }, nil, 4096},
		{"WRITE", func(i int) [16]byte { return scsi.Write16(uint64(i)*8, 8, false) },
			make([]byte, 4096), 0},
		{"SYNCHRONIZE CACHE", func(int) [16]byte { return scsi.SynchronizeCache16(0, 0) }, nil, 0},
	} {
		w, patch := wire(p, c.cdb, c.out, c.in)
		bufs := make([][]byte, 0, 256)
		patch()
		for range 20 { // what is kept has its full size then
			patch()
			bufs = p.pump(w, bufs)
		}
		n := testing.AllocsPerRun(100, func() { patch(); p.pump(w, bufs) })
		if q := p.c.unacked.n; q > batch || q == 0 && level > 0 {
			t.Errorf("level %d: %d answers are not acknowledged", level, q)
		}
		if n > 0 {
			t.Errorf("%s, level %d: %.1f allocations for %d commands", c.what, level, n, batch)
		}
	}
}

func TestDataOutOfSequenceFailsTheCommand(t *testing.T) {
	type part struct{ sn, offset uint32 }
	for _, c := range []struct {
		what  string
		parts []part
		fails bool
	}{
		{"in sequence", []part{{0, 0}, {1, 512}}, false},
		{"the same DataSN twice", []part{{0, 0}, {0, 512}}, true},
		{"a gap", []part{{0, 0}, {2, 512}}, true},
		{"reversed", []part{{1, 512}, {0, 0}}, true},
		{"the same offset twice", []part{{0, 0}, {1, 0}}, true},
		{"one is missing", []part{{1, 512}}, true},
	} {
		for _, solicited := range []bool{true, false} {
			b := newBench(t, Config{})
			p := b.session("a", 0, 1)
			cmd := p.command(scsi.Write16(0, 2, false), make([]byte, 1024), 0)
			cmd.DataLen, cmd.Final = 0, solicited
			ttt := uint32(pdu.ReservedTag)
			if list := p.ask(cmd, nil); solicited {
				ttt = list[0].TTT()
			}
			for i, x := range c.parts {
				p.push(pdu.DataOut{
					Final: i == len(c.parts)-1 || c.what == "reversed" && i == 0, ITT: cmd.ITT,
					TTT: ttt, DataSN: x.sn, Offset: x.offset, DataLen: 512,
				}, pattern(7, 512))
			}
			r, ok := results(t, p.flush())[cmd.ITT]
			if failed := r.sense.ASC == 0x47; !ok || failed != c.fails || p.dead {
				t.Errorf("%s, solicited %v: %v, dead: %v", c.what, solicited, r, p.dead)
			}
			if x := block0(b); (x == 7) == c.fails {
				t.Errorf("%s: block 0 is %d", c.what, x)
			}
			if b.t.pool.out != 0 {
				t.Errorf("%s: %d bytes of buffers are out", c.what, b.t.pool.out)
			}
		}
	}
}
