package mpath

import (
	"log/slog"
	"time"
)

// What is known of a target by the vendor of its LUNs.
const (
	vendorLIO      = "LIO-ORG"
	vendorTgt      = "IET"
	vendorEmbedded = "braid"
)

// lioDrops is how long Linux's target is left alone after it lost a session of several
// connections: it takes 3 s to end one that was reset, ends the others after that, and
// crashes its kernel when the session is reinstated before they are gone, because it walks
// their list meanwhile (iscsit_stop_session, Linux 6.1).
const lioDrops = 6 * time.Second

// drops is how long a target may need to get rid of a lost session by itself, where it must
// not be disturbed in that.
func drops(vendor string, several bool) time.Duration {
	if several && vendor == vendorLIO {
		return lioDrops
	}
	return 0
}

// waitsForTasks reports whether the target is known to answer the login that reinstates a
// session only after the old one's tasks have ended. Linux's does so while it has all of the
// session's connections: once it has begun to end them it lets the new session in.
func (d *Device) waitsForTasks(several bool) bool {
	switch {
	case !d.known:
		return false
	case d.lun.Vendor == vendorLIO:
		return !several
	}
	return d.lun.Vendor == vendorEmbedded
}

// bears is the highest error recovery level at which a target is known to keep going. Linux's
// frees the counter of a connection's commands with the connection, while at level 2 the
// commands live on: each that ends later writes to what was freed, and ends the kernel thread
// that was about it (target_release_cmd_kref, Linux 6.1).
func bears(vendor string) int {
	if vendor == vendorLIO {
		return 1
	}
	return 2
}

// ErrorRecoveryLevel is the highest that a new session of a slot should offer.
func (d *Device) ErrorRecoveryLevel(slot int) int {
	s := d.slots[slot]
	return min(bears(s.rec.vendor), bears(d.vendor(s)))
}

// unbearable reports whether a session agreed to a level that its target does not bear.
func (s *slot) unbearable(vendor string) bool {
	return !s.inLedger && s.path.Nexus().ErrorRecoveryLevel > bears(vendor)
}

// renew logs out a session that agreed to more than its target bears, before it carries
// anything that could be lost: the next one offers less.
func (d *Device) renew(s *slot) {
	d.log(slog.LevelWarn, "a session is made anew with a lower error recovery level, because "+
		"this target's kernel does not survive the loss of a connection at this one",
		"path", s.name, "level", s.path.Nexus().ErrorRecoveryLevel, "vendor", s.rec.vendor)
	s.probe = nil
	d.enter(s, leaving)
	d.logout(s)
}

// ClosesFormer reports whether the connections of a slot's lost session must be closed one by
// one before it is reinstated. Linux's target walks the list of those that it still has, and
// follows those that end meanwhile (iscsit_stop_session, Linux 6.1).
func (d *Device) ClosesFormer(slot int) bool {
	return d.vendor(d.slots[slot]) == vendorLIO
}

// abortsRegistrants reports whether PREEMPT AND ABORT ends the tasks of a nexus that is merely
// registered, as SPC-4 section 5.12.11.5 has it. Linux's target does it only to the holder of
// a reservation, and tgt does not know the command.
func (d *Device) abortsRegistrants() bool {
	return d.lun.Vendor != vendorLIO && d.lun.Vendor != vendorTgt
}
