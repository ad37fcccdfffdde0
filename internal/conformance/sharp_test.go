package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"braid/iscsi"
	"braid/iscsi/login"
)

// free are the bits of a header that an initiator may choose, so that the Judge
// cannot tell when one is turned: tags, LUN, CDB, the ISID's qualifier, an
// ExpStatSN that acknowledges less than it might.
var free = masks(map[byte]string{
	//        op F        AHS DSL  LUN               ITT      TTT      CmdSN    ExpStat
	// With another opcode a NOP-Out is a Text Request without text.
	NopOut: "04000000 00000000 0000000000000000 ffffffff 00000000 00000000 00000007" + free16,
	SCSI:   "00470000 00000000 ffffffffffffffff ffffffff ffffffff 00000000 00000007" + rest16,
	// On several connections the next CmdSN is not the same everywhere; ExpDataSN
	// may ask for more than is needed.
	TaskReq: "00000000 00000000 0000000000000000 ffffffff 00000000 0000003f 00000007" +
		"00000000 00000003 00000000 00000000",
	LoginReq: "00020000 00000000 0000000000000000 00000000 00000000 00000000 ffffffff" + free16,
	// F may be 0 where the initiator has no more to say either.
	TextReq: "00800000 00000000 0000000000000000 ffffffff 00000000 00000000 00000007" + free16,
	DataOut: "00000000 00000000 0000000000000000 00000000 00000000 00000000 00000007" + free16,
	// Not immediate; the close of the connection with the CID 0 instead of the session.
	LogoutReq: "40010000 00000000 0000000000000000 ffffffff 00000000 0000003f 00000007" + free16,
	// A run of 0 or another length is a fair question too; so is another start.
	SNACK: "00000000 00000000 0000000000000000 00000000 00000000 00000000 00000007" +
		"00000000 00000000 ffffffff ffffffff",
})

// replay shows events to a new Judge, with one PDU in the place of another.
func replay(events []event, at int, instead []byte) *Judge {
	j := NewJudge()
	for i, e := range events {
		switch {
		case e.initiator != nil && i == at:
			j.FromInitiator(e.link, instead)
		case e.initiator != nil:
			j.FromInitiator(e.link, e.initiator.Wire)
		case e.target != nil:
			j.FromTarget(e.link, e.target)
		case e.lost:
			j.Lost(e.link)
		default:
			j.Open()
		}
		if len(j.Complaints) > 0 {
			return j
		}
	}
	j.End()
	return j
}

// Every bit of PDU headers of every kind in good exchanges is turned, one at a time: the
// Judge notices each that an initiator is not free to choose.
func TestJudgeIsSharp(t *testing.T) {
	turned, noticed := 0, 0
	for _, events := range exchanges(t) {
		if j := replay(events, -1, nil); len(j.Complaints) > 0 {
			t.Fatalf("a good exchange: %v", j.Complaints)
		}
		kinds := map[byte]int{}
		for i, e := range events {
			if e.initiator == nil {
				continue
			}
			op := e.initiator.Op()
			if kinds[op]++; kinds[op] > 5 {
				continue // enough of its kind in one exchange
			}
			for bit := range 384 {
				wire := bytes.Clone(e.initiator.Wire)
				wire[bit/8] ^= 0x80 >> (bit % 8)
				turned++
				if len(replay(events, i, wire).Complaints) > 0 {
					noticed++
					continue
				}
				cutOff := bit/8 >= 4 && bit/8 < 8 && i+1 < len(events) && events[i+1].lost
				if free[op][bit/8]&(0x80>>(bit%8)) == 0 && !cutOff {
					t.Errorf("%s: bit 0x%02x of byte %d turned, and nothing was said: %x",
						opNames[op], 0x80>>(bit%8), bit/8, wire[:48])
				}
			}
		}
	}
	t.Logf("%d bits turned, %d noticed, the others are free to choose", turned, noticed)
}

// exchanges are sessions that have all PDUs of an initiator in them.
func exchanges(t *testing.T) (list [][]event) {
	t.Helper()
	// Login, a write with all kinds of data, a read, pings both ways, an abort,
	// logout.
	r := newUp(t, bursts("No", "Yes", 512, 1536, 2048, 1))
	l := r.first()
	c := r.write(2560)
	q := r.take(l)[0]
	l.Send(l.Ready(q, 0, 0x31, 1536, 1024))
	r.take(l)
	l.Good(q.ITT())
	rd := r.read(512)
	q = r.one(l, SCSI)
	l.Send(l.Data(q, 0, 0, FBit|SBit, pattern(512)))
	r.done(c, rd)
	r.s.Probe(r.now)
	l.Send(l.Nop(r.one(l, NopOut).ITT(), None, 0, nil))
	l.Send(l.Nop(None, 0x41, lunBytes, nil))
	r.one(l, NopOut)
	cmd, _, abort := r.aborted(l)
	l.Send(l.Managed(abort.ITT(), 0))
	r.back(cmd)
	r.s.Logout(r.now)
	l.Send(l.Out(r.one(l, LogoutReq).ITT(), 0, 0, 0))
	list = append(list, r.events)

	// Discovery, with a text that is continued.
	d, l, q := discovery(t)
	l.Send(l.TextAnswer(q.ITT(), 0, 0x51, []byte(records)).Set(8, 8, 7<<48))
	q = d.one(l, TextReq)
	l.Send(l.TextAnswer(q.ITT(), FBit, None, nil))
	d.s.Logout(d.now)
	l.Send(l.Out(d.one(l, LogoutReq).ITT(), 0, 0, 0))
	list = append(list, d.events)

	// Level 1: all that a SNACK may ask for.
	r, l = levelOne(t)
	c = r.read(3072)
	q = r.one(l, SCSI)
	data := dataOf(l, q, pattern(3072))
	l.Send(data[0].Set(1, 1, ABit).Set(8, 8, lunBytes).Set(20, 4, 0x61))
	r.one(l, SNACK)
	l.Send(data[2])
	r.one(l, SNACK)
	l.Send(data[1])
	lost := l.Status(q.ITT(), 0, nil)
	l.Send(l.Event(0xff, 0, 0, 0))
	r.one(l, SNACK)
	l.Send(withCount(lost, 3))
	r.done(c)
	r.s.Logout(r.now)
	l.Send(l.Out(r.one(l, LogoutReq).ITT(), 0, 0, 0))
	list = append(list, r.events)

	// Level 2: a connection is lost, its task reassigned.
	r, _ = reassignWrite(t)
	return append(list, r.events)
}

// What a header alone does not show: each of these the Judge must notice.
func TestJudgeNotices(t *testing.T) {
	r := newUp(t, answers("HeaderDigest=CRC32C", "DataDigest=CRC32C"),
		func(c *iscsi.Config, _ *rig) { c.Offer.DataDigest = login.DigestCRC32C })
	l := r.first()
	c := r.write(5)
	q := r.one(l, SCSI)
	l.Good(q.ITT())
	r.done(c)
	next := r.check()
	l.Good(r.one(l, SCSI).ITT())
	r.done(next)
	at := slices.IndexFunc(r.events, func(e event) bool { return e.initiator == q })
	n := len(q.Wire)
	for name, change := range map[string]func([]byte) []byte{
		"header digest":   func(b []byte) []byte { b[48] ^= 1; return b },
		"data":            func(b []byte) []byte { b[52] ^= 1; return b },
		"padding":         func(b []byte) []byte { b[n-5] ^= 1; return b },
		"data digest":     func(b []byte) []byte { b[n-1] ^= 1; return b },
		"sent twice":      func(b []byte) []byte { return append(b, b...) },
		"cut short":       func(b []byte) []byte { return b[:n-1] },
		"not an opcode":   func(b []byte) []byte { b[0] = 0x3d; return b },
		"a target's":      func(b []byte) []byte { b[0] = SCSIResp; return b },
		"login once more": func(b []byte) []byte { b[0] = 0x40 | LoginReq; return b },
	} {
		if j := replay(r.events, at, change(bytes.Clone(q.Wire))); len(j.Complaints) == 0 {
			t.Errorf("%s: nothing was said", name)
		}
	}
	for _, keys := range []string{"HeaderDigest=crc32c", "MaxBurstLength=100", "InitialR2T=no",
		"MaxBurstLength=0x1000000", "=5", "Wobble=5", "MaxConnections=0", "ErrorRecoveryLevel=3",
		"MaxRecvDataSegmentLength=1e6", "A_very_long_name_of_a_key_" + fmt.Sprintf("%060d", 1) + "=1"} {
		var bad *PDU
		for i, e := range r.events {
			if e.initiator != nil && e.initiator.Op() == LoginReq && csg(e.initiator) == 1 {
				bad = New(0x40|LoginReq, e.initiator.H[1], Text(keys))
				copy(bad.H[8:], e.initiator.H[8:])
				if j := replay(r.events[:i+1], i, bad.Bytes(false, false)); len(j.Complaints) == 0 {
					t.Errorf("%q: nothing was said", keys)
				}
			}
		}
		if bad == nil {
			t.Fatal("no operational keys found")
		}
	}
}
