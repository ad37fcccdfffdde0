package target

import (
	"fmt"
	"testing"

	"braid/iscsi/scsi"
)

func TestAsymmetricAccess(t *testing.T) {
	b := newBench(t, Config{ALUA: true})
	one, two := b.session("a", 0, 1), b.session("a", 2, 1)
	if err := b.t.SetAccess(9, scsi.Standby); err == nil {
		t.Error("a group that is not there")
	}
	s, err := ParseScript("at 0s access 2 standby")
	if err != nil {
		t.Fatal(err)
	}
	b.t.Play(b.now, s)
	b.advance(0)
	for _, p := range []*peer{one, two} {
		r := p.result(scsi.TestUnitReady(), nil, 0)
		if r.sense.Attention() != scsi.ALUAChanged {
			t.Error(r)
		}
	}
	if r := one.result(scsi.Read16(0, 1, false), nil, 512); r.status != scsi.Good {
		t.Error(r)
	}
	if r := two.result(scsi.Read16(0, 1, false), nil, 512); r.sense.ASC != 4 || r.sense.ASCQ != 0x0b {
		t.Error(r)
	}
	r := two.result(scsi.ReportTargetPortGroups(255), nil, 255)
	g, _, err := scsi.ParsePortGroups(r.data)
	if err != nil || len(g.Groups) != 2 || g.Groups[0].State != scsi.ActiveOptimized ||
		g.Groups[1].State != scsi.Standby {
		t.Errorf("%v %+v %v", r, g, err)
	}
	for i, p := range []*peer{one, two} {
		page := p.result(scsi.Inquiry(true, scsi.PageDeviceID, 255), nil, 255)
		d, err := scsi.ParseDeviceID(page.data)
		if err != nil {
			t.Fatal(err)
		}
		id, ok := d.TargetPortGroup()
		port, _ := d.RelativeTargetPort()
		if !ok || int(id) != i+1 || int(port) != i+1 {
			t.Errorf("port group %d, port %d", id, port)
		}
	}
	inq, err := scsi.ParseInquiry(one.result(scsi.Inquiry(false, 0, 96), nil, 96).data)
	if err != nil || inq.TPGS != scsi.TPGSImplicit {
		t.Errorf("%+v %v", inq, err)
	}
}

// TestSetTargetPortGroups: an initiator changes the state of a group, if it may.
func TestSetTargetPortGroups(t *testing.T) {
	ask := func(p *peer, groups ...scsi.SetGroup) result {
		list := scsi.SetGroupParameters(nil, groups...)
		return p.result(scsi.SetTargetPortGroups(uint32(len(list))), list, 0)
	}
	b := newBench(t, Config{ALUA: true})
	if r := ask(b.session("a", 0, 1), scsi.SetGroup{ID: 1}); r.sense.ASC != 0x20 {
		t.Error("by the target alone:", r)
	}
	b = newBench(t, Config{ALUA: true, TPGS: scsi.TPGSBoth, TransitionTime: 7})
	one, two := b.session("a", 0, 1), b.session("a", 2, 1)
	for i, test := range []struct {
		group scsi.SetGroup
		asc   uint8
	}{
		{scsi.SetGroup{ID: 9}, 0x26},
		{scsi.SetGroup{ID: 1, State: scsi.Transitioning}, 0x26},
		{scsi.SetGroup{ID: 1, State: scsi.Standby}, 0},
	} {
		if r := ask(two, test.group); r.sense.ASC != test.asc {
			t.Errorf("%d: %v", i, r)
		}
	}
	if r := one.result(scsi.TestUnitReady(), nil, 0); r.sense.Attention() != scsi.ALUAChanged {
		t.Error("nobody told the other nexus:", r)
	}
	if r := one.result(scsi.TestUnitReady(), nil, 0); r.sense.ASCQ != 0x0b {
		t.Error(r)
	}
	if r := ask(one, scsi.SetGroup{ID: 1}); r.status != scsi.Good {
		t.Error("in standby:", r)
	}
	if r := one.result(scsi.TestUnitReady(), nil, 0); r.status != scsi.Good {
		t.Error(r)
	}
	r := one.result(scsi.ReportTargetPortGroupsExtended(255), nil, 255)
	if g, _, err := scsi.ParsePortGroups(r.data); err != nil || g.TransitionTime != 7 {
		t.Errorf("%+v %v", g, err)
	}
}

func TestCapacityAndProtectionByScript(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	do := func(line string) {
		t.Helper()
		s, err := ParseScript("at 0s " + line)
		if err != nil {
			t.Fatal(err)
		}
		b.t.Play(b.now, s)
		b.advance(0)
	}
	do("capacity 0 16")
	if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.Attention() != scsi.CapacityChanged {
		t.Error(r)
	}
	c, err := scsi.ParseCapacity16(p.result(scsi.ReadCapacity16(32), nil, 32).data)
	if err != nil || c.Blocks != 16 {
		t.Errorf("%+v %v", c, err)
	}
	for _, on := range []string{"", " off"} {
		do("write-protect 0" + on)
		if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.Attention() != scsi.ModeChanged {
			t.Error(r)
		}
		r := p.result(scsi.Write16(0, 1, false), pattern(7, 512), 0)
		if protected := r.sense.Key == scsi.DataProtect; protected != (on == "") {
			t.Error(on, r)
		}
	}
}

func TestRefusedCommands(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	block := pattern(7, 512)
	for _, c := range []struct{ line, want string }{
		{"refuse 1 all busy", "[BUSY GOOD GOOD GOOD]"},
		{"refuse 2 writes task-set-full", "[GOOD TASK SET FULL GOOD GOOD]"},
		{"refuse 1 flushes medium-error", "[GOOD GOOD CHECK CONDITION: medium error 0Ch/00h (write error) GOOD]"},
		{"refuse 9 reads aborted-command", "[CHECK CONDITION: aborted command 00h/00h GOOD GOOD GOOD]"},
		{"refuse 0 all busy", "[GOOD GOOD GOOD GOOD]"},
		{"refuse 9 all no-space", "[x x x GOOD]"},
	} {
		s, err := ParseScript("at 0s " + c.line)
		if err != nil {
			t.Fatal(err)
		}
		b.t.Play(b.now, s)
		b.advance(0)
		var got []string
		for _, r := range []result{
			p.result(scsi.Read16(0, 1, false), nil, 512),
			p.result(scsi.Write16(0, 1, false), block, 0),
			p.result(scsi.SynchronizeCache16(0, 0), nil, 0),
			p.result(scsi.TestUnitReady(), nil, 0),
		} {
			got = append(got, r.String())
			if r.sense.ASC == 0x27 && r.sense.ASCQ == 7 {
				got[len(got)-1] = "x"
			}
		}
		if g := fmt.Sprint(got); g != c.want {
			t.Errorf("%s: %s, want %s", c.line, g, c.want)
		}
	}
}
