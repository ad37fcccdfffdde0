package mpath

import (
	"testing"

	"braid/iscsi/scsi"
)

// TestSilenceThatBeginsLater: a path that is slow, and falls silent only after its siblings
// were asked for life, is given up all the same when they answer: they are asked again.
func TestSilenceThatBeginsLater(t *testing.T) {
	r := ready(t, 2)
	q := r.write(0, 512, 1)
	on, other := r.outOn(q)
	on.hold = holding(scsi.OpWrite16, scsi.OpTestUnitReady)
	r.after(2 * slowMin) // it is suspect
	if r.d.slots[on.slot].suspectAt == never {
		t.Fatal("the path is not suspect")
	}
	r.after(slowMin)
	on.silent = r.now
	asked := other.sent
	r.after(silentLimit - ms)
	if on.err != nil {
		t.Fatal("it was given up early")
	}
	r.after(2 * ms)
	if on.err != errSilent {
		t.Errorf("it is not given up: %v; the sibling was asked %d times", on.err, other.sent-asked)
	}
	r.after(r.wait + r.d.cfg.FenceSettle)
	r.want(q, OK)
}
