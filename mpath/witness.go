package mpath

import (
	"time"

	"braid/iscsi/scsi"
)

// A new nexus finds unit attentions that say nothing of what has happened since others were
// there: that a cache was lost, for one. Only a session that was verified before is a witness.
// A new one counts when every witness has answered something newer than its verification: so
// there always is one that was there throughout, or no session at all, which is taken as a
// loss.

// testifies makes a verified session one of the witnesses.
func (d *Device) testifies(s *slot) {
	if s.witness {
		return
	}
	s.witness = true
	for _, o := range d.slots {
		if o.state == proving || o.state == settling {
			d.check(s) // it was not there when they asked their siblings
			return
		}
	}
}

// checkSiblings asks every other session for a sign of life: whatever took one path may
// have taken the target with what its cache held.
func (d *Device) checkSiblings() {
	for _, s := range d.slots {
		if s.witness && s.proven < d.now {
			d.check(s)
		}
	}
}

// check asks one session for a sign of life.
func (d *Device) check(s *slot) {
	o := d.newOp(opCheck)
	o.cmd.CDB, o.cmd.Dir, o.cmd.Timeout = scsi.TestUnitReady(), scsi.None, probeTimeout
	d.submit(s, o)
}

// siblingsProven reports whether every other witness has answered something that was sent
// since then: since s was verified, for one. Until then one of them may have died
// with its target, or may have to tell of a loss of the cache, without being noticed, and
// data that only it acknowledged would read as old data.
func (d *Device) siblingsProven(s *slot, since time.Duration) bool {
	for _, o := range d.slots {
		if o != s && o.witness && o.proven < since {
			return false
		}
	}
	return true
}
