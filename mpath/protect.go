package mpath

import (
	"time"

	"braid/iscsi/scsi"
)

// protectionPause is the least time between two looks whether the LUN is write protected that
// refused writes cause.
const protectionPause = time.Second

// suspectProtection looks what the LUN is after it refused a write as protected.
func (d *Device) suspectProtection(s *slot, v verdict) {
	if v.status != nil && v.status.Sense.Key == scsi.DataProtect && v.errno == EPERM &&
		!d.lun.WriteProtected && d.mayAskProtection() {
		d.reverify(s)
	}
}

// askProtection looks whether the LUN is write protected still, when somebody wants to write:
// no unit attention needs to tell that it is not.
func (d *Device) askProtection() {
	if d.cfg.ReadOnly || !d.mayAskProtection() {
		return
	}
	for _, s := range d.slots {
		if s.state == active {
			d.reverify(s)
			return
		}
	}
}

func (d *Device) mayAskProtection() bool {
	if d.now < d.askedAt+protectionPause {
		return false
	}
	d.askedAt = d.now
	return true
}
