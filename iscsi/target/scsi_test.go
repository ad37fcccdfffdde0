package target

import (
	"fmt"
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func TestRefusals(t *testing.T) {
	b := newBench(t, Config{LUNs: []LUNConfig{
		{Number: 0, Store: newRAM(t, 64<<10), Thin: true, WriteCache: true},
		{Number: 1, Store: newRAM(t, 64<<10), ReadOnly: true},
		{Number: 300, Store: newRAM(t, 64<<10), NoDPOFUA: true},
	}})
	p := b.session("a", 0, 1)
	for _, lun := range []uint16{1, 300} {
		c := p.command(scsi.TestUnitReady(), nil, 0)
		c.LUN = scsi.EncodeLUN(lun)
		p.ask(c, nil)
	}
	block := make([]byte, 512)
	for _, c := range []struct {
		lun  uint16
		cdb  [16]byte
		out  []byte
		in   int
		want string
	}{
		{0, [16]byte{0: 0xff}, nil, 0, "5 20h/00h"},
		{0, [16]byte{0: scsi.OpCompareAndWrite}, nil, 0, "5 20h/00h"},
		{0, scsi.Read16(128, 1, false), nil, 512, "5 21h/00h"},
		{0, scsi.Read16(127, 2, false), nil, 1024, "5 21h/00h"},
		{0, scsi.Read16(1<<63, 1, false), nil, 512, "5 21h/00h"},
		{0, scsi.Write16(128, 1, false), block, 0, "5 21h/00h"},
		{0, scsi.SynchronizeCache16(200, 1), nil, 0, "5 21h/00h"},
		{0, scsi.WriteSame16(0, 0, false, false), block, 0, "5 24h/00h"},
		{0, scsi.Inquiry(true, 0x99, 255), nil, 255, "5 24h/00h"},
		{0, scsi.ModeSense6(0x22, 0, 255), nil, 255, "5 24h/00h"},
		{0, scsi.ReportLUNs(8), nil, 8, "5 24h/00h"},
		{0, scsi.Unmap(4), []byte{1, 2, 3, 4}, 0, "5 1Ah/00h"},
		{0, scsi.Unmap(24), scsi.UnmapParameters(nil, []scsi.Range{{LBA: 120, Blocks: 9}}), 0,
			"5 21h/00h"},
		{0, scsi.Read16(0, 1<<20, false), nil, 512 << 20, "5 21h/00h"},
		{1, scsi.Write16(0, 1, false), block, 0, "7 27h/00h"},
		{1, scsi.Unmap(24), scsi.UnmapParameters(nil, []scsi.Range{{Blocks: 1}}), 0, "5 20h/00h"},
		{1, scsi.WriteSame16(0, 8, true, true), nil, 0, "7 27h/00h"},
		{300, scsi.Read16(0, 1, true), nil, 512, "5 24h/00h"},
		{300, scsi.WriteSame16(0, 1, true, true), nil, 0, "5 24h/00h"},
		{5, scsi.TestUnitReady(), nil, 0, "5 25h/00h"},
		{5, scsi.Read16(0, 1, false), nil, 512, "5 25h/00h"},
	} {
		cmd := p.command(c.cdb, c.out, c.in)
		cmd.LUN = scsi.EncodeLUN(c.lun)
		r := results(t, p.ask(cmd, c.out))[cmd.ITT]
		got := fmt.Sprintf("%d %02Xh/%02Xh", r.sense.Key, r.sense.ASC, r.sense.ASCQ)
		if r.status != scsi.CheckCondition || got != c.want {
			t.Errorf("LUN %d %s % x: %v %s, want %s", c.lun, scsi.CommandName(&c.cdb), c.cdb,
				r.status, got, c.want)
		}
	}
	if r := p.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
}

func TestWhatAUnitSaysOfItself(t *testing.T) {
	b := newBench(t, Config{LUNs: []LUNConfig{
		{Number: 0, Store: newRAM(t, 64<<10), Thin: true, WriteCache: true, Serial: "s1"},
		{Number: 7, Store: newRAM(t, 64<<10), ReadOnly: true, BlockSize: 4096, NoDPOFUA: true},
	}})
	p := b.session("a", 0, 1)
	ask := func(lun uint16, cdb [16]byte) []byte {
		t.Helper()
		for {
			c := p.command(cdb, nil, 255)
			c.LUN = scsi.EncodeLUN(lun)
			r := results(t, p.ask(c, nil))[c.ITT]
			if r.sense.Key == scsi.UnitAttention {
				continue
			}
			if r.status != scsi.Good {
				t.Fatalf("LUN %d % x: %v", lun, cdb, r)
			}
			return r.data
		}
	}
	if m, err := scsi.ParseMode6(ask(0, scsi.ModeSense6(8, 0, 255))); err != nil || !m.WCE ||
		!m.DPOFUA || m.WriteProtected {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := scsi.ParseMode10(ask(7, scsi.ModeSense10(0x3f, 0, 255))); err != nil || m.WCE ||
		m.DPOFUA || !m.WriteProtected {
		t.Errorf("%+v %v", m, err)
	}
	if c, err := scsi.ParseCapacity16(ask(7, scsi.ReadCapacity16(32))); err != nil ||
		c.Blocks != 16 || c.BlockSize != 4096 || c.LBPME {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := scsi.ParseCapacity10(ask(0, scsi.ReadCapacity10())); err != nil || c.Blocks != 128 {
		t.Errorf("%+v %v", c, err)
	}
	list, _, err := scsi.ParseLUNs(ask(3, scsi.ReportLUNs(255)))
	if err != nil || fmt.Sprint(list) != "[0 7]" {
		t.Errorf("%v %v", list, err)
	}
	var names []string
	for _, lun := range []uint16{0, 7} {
		d, err := scsi.ParseDeviceID(ask(lun, scsi.Inquiry(true, scsi.PageDeviceID, 255)))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, d.Identity())
	}
	if names[0] == names[1] || names[0][:5] != "naa.6" {
		t.Error(names)
	}
	if d, err := scsi.ParseInquiry(ask(3, scsi.Inquiry(false, 0, 96))); err != nil || d.Present() {
		t.Errorf("a unit at LUN 3: %+v %v", d, err)
	}
	l, err := scsi.ParseBlockLimits(ask(0, scsi.Inquiry(true, scsi.PageBlockLimits, 255)))
	if err != nil || l.MaxUnmapLBAs == 0 || l.MaxTransfer != maxTransferBytes/512 {
		t.Errorf("%+v %v", l, err)
	}
	v, err := scsi.ParseLogicalProvisioning(
		ask(0, scsi.Inquiry(true, scsi.PageLogicalProvisioning, 255)))
	if err != nil || !v.LBPU || !v.LBPRZ {
		t.Errorf("%+v %v", v, err)
	}
}

func TestUnmapAndWriteSame(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	fill := pattern(5, 64<<10)
	p.result(scsi.Write16(0, 128, false), fill, 0)
	list := scsi.UnmapParameters(nil, []scsi.Range{
		{LBA: 1, Blocks: 2}, {LBA: 9}, {LBA: 10, Blocks: 1},
	})
	if r := p.result(scsi.Unmap(uint16(len(list))), list, 0); r.status != scsi.Good {
		t.Fatal(r)
	}
	if r := p.result(scsi.WriteSame16(20, 4, true, true), nil, 0); r.status != scsi.Good {
		t.Fatal(r)
	}
	same := scsi.WriteSame16(30, 200, false, false)
	if r := p.result(same, pattern(8, 512), 0); r.status != scsi.Good {
		t.Fatal(r)
	}
	got := p.result(scsi.Read16(0, 240, false), nil, 240*512).data
	for lba := range 240 {
		want := byte(5)
		switch {
		case lba == 1, lba == 2, lba == 10, lba >= 20 && lba < 24, lba >= 230:
			want = 0
		case lba >= 30:
			want = 8
		}
		if got[lba*512] != want || got[lba*512+511] != want {
			t.Errorf("block %d is %d, want %d", lba, got[lba*512], want)
		}
	}
}

func TestResiduals(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	for _, c := range []struct {
		cdb         [16]byte
		read, write int
		over, under bool
		residual    uint32
	}{
		{scsi.Read16(0, 2, false), 1024, 0, false, false, 0},
		{scsi.Read16(0, 2, false), 2000, 0, false, true, 976},
		{scsi.Read16(0, 2, false), 1000, 0, true, false, 24},
		{scsi.Write16(0, 2, false), 0, 1024, false, false, 0},
		{scsi.Write16(0, 2, false), 0, 512, true, false, 512},
		{scsi.Write16(0, 1, false), 0, 1024, false, true, 512},
		{scsi.TestUnitReady(), 100, 0, false, true, 100},
		{scsi.Read16(9999999, 1, false), 512, 0, false, true, 512},
	} {
		cmd := p.command(c.cdb, make([]byte, c.write), c.read)
		list := p.ask(cmd, make([]byte, c.write))
		g := list[len(list)-1]
		var over, under bool
		var residual uint32
		if g.Opcode() == pdu.OpDataIn {
			d, err := pdu.ParseDataIn(&g.Header)
			if err != nil {
				t.Fatal(err)
			}
			over, under, residual = d.Overflow, d.Underflow, d.Residual
		} else {
			r, err := pdu.ParseSCSIResponse(&g.Header)
			if err != nil {
				t.Fatal(err)
			}
			over, under, residual = r.Overflow, r.Underflow, r.Residual
		}
		if over != c.over || under != c.under || residual != c.residual {
			t.Errorf("% x expecting %d: over %v, under %v, residual %d; want %v, %v, %d", c.cdb,
				c.read+c.write, over, under, residual, c.over, c.under, c.residual)
		}
	}
}
