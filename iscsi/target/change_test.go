package target

import (
	"testing"

	"braid/iscsi/scsi"
)

// TestChanges: what a unit becomes is seen by commands, and told by a unit attention first.
func TestChanges(t *testing.T) {
	b := newBench(t, Config{FirstAttention: AttentionNone})
	p := b.session("a", 0, 1)
	u := b.t.units[0]
	told := func(want scsi.Attention) {
		t.Helper()
		if r := p.result(scsi.TestUnitReady(), nil, 0); r.sense.Attention() != want {
			t.Fatalf("%v, want %v", r.sense.Attention(), want)
		}
	}
	write := func(lba uint64) scsi.Sense {
		t.Helper()
		data := make([]byte, u.BlockSize)
		return p.result(scsi.Write16(lba, 1, false), data, 0).sense
	}
	b.t.SetReadOnly(0, true)
	told(scsi.ModeChanged)
	if s := write(0); s != writeProtected {
		t.Errorf("protected: %v", s)
	}
	b.t.SetReadOnly(0, false)
	told(scsi.ModeChanged)
	if s := write(0); s != (scsi.Sense{}) {
		t.Errorf("not protected any more: %v", s)
	}
	all := u.blocks
	b.t.SetCapacity(0, all-1)
	told(scsi.CapacityChanged)
	if s := write(all - 1); s != outOfRange {
		t.Errorf("beyond the end: %v", s)
	}
	b.t.SetCapacity(0, all)
	b.t.SetCapacity(0, all+1) // there is no room for that
	told(scsi.CapacityChanged)
	if s := write(all - 1); s != (scsi.Sense{}) {
		t.Errorf("the unit has grown: %v", s)
	}
	b.t.SetWriteCache(0, !u.WriteCache)
	told(scsi.ModeChanged)
	b.t.LostElsewhere()
	told(scsi.CacheLoss)
	b.t.Attend(Attention{Code: 0x3f, Qualifier: 0x0e}, func() bool { return false })
	b.t.Attend(Attention{Code: 0x3f, Qualifier: 0x0e}, nil)
	told(scsi.LUNsChanged)
	told(scsi.NotAttention)
}

// TestWelcome: a new nexus finds one more unit attention.
func TestWelcome(t *testing.T) {
	b := newBench(t, Config{FirstAttention: AttentionNone})
	b.session("a", 0, 1)
	n := b.t.nexuses[0]
	b.t.cfg.Welcome = func() Attention { return Attention{0x2a, 0x03} }
	b.t.welcome(n)
	if sense := n.attention[0].take(); sense.Attention() != scsi.ReservationsChanged {
		t.Error(sense)
	}
}
