package target

import (
	"testing"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// manage sends a task management function; -1 is no answer yet.
func (p *peer) manage(r pdu.TaskRequest) (response int, all []got) {
	p.b.Helper()
	r.Immediate, r.ITT, r.ExpStatSN = true, 0x7000, p.stat
	if r.CmdSN == 0 {
		r.CmdSN = p.cmdSN
	}
	list := p.ask(r, nil)
	return taskResponse(p.b, list), list
}

func taskResponse(tb testing.TB, list []got) int {
	tb.Helper()
	for i := range list {
		if list[i].Opcode() == pdu.OpTaskResponse {
			r, err := pdu.ParseTaskResponse(&list[i].Header)
			if err != nil {
				tb.Fatal(err)
			}
			return int(r.Response)
		}
	}
	return -1
}

func TestAbortTask(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(p, 7)
	tag, sn := p.itt-1, p.cmdSN-1
	abort := pdu.TaskRequest{Function: pdu.AbortTask, RefTag: tag, RefCmdSN: sn}
	if r, _ := p.manage(abort); r != int(pdu.TaskFunctionComplete) {
		t.Error(r)
	}
	if r, _ := p.manage(abort); r != int(pdu.TaskDoesNotExist) {
		t.Error("twice:", r)
	}
	b.advance(2 * time.Second)
	if x := block0(b); x != 0 {
		t.Error("it was executed")
	}
	if list := p.flush(); len(list) != 0 {
		t.Error("it was answered:", describe(list))
	}
}

func TestAbortOfATaskThatDidNotArriveClosesTheHole(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	lost := p.command(scsi.TestUnitReady(), nil, 0)
	next := p.command(scsi.TestUnitReady(), nil, 0)
	if list := p.ask(next, nil); len(list) != 0 {
		t.Fatal(describe(list))
	}
	r, list := p.manage(pdu.TaskRequest{
		Function: pdu.AbortTask, RefTag: lost.ITT, RefCmdSN: lost.CmdSN,
	})
	if r != int(pdu.TaskFunctionComplete) || results(t, list)[next.ITT].status != scsi.Good {
		t.Error(r, describe(list))
	}
	if list := p.ask(lost, nil); len(list) != 0 {
		t.Error("the late command was answered:", describe(list))
	}
}

func TestAbortTaskSetIsOfOneNexus(t *testing.T) {
	b := newBench(t, Config{})
	one, two := b.session("a", 0, 1), b.session("b", 0, 1)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(one, 7)
	c := two.command(scsi.TestUnitReady(), nil, 0)
	two.ask(c, nil)
	if r, _ := one.manage(pdu.TaskRequest{Function: pdu.AbortTaskSet}); r != 0 {
		t.Error(r)
	}
	b.advance(time.Second)
	if r := results(t, two.flush())[c.ITT]; r.status != scsi.Good {
		t.Error(r)
	}
	if x := block0(b); x != 0 {
		t.Error("it was executed")
	}
}

func TestLUNReset(t *testing.T) {
	b := newBench(t, Config{})
	one, two := b.session("a", 0, 1), b.session("b", 0, 1)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(one, 7)
	c := two.command(scsi.Write16(0, 1, false), pattern(8, 512), 0)
	two.ask(c, pattern(8, 512))
	if r, _ := one.manage(pdu.TaskRequest{Function: pdu.LUNReset}); r != 0 {
		t.Error(r)
	}
	if r, ok := results(t, two.flush())[c.ITT]; !ok || r.status != scsi.TaskAborted {
		t.Error("the other nexus was told", r)
	}
	b.t.Delay(0, AnyCommand, 0, 0)
	b.advance(time.Second)
	if x := block0(b); x != 0 {
		t.Error("it was executed")
	}
	for _, p := range []*peer{one, two} {
		if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.ASC != 0x29 || r.sense.ASCQ != 3 {
			t.Error(r)
		}
	}
}

func TestManagementFunctionsThatAreRefused(t *testing.T) {
	b := newBench(t, Config{})
	p := b.session("a", 0, 1)
	for _, c := range []struct {
		r    pdu.TaskRequest
		want uint8
	}{
		{pdu.TaskRequest{Function: pdu.LUNReset, LUN: scsi.EncodeLUN(9)}, pdu.TaskLUNDoesNotExist},
		{pdu.TaskRequest{Function: pdu.TaskReassign}, pdu.TaskReassignNotSupported},
		{pdu.TaskRequest{Function: pdu.ClearACA}, pdu.TaskFunctionNotSupported},
		{pdu.TaskRequest{Function: pdu.TargetColdReset}, pdu.TaskFunctionNotSupported},
		{pdu.TaskRequest{Function: 99}, pdu.TaskFunctionNotSupported},
		{pdu.TaskRequest{Function: pdu.AbortTask, RefTag: 55, RefCmdSN: 1}, pdu.TaskDoesNotExist},
		{pdu.TaskRequest{Function: pdu.TargetWarmReset}, pdu.TaskFunctionComplete},
	} {
		if r, _ := p.manage(c.r); r != int(c.want) {
			t.Errorf("function %d: %d, want %d", c.r.Function, r, c.want)
		}
	}
}

func TestManagementWaitsForEarlierCommands(t *testing.T) {
	b := newBench(t, Config{})
	one := b.session("a", 0, 1)
	two := b.join(one, "a", 1, 1, 2)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	c := one.command(scsi.Write16(0, 1, false), pattern(7, 512), 0)
	if r, _ := two.manage(pdu.TaskRequest{Function: pdu.AbortTaskSet, CmdSN: one.cmdSN}); r != -1 {
		t.Fatal("answered before the earlier command came:", r)
	}
	one.ask(c, pattern(7, 512))
	if r := taskResponse(t, two.flush()); r != 0 {
		t.Fatal(r)
	}
	b.advance(2 * time.Second)
	if x := block0(b); x != 0 {
		t.Error("the earlier command was executed")
	}
}

func TestManagementWaitsForTheStore(t *testing.T) {
	b, store := slowBench(t)
	p, other := b.session("a", 0, 1), b.session("b", 0, 1)
	slowWrite(p, 7)
	c := other.command(scsi.Write16(9, 1, false), pattern(7, 512), 0)
	other.ask(c, pattern(7, 512))
	if r, _ := p.manage(pdu.TaskRequest{Function: pdu.LUNReset}); r != -1 {
		t.Fatal("answered while a write was on its way to the medium:", r)
	}
	store.release(b.now)
	list := p.flush()
	if r := taskResponse(t, list); r != 0 || len(list) != 1 {
		t.Error(describe(list))
	}
	if r, ok := results(t, other.flush())[c.ITT]; !ok || r.status != scsi.TaskAborted {
		t.Error("the other nexus:", r)
	}
}
