package mpath

import (
	"errors"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// record is what the state file is to say of a slot: a nexus that stands there may have
// been sent writes, and must be fenced by whoever comes after a crash.
type record struct {
	inUse     bool
	nexus     scsi.Nexus // the last one
	key       uint64     // that is registered for it, 0 if none
	version   uint64     // of the state in which it stands
	fenceOnly bool
	vendor    string // of the LUN that was seen there last, also by a former process
}

// persistence counts the versions of the state and those that are written down.
type persistence struct {
	on               bool
	version, written uint64
	untold           bool // is in the state
}

// A SlotState is one slot's line in the state file.
type SlotState struct {
	Index  int
	InUse  bool
	Nexus  scsi.Nexus
	Vendor string // of the LUN, empty until it is known
	Key    uint64 // reservation key that its session registers, 0 if none
}

// Record makes the device wait, before the first command of a session, until the state
// that names it was written down: its owner reads State and tells Recorded.
func (d *Device) Record() { d.persist.on = true }

// State is what must be written down, and its version.
func (d *Device) State() (version uint64, slots []SlotState) {
	for _, s := range d.slots {
		slots = append(slots, SlotState{Index: s.index, InUse: s.rec.inUse, Nexus: s.rec.nexus,
			Vendor: d.vendor(s), Key: s.rec.key})
	}
	return d.persist.version, slots
}

// Untold reports whether acknowledged data was lost, or may have been, and no client was told:
// without a copy, or because the device refused the last flush. It belongs to the state too. The
// next process tells whoever comes for the kernel's device, by the first flush.
func (d *Device) Untold() bool { return d.persist.untold }

// recordLoss has it written down.
func (d *Device) recordLoss() {
	untold := d.untold() || d.stopping != nil && errors.Is(d.stopping.err, barrier.ErrNotStable)
	if untold != d.persist.untold {
		d.persist.untold = untold
		d.persist.version++
	}
}

// StateVersion changes when State or Untold has to be written down again.
func (d *Device) StateVersion() uint64 { return d.persist.version }

// Recorded says that a version of the state is on stable storage.
func (d *Device) Recorded(version uint64) {
	d.persist.written = max(d.persist.written, version)
}

// record puts a nexus into the state.
func (d *Device) record(s *slot, n scsi.Nexus) {
	changed := !s.rec.inUse || n.TPGT != s.rec.nexus.TPGT ||
		n.Time2Wait != s.rec.nexus.Time2Wait || n.Time2Retain != s.rec.nexus.Time2Retain
	s.rec.inUse, s.rec.nexus = true, n
	if key := d.drawKey(s); key != s.rec.key {
		s.rec.key, changed = key, true
	}
	if changed {
		d.persist.version++
		s.rec.version = d.persist.version
	}
}

func (d *Device) recorded(s *slot) bool {
	return !d.persist.on || s.rec.version <= d.persist.written
}

// erase takes a slot out of the state: its session was logged out.
func (d *Device) erase(s *slot) {
	if s.rec.inUse {
		s.rec.inUse = false
		d.persist.version++
	}
}

// vendor is that of the LUN, as far as it is known.
func (d *Device) vendor(s *slot) string {
	if d.known {
		return d.lun.Vendor
	}
	return s.rec.vendor
}
