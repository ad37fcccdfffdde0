package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// A fence is what a slot knows of its lost sessions: whether one may still execute
// writes, and what will end that.
type fence struct {
	needed   bool
	startup  bool // left by a former process, which blocks it wrote is not known
	tpgt     int  // portal group of the lost nexus; noGroup if there are several
	lastSent time.Duration
	waitBy   time.Duration // when waiting has fenced it; never if waiting is not allowed
	settleBy time.Duration // when what was done to fence it counts; never if nothing was
	by       fenceKind     // what that was
	key      uint64        // reservation key that a former process registered; 0 if none
	refused  bool          // a command to another session cannot fence it
	told     bool          // it was said to be fenced, and nothing was sent since
	asked    bool          // such a command is out
	tries    int           // of it that were to be repeated
	askAt    time.Duration // not before
}

// fenceKind says what fenced a lost session.
type fenceKind uint8

const (
	byReinstatement fenceKind = iota
	byReservation
	byReset
	byWaiting
	byNothing
	fenceKinds
)

// fenceNames are what the kinds are called, as in the setting.
var fenceNames = [fenceKinds]string{"reinstate", "reserve", "reset", "wait", "none"}

func newFence(now time.Duration, lost *LostNexus, cfg *Config) fence {
	f := fence{waitBy: never, settleBy: never}
	if lost == nil {
		return f
	}
	f.needed, f.startup, f.tpgt, f.key = true, true, int(lost.TPGT), lost.Key
	if cfg.Fence.waits() {
		f.waitBy = now + lost.Time2Wait + lost.Time2Retain + cfg.FenceMargin
	}
	if cfg.Fence == FenceNone {
		f.waitBy = now
	}
	return f
}

// again is when a command to fence may be sent again.
func (f *fence) again(now time.Duration) time.Duration {
	if f.askAt > now {
		return f.askAt
	}
	return never
}

func (f *fence) deadline(now time.Duration) time.Duration {
	if !f.needed {
		return never
	}
	return min(f.waitBy, f.settleBy, f.again(now))
}

// needFence finds out whether the session that just died must be fenced. A reinstatement
// holds for the sessions before it; carried tells that the one that died had carried
// commands of its own, which it does not cover.
func (d *Device) needFence(s *slot, carried bool) {
	f := &s.fence
	if carried {
		f.settleBy, f.refused, f.told = never, false, false
	}
	if !f.startup && (d.ledger.Doubtful(s.index) > 0 || d.ledger.Orphaned(s.index)) {
		if group := int(s.rec.nexus.TPGT); f.needed && f.tpgt != group {
			f.tpgt = noGroup // no one login ends the tasks of both
		} else {
			f.needed, f.tpgt = true, group
		}
		switch {
		case d.cfg.Fence.waits():
			f.waitBy = f.lastSent + s.rec.nexus.Time2Wait + s.rec.nexus.Time2Retain + d.cfg.FenceMargin
		case d.cfg.Fence == FenceNone:
			f.waitBy = d.now
		}
	}
}

const noGroup = -1

// sameTarget reports whether two slots lead to one target: portal groups of different
// targets are different nexuses whatever their numbers.
func (d *Device) sameTarget(a, b *slot) bool {
	return d.cfg.Slots[a.index].Target == d.cfg.Slots[b.index].Target
}

// fenceSibling is a slot whose portals let a session in through which s can be reinstated, -1 if
// there is none: it must be of the same portal group, for another group is another nexus.
func (d *Device) fenceSibling(s *slot) int {
	if !d.cfg.Fence.reinstates() {
		return -1
	}
	for _, o := range d.slots {
		works := o.state == active || o.state == ghost || o.state == proving
		if o != s && works && int(o.rec.nexus.TPGT) == s.fence.tpgt && d.sameTarget(s, o) {
			return o.index
		}
	}
	return -1
}

// reinstated looks whether a new session in the slot has ended the lost one's tasks.
func (d *Device) reinstated(s *slot, n scsi.Nexus) {
	f := &s.fence
	if !f.needed || !d.cfg.Fence.reinstates() {
		return
	}
	if int(n.TPGT) != f.tpgt {
		d.log(slog.LevelWarn, "session is of another portal group and fences nothing",
			"path", s.name, "tpgt", n.TPGT, "lost", f.tpgt)
		return
	}
	d.settles(s, byReinstatement, d.waitsForTasks(s.several))
}

// settles says that something has ended a lost session's tasks: at once if the target is sure
// to have done it by its answer, after FenceSettle if that is not known. The first of several
// things counts.
func (d *Device) settles(s *slot, by fenceKind, sure bool) {
	at := d.now
	if !sure {
		at += d.cfg.FenceSettle
	}
	if f := &s.fence; f.needed && at < f.settleBy {
		f.settleBy, f.by = at, by
	}
}

// stepFence takes note when a lost session has become harmless.
func (d *Device) stepFence(s *slot) {
	f := &s.fence
	if !f.needed || d.now < f.settleBy && d.now < f.waitBy {
		return
	}
	by := byWaiting
	if d.now >= f.settleBy {
		by = f.by
	} else if d.cfg.Fence == FenceNone {
		by = byNothing
	}
	if !f.told {
		d.stats.Fences[by].Count++
		d.log(slog.LevelInfo, "lost session fenced", "path", s.name, "by", fenceNames[by])
	}
	f.told = true
	f.needed, f.startup, f.refused, f.key = false, false, false, 0
	f.waitBy, f.settleBy = never, never
	d.ledger.Fenced(s.index)
	if s.path == nil && d.buried(s) {
		d.enter(s, closed)
		d.erase(s)
	}
}

// buried reports whether nothing is left to be done in a slot that a former process used and
// that is no path of this one: its session is fenced, and a SYNC has made stable what it
// wrote. Waiting alone fences, but flushes nothing.
func (d *Device) buried(s *slot) bool {
	return s.rec.fenceOnly && !s.fence.needed && !d.ledger.Orphaned(s.index)
}

// unfenced reports whether a nexus of a former process may still write: which blocks is
// not known, so no write may begin.
func (d *Device) unfenced() bool {
	for _, s := range d.slots {
		if s.fence.needed && s.fence.startup {
			return true
		}
	}
	return false
}
