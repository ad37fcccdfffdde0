package iscsi

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// Data-In goes into the command's own memory; only the part that came with its
// header is copied.
func TestReadInPlace(t *testing.T) {
	r := newUp(t, 1, nil)
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 1<<20)
	p.expect(`SCSI Command F tag=1 cmdsn=1 expected=1048576`)
	want := pattern(1 << 20)
	for i := range 4 {
		p.dataIn(1, uint32(i), i<<18, want[i<<18:(i+1)<<18], i == 3)
	}
	r.ended(cmd)
	if cmd.Err != nil || cmd.Transferred != 1<<20 || !bytes.Equal(cmd.Data, want) {
		t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
	}

	cmd = r.submit(scsi.Read, 1<<16)
	var h pdu.Header
	pdu.DataIn{ITT: p.oneTag(), TTT: pdu.ReservedTag, DataLen: 1 << 16}.Marshal(&h)
	p.feed(h[:])
	if dst := p.c.RecvBuffers(nil)[0]; len(dst) != 1<<16 || &dst[0] != &cmd.Data[0] {
		t.Error("a data segment is not received in place")
	}
	r.alive()
}

// Status in a SCSI Response, residuals, short reads.
func TestReadEnds(t *testing.T) {
	respond := func(p *peer, edit func(*pdu.SCSIResponse), sense []byte) {
		exp, top := p.window()
		a := pdu.SCSIResponse{ITT: 1, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top}
		edit(&a)
		a.DataLen = len(sense)
		p.send(a, sense)
	}
	fixed := scsi.Sense{Key: scsi.MediumError, ASC: 0x11}.Append(nil, false)
	for _, c := range []struct {
		name  string
		send  func(p *peer)
		moved int    // if it is to end well
		err   string // else the command's error
		dead  string // or the session's
	}{
		{name: "status apart", moved: 1024, send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(1024), false)
			p.good(1)
		}},
		{name: "underflow", moved: 100, send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(100), false)
			respond(p, func(a *pdu.SCSIResponse) { a.Underflow, a.Residual = true, 924 }, nil)
		}},
		{name: "underflow in Data-In", moved: 99, send: func(p *peer) {
			exp, top := p.window()
			p.send(pdu.DataIn{ITT: 1, TTT: pdu.ReservedTag, Final: true, HasStatus: true,
				Underflow: true, Residual: 925, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top,
				DataLen: 99}, pattern(99))
		}},
		{name: "nothing at all", moved: 0, send: func(p *peer) {
			respond(p, func(a *pdu.SCSIResponse) { a.Underflow, a.Residual = true, 1024 }, nil)
		}},
		{name: "overflow", moved: 1024, send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(1024), false)
			respond(p, func(a *pdu.SCSIResponse) { a.Overflow, a.Residual = true, 7 }, nil)
		}},
		{name: "sense", err: "medium error", send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(512), false)
			respond(p, func(a *pdu.SCSIResponse) { a.Status = 2 }, pdu.AppendSense(nil, fixed))
		}},
		{name: "sense cut", err: "CHECK CONDITION", send: func(p *peer) {
			respond(p, func(a *pdu.SCSIResponse) { a.Status = 2 }, []byte{0, 200, 0x70})
		}},
		{name: "busy", err: "BUSY", send: func(p *peer) {
			respond(p, func(a *pdu.SCSIResponse) { a.Status = 8 }, nil)
		}},
		{name: "target failure", err: "44h", send: func(p *peer) {
			respond(p, func(a *pdu.SCSIResponse) { a.Response = 1 }, nil)
		}},
		{name: "bytes missing", dead: "GOOD after 512 bytes, residual count says 1024",
			send: func(p *peer) {
				p.dataIn(1, 0, 0, pattern(512), false)
				p.good(1)
			}},
		{name: "fewer by residual than came", dead: "residual count says 24", send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(512), false)
			respond(p, func(a *pdu.SCSIResponse) { a.Underflow, a.Residual = true, 1000 }, nil)
		}},
		{name: "residual too large", dead: "residual 1025", send: func(p *peer) {
			respond(p, func(a *pdu.SCSIResponse) { a.Underflow, a.Residual = true, 1025 }, nil)
		}},
		{name: "beyond the end", dead: "512 bytes at 1000", send: func(p *peer) {
			p.dataIn(1, 0, 1000, pattern(512), false)
		}},
		{name: "far beyond the end", dead: "512 bytes at 4294967295", send: func(p *peer) {
			p.dataIn(1, 0, 1<<32-1, pattern(512), false)
		}},
		{name: "out of order", dead: "data at 512, 0 was due", send: func(p *peer) {
			p.dataIn(1, 0, 512, pattern(512), false)
		}},
		{name: "twice", dead: "data at 0, 512 was due", send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(512), false)
			p.dataIn(1, 1, 0, pattern(512), false)
		}},
		{name: "DataSN", dead: "DataSN 1, 0 was due", send: func(p *peer) {
			p.dataIn(1, 1, 0, pattern(512), false)
		}},
		{name: "unknown tag", dead: "no command has this tag", send: func(p *peer) {
			p.dataIn(99, 0, 0, pattern(512), false)
		}},
		{name: "tag of an earlier use", dead: "no command has this tag", send: func(p *peer) {
			p.dataIn(1+generations, 0, 0, pattern(512), false)
		}},
		{name: "answered twice", dead: "no command has this tag", send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(1024), false)
			p.good(1)
			p.good(1)
		}},
		{name: "StatSN", dead: "StatSN 101, 102 was due", send: func(p *peer) {
			p.dataIn(1, 0, 0, pattern(1024), false)
			p.statSN--
			p.good(1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, nil)
			p := r.peers[0]
			p.statSN = 102 // the login used two
			cmd := r.submit(scsi.Read, 1024)
			p.take()
			c.send(p)
			r.ended(cmd)
			switch {
			case c.dead != "":
				r.dead(c.dead)
				if lost, sent := scsi.Lost(cmd.Err); cmd.Err != nil && !(lost && sent) {
					t.Errorf("ended with %v", cmd.Err)
				}
			case c.err != "":
				r.alive()
				var refused *scsi.StatusError
				if !errors.As(cmd.Err, &refused) || !strings.Contains(cmd.Err.Error(), c.err) {
					t.Errorf("ended with %v", cmd.Err)
				}
			default:
				r.alive()
				if cmd.Err != nil || cmd.Transferred != c.moved {
					t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
				}
				if !bytes.Equal(cmd.Data[:c.moved], pattern(c.moved)) {
					t.Error("other bytes than were sent")
				}
			}
		})
	}
}

// A write's tag is not a read's.
func TestDataInForWrite(t *testing.T) {
	r := newUp(t, 1, nil)
	cmd := r.submit(scsi.Write, 1024)
	r.peers[0].take()
	r.peers[0].dataIn(1, 0, 0, pattern(512), false)
	r.dead("does not read")
	r.ended(cmd)
}

// With DataPDUInOrder=No Data-In comes in any order, but no byte twice.
func TestDataInOutOfOrder(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		c.Offer.DataPDUInOrder, tc.DataPDUInOrder = false, false
	})
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 2048)
	p.take()
	want := pattern(2048)
	for i, at := range []int{1024, 0, 1536, 512} {
		p.dataIn(1, uint32(i), at, want[at:at+512], i == 3)
	}
	r.alive()
	r.ended(cmd)
	if !bytes.Equal(cmd.Data, want) {
		t.Error("other bytes than were sent")
	}
	r.submit(scsi.Read, 2048)
	itt := p.oneTag()
	p.dataIn(itt, 0, 512, want[:512], false)
	p.dataIn(itt, 1, 1000, want[:512], false)
	r.dead("came twice")
}

// extents against one flag per byte.
func TestExtents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var e extents
		var seen [200]bool
		for range 60 {
			from := rnd.IntN(len(seen))
			to := from + rnd.IntN(min(12, len(seen)-from+1))
			want := true
			for i := from; i < to; i++ {
				want = want && !seen[i]
			}
			if got := e.add(from, to); got != want {
				t.Fatalf("add %d to %d gives %v; have %v", from, to, got, e)
			}
			for i := from; want && i < to; i++ {
				seen[i] = true
			}
			for i := 1; i < len(e); i++ {
				if e[i-1].to >= e[i].from {
					t.Fatalf("not sorted and joined: %v", e)
				}
			}
		}
	}
	var e extents
	for i := range maxExtents {
		if !e.add(2*i, 2*i+1) {
			t.Fatalf("hole %d refused", i)
		}
	}
	if e.add(1<<20, 1<<20+1) {
		t.Error("holes without bound")
	}
}
