package iscsi

import (
	"math"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func TestWindow(t *testing.T) {
	const m = math.MaxUint32
	for _, c := range []struct {
		name           string
		next, exp, max uint32 // before
		gotExp, gotMax uint32 // heard
		wantExp        uint32
		wantMax        uint32
		open           bool
	}{
		{"moves on", 10, 5, 12, 9, 20, 9, 20, true},
		{"closed", 10, 5, 9, 10, 9, 10, 9, false},
		{"stale", 10, 5, 12, 4, 11, 5, 12, true},
		{"half stale: max", 10, 5, 12, 8, 11, 8, 12, true},
		{"half stale: exp", 10, 5, 12, 4, 13, 5, 13, true},
		{"void: max below exp-1", 10, 5, 9, 9, 7, 5, 9, false},
		{"void: more received than was sent", 10, 5, 9, 11, 30, 5, 9, false},
		{"wrap", 2, m - 1, m, 2, 5, 2, 5, true},
		{"stale over the wrap", 2, 1, 4, m, m, 1, 4, true},
		{"half a circle away", 10, 10, 9, 10, 9 + 1<<31, 10, 9, false},
	} {
		w := window{next: c.next, exp: c.exp, max: c.max}
		w.update(c.gotExp, c.gotMax)
		if w.exp != c.wantExp || w.max != c.wantMax || w.open() != c.open {
			t.Errorf("%s: exp %d max %d open %v", c.name, w.exp, w.max, w.open())
		}
	}
}

// A closed window holds commands back, in their order; what is immediate passes.
func TestClosedWindow(t *testing.T) {
	r := newRig(t, 1, func(c *Config, _ *login.TargetConfig) { c.NopInterval = time.Second })
	r.room = 2
	p := r.accept()[0]
	p.logIn()
	var list []*scsi.Command
	for range 5 {
		list = append(list, r.submit(scsi.Read, 512))
	}
	p.expect(`
		SCSI Command F tag=1 cmdsn=1 expected=512
		SCSI Command F tag=2 cmdsn=2 expected=512`)
	r.sleep(time.Second)
	p.expect(`NOP-Out I F tag=6 ttt=ffffffff cmdsn=3`)
	p.dataIn(2, 0, 0, make([]byte, 512), true)
	p.expect(`
		SCSI Command F tag=3 cmdsn=3 expected=512
		SCSI Command F tag=4 cmdsn=4 expected=512`)
	r.ended(list[1])
	r.room = 0
	p.dataIn(1, 0, 0, make([]byte, 512), true)
	p.expect(``)
	r.room = 3
	exp, top := p.window()
	p.send(pdu.NopIn{ITT: pdu.ReservedTag, TTT: pdu.ReservedTag, StatSN: p.statSN,
		ExpCmdSN: exp, MaxCmdSN: top}, nil)
	p.expect(`SCSI Command F tag=5 cmdsn=5 expected=512`)
	r.ended(list[0])
	r.alive()
}

// When the window opens, what waited goes in the order of submission.
func TestQueueOrder(t *testing.T) {
	r := newRig(t, 1, nil)
	r.room = 0
	p := r.accept()[0]
	p.logIn()
	for _, dir := range []scsi.Direction{scsi.Write, scsi.Read, scsi.Write, scsi.None} {
		r.submit(dir, 512)
	}
	p.expect(``)
	r.room = 4
	p.nopIn(pdu.ReservedTag, pdu.ReservedTag)
	p.expect(`
		SCSI Command F tag=1 cmdsn=1 expected=512 data=512
		SCSI Command F tag=2 cmdsn=2 expected=512
		SCSI Command F tag=3 cmdsn=3 expected=512 data=512
		SCSI Command F tag=4 cmdsn=4 expected=0`)
}

// CmdSN passes from 4294967295 to 0.
func TestCmdSNWraps(t *testing.T) {
	r := newRig(t, 1, nil)
	r.s.window.next = math.MaxUint32 - 1
	r.exp = math.MaxUint32 - 1
	p := r.accept()[0]
	p.logIn()
	for range 4 {
		cmd := r.submit(scsi.Write, 512)
		p.good(p.oneTag())
		r.ended(cmd)
		r.alive()
	}
	if r.s.window.next != 2 {
		t.Errorf("next CmdSN is %d", r.s.window.next)
	}
}

// Tags: never the reserved one, each once at a time, not found once free.
func TestTags(t *testing.T) {
	var tt taskTable
	tt.init()
	seen := map[uint32]bool{}
	var list []*task
	for range taskMax {
		k := tt.get(kindNop)
		if k == nil || seen[k.itt] || k.itt == pdu.ReservedTag || tt.find(k.itt) != k {
			t.Fatalf("tag %d of %v", len(list), k)
		}
		seen[k.itt] = true
		list = append(list, k)
	}
	if tt.get(kindNop) != nil {
		t.Error("more than 65535 tags")
	}
	for round := range 3 {
		old := list[100].itt
		tt.put(list[100])
		if tt.find(old) != nil {
			t.Error("a free tag is found")
		}
		again := tt.get(kindNop)
		if again == nil || again.itt == old || seen[again.itt] {
			t.Errorf("round %d: tag %x comes back as %v", round, old, again)
		}
		seen[again.itt] = true
	}
	// The last use of a slot: the upper half wraps.
	k := list[5]
	k.itt |= 0xffff0000
	tt.put(k)
	if k.itt != 5 {
		t.Errorf("after the last use the tag is %x", k.itt)
	}
}

// Too many commands come back as TASK SET FULL, the rest go on.
func TestTagsRunOut(t *testing.T) {
	r := newUp(t, 1, nil)
	full := 0
	for range taskMax + 10 {
		r.s.Submit(r.now, &scsi.Command{})
	}
	for c := r.s.Completed(); c != nil; c = r.s.Completed() {
		if e, ok := c.Err.(*scsi.StatusError); !ok || e.Status != scsi.TaskSetFull {
			t.Fatalf("ended with %v", c.Err)
		}
		full++
	}
	if full != 10 {
		t.Errorf("%d commands refused", full)
	}
	r.s.Kill(r.now, nil)
	n := 0
	for c := r.s.Completed(); c != nil; c = r.s.Completed() {
		n++
	}
	if n != taskMax {
		t.Errorf("%d commands came back", n)
	}
}
