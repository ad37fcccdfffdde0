package iscsi

import (
	"errors"
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// TestUnitReset: with its answer, the commands sent before it have ended, on every connection;
// those sent after it have not.
func TestUnitReset(t *testing.T) {
	r := newUp(t, 2, nil)
	a, b := r.submit(scsi.Read, 512), r.submit(scsi.Read, 512)
	for _, p := range r.peers {
		p.take()
	}
	reset := &scsi.Command{Reset: true}
	r.s.Submit(r.now, reset)
	later := r.submit(scsi.Read, 512)
	r.ended()
	p := r.peers[0]
	first := p.take()
	if len(first) == 0 || first[0].h.Opcode() != pdu.OpTaskRequest {
		t.Fatalf("sent:\n%s", script(first))
	}
	q, err := pdu.ParseTaskRequest(&first[0].h)
	if err != nil || q.Function != pdu.LUNReset || q.LUN != r.s.cfg.LUN || !q.Immediate || q.CmdSN != 3 {
		t.Fatalf("%+v %v", q, err)
	}
	p.taskAnswer(q.ITT, pdu.TaskFunctionComplete)
	r.ended(a, b, reset)
	for _, c := range []*scsi.Command{a, b} {
		if e, ok := c.Err.(*scsi.StatusError); !ok || e.Status != scsi.TaskAborted {
			t.Errorf("ended with %v", c.Err)
		}
	}
	if reset.Err != nil {
		t.Error(reset.Err)
	}
	r.s.Kill(r.now, errKilled)
	r.ended(later)
}

func TestUnitResetFails(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(r *rig, p *peer)
		lost bool
		dead string
	}{
		"refused":    {do: func(_ *rig, p *peer) { p.taskAnswer(1, pdu.TaskFunctionNotSupported) }},
		"unanswered": {func(r *rig, _ *peer) { r.sleep(10 * second) }, true, "no answer to"},
		"cut off":    {func(r *rig, _ *peer) { r.s.Kill(r.now, errKilled) }, true, "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newUp(t, 1, nil)
			reset := &scsi.Command{Reset: true}
			r.s.Submit(r.now, reset)
			second := &scsi.Command{Reset: true}
			r.s.Submit(r.now, second) // one at a time
			r.ended(second)
			var busy *scsi.StatusError
			if !errors.As(second.Err, &busy) || busy.Status != scsi.Busy {
				t.Errorf("the second ended with %v", second.Err)
			}
			r.peers[0].take()
			c.do(r, r.peers[0])
			r.ended(reset)
			if lost, sent := scsi.Lost(reset.Err); lost != c.lost || sent != c.lost || reset.Err == nil {
				t.Errorf("ended with %v", reset.Err)
			}
			if c.dead != "" {
				r.dead(c.dead)
			} else {
				r.alive()
			}
		})
	}
}
