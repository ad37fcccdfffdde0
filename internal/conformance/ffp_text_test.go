package conformance

import (
	"fmt"
	"testing"

	"braid/iscsi/login"
)

// discovery begins a discovery session that is up and has asked for all targets;
// it gives the request.
func discovery(t *testing.T) (r *rig, l *Link, q *PDU) {
	t.Helper()
	r = newUp(t, offer(func(o *login.Offer) { o.Discovery, o.TargetName = true, "" }))
	l = r.first()
	r.s.SendTargets(r.now, "")
	return r, l, r.one(l, TextReq)
}

const records = "TargetName=iqn.2026-01.net.example:a\x00TargetAddress=192.0.2.1:3260,1\x00" +
	"TargetAddress=[2001:db8::1]:3260,2\x00TargetName=iqn.2026-01.net.example:b\x00"

// found checks what SendTargets has brought.
func (r *rig) found() {
	r.t.Helper()
	list, done := r.s.Targets()
	if !done || len(list) != 2 || len(list[0].Portals) != 2 || list[1].Name == "" {
		r.t.Errorf("done %v: %v (session: %v)", done, list, r.s.Err())
	}
}

func TestFFP_18_1_TextFields(t *testing.T) {
	r, l, q := discovery(t)
	if q.H[1] != 0x80 || string(q.Data) != "SendTargets=All\x00" {
		t.Errorf("%x %q", q.H, q.Data)
	}
	l.Send(l.TextAnswer(q.ITT(), FBit, None, []byte(records)))
	r.found()
	// Within a normal session, of its own target.
	r = newUp(t)
	l = r.first()
	r.s.SendTargets(r.now, targetName)
	if q = r.one(l, TextReq); string(q.Data) != "SendTargets="+targetName+"\x00" {
		t.Errorf("%q", q.Data)
	}
	l.Send(l.TextAnswer(q.ITT(), FBit, None, []byte("TargetName="+targetName+"\x00")))
	r.alive()
}

func TestFFP_18_2_TextTaskTag(t *testing.T) {
	r, l, q := discovery(t)
	seen := map[uint32]bool{q.ITT(): true}
	for range 5 {
		l.Send(l.TextAnswer(q.ITT(), FBit, None, []byte(records)))
		r.found()
		r.s.SendTargets(r.now, "")
		q = r.one(l, TextReq)
		if seen[q.ITT()] || q.ITT() == None {
			t.Errorf("task tag 0x%x again", q.ITT())
		}
		seen[q.ITT()] = true
	}
	// An answer to no question ends the session.
	r.tainted()
	l.Send(l.TextAnswer(q.ITT()+1, FBit, None, []byte(records)))
	r.dead("tag")
}

func TestFFP_18_3_1_TextTargetTransferTag(t *testing.T) {
	_, _, q := discovery(t)
	if q.TTT() != None || q.U64(8) != 0 {
		t.Errorf("%x", q.H)
	}
}

func TestFFP_18_3_2_TextContinuation(t *testing.T) {
	r, l, q := discovery(t)
	r.tainted() // the dissector does not put keys together that are cut
	itt := q.ITT()
	for i := range len(records) {
		if i == len(records)-1 {
			l.Send(l.TextAnswer(itt, FBit, None, []byte(records[i:])))
			break
		}
		// With the C bit the text goes on; a LUN that the target sends with its
		// tag comes back.
		p := l.TextAnswer(itt, 0x40, uint32(1000+i), []byte(records[i:i+1]))
		l.Send(p.Set(8, 8, uint64(i)<<48))
		q = r.one(l, TextReq)
		if q.TTT() != uint32(1000+i) || q.ITT() != itt || len(q.Data) != 0 || !q.Final() {
			t.Fatalf("continued with %x", q.H)
		}
	}
	r.found()
}

func TestFFP_18_4_TextOtherFields(t *testing.T) {
	r, l, q := discovery(t)
	if q.Immediate() || q.CmdSN() != 1 || q.ExpStatSN() != l.StatSN {
		t.Errorf("immediate %v, CmdSN %d, ExpStatSN %d (%d is next)", q.Immediate(), q.CmdSN(),
			q.ExpStatSN(), l.StatSN)
	}
	l.Send(l.TextAnswer(q.ITT(), FBit, None, []byte(records)))
	r.s.SendTargets(r.now, "")
	if q = r.one(l, TextReq); q.CmdSN() != 2 || q.ExpStatSN() != l.StatSN {
		t.Errorf("CmdSN %d, ExpStatSN %d", q.CmdSN(), q.ExpStatSN())
	}
}

func TestFFP_18_5_NegotiationReset(t *testing.T) {
	// A new question begins anew: reserved tag, nothing left of the one before,
	// also where that one came in pieces.
	r, l, q := discovery(t)
	r.tainted() // as above
	for i := range 3 {
		l.Send(l.TextAnswer(q.ITT(), 0x40, uint32(7+i), []byte(records[:20])))
		q = r.one(l, TextReq)
		l.Send(l.TextAnswer(q.ITT(), FBit, None, []byte(records[20:])))
		r.found()
		r.s.SendTargets(r.now, "")
		q = r.one(l, TextReq)
		if q.TTT() != None || len(q.Data) == 0 {
			t.Errorf("a new question is %x", q.H)
		}
	}
	// A target that gives up (Reject) is told so.
	l.Send(l.Refuse(0x0b, q))
	if r.s.Err() == nil {
		t.Error("alive after the Reject of its only question")
	}
}

// Many targets: the text is far larger than a PDU.
func TestFFP_18_3_2_TextOfManyPDUs(t *testing.T) {
	r, l, q := discovery(t)
	r.tainted() // as above
	var all []byte
	for i := range 3000 {
		all = append(all, Text(fmt.Sprintf("TargetName=iqn.2026-01.net.example:n%d", i),
			"TargetAddress=192.0.2.1:3260,1")...)
	}
	for at := 0; at < len(all); at += 8000 {
		end := min(at+8000, len(all))
		if end == len(all) {
			l.Send(l.TextAnswer(q.ITT(), FBit, None, all[at:]))
			break
		}
		l.Send(l.TextAnswer(q.ITT(), 0x40, 9, all[at:end]))
		q = r.one(l, TextReq)
	}
	if list, done := r.s.Targets(); !done || len(list) != 3000 {
		t.Errorf("%d targets, done %v, %v", len(list), done, r.s.Err())
	}
}
