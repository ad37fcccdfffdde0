package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// Times of asymmetric access.
const (
	accessPoll     = 5 * time.Second // between questions to a path that waits for its turn
	accessPause    = time.Second     // and while something is about to change
	transitionTime = time.Minute     // that a transition may take, if the target does not say
	accessBytes    = 1024            // of the answer that is read
)

// access is what a path's target port group lets it do (SPC-4 section 5.16.2), as the path
// itself told.
type access struct {
	told     bool   // the LUN tells of it: else every path is as good as any other
	group    uint16 // target port group
	state    scsi.AccessState
	pref     bool
	extended bool // the path knows the extended header
	modes    uint8
	limit    time.Duration // of a transition

	since  time.Duration // it is in that state
	askAt  time.Duration // when it is asked again; never
	asking bool
	buf    []byte
}

func (a *access) serves() bool { return !a.told || a.state.Serves() }

// take reads an answer to REPORT TARGET PORT GROUPS. A path whose group is not in it, or is
// not known, tells nothing.
func (a *access) take(b []byte, grouped bool) error {
	g, _, err := scsi.ParsePortGroups(b)
	if err != nil {
		return err
	}
	a.told = false
	if found, ok := g.Find(a.group); ok && grouped {
		a.told, a.state, a.pref = true, found.State, found.Pref
	}
	if a.limit = transitionTime; g.TransitionTime > 0 {
		a.limit = time.Duration(g.TransitionTime) * time.Second
	}
	return nil
}

func (a *access) deadline() time.Duration {
	next := never
	if !a.asking {
		next = a.askAt
	}
	if a.told && a.state == scsi.Transitioning {
		next = min(next, a.since+a.limit)
	}
	return next
}

// stepAccess asks a path for its access state when that is due, and lets a path that can
// do nothing leave the ledger once it has nothing out any more.
func (d *Device) stepAccess(s *slot) {
	a := &s.access
	if s.state != active && s.state != ghost {
		return
	}
	if a.told && a.state == scsi.Transitioning && d.now >= a.since+a.limit {
		d.log(slog.LevelError, "the target does not end its transition", "path", s.name,
			"after", a.limit)
		d.setAccess(s, scsi.Unavailable)
	}
	if s.inLedger && !a.serves() && a.state != scsi.Transitioning && !s.busy() {
		s.inLedger = false
		d.ledger.Standby(s.index)
		d.rounds.Step()
		d.countPaths()
	}
	if !a.asking && d.now >= a.askAt {
		d.askAccess(s)
	}
}

// busy reports whether reads, writes or SYNCs are out.
func (s *slot) busy() bool {
	for o := s.out.head; o != nil; o = o.next {
		if o.kind <= opSync {
			return true
		}
	}
	return s.syncDone != nil
}

// askAccess sends REPORT TARGET PORT GROUPS beside whatever else is out.
func (d *Device) askAccess(s *slot) {
	a := &s.access
	a.asking, a.askAt = true, never
	if a.buf == nil {
		a.buf = make([]byte, accessBytes)
	}
	o := d.newOp(opAccess)
	o.cmd.CDB = scsi.ReportTargetPortGroups(accessBytes)
	if a.extended {
		o.cmd.CDB = scsi.ReportTargetPortGroupsExtended(accessBytes)
	}
	o.cmd.Dir, o.cmd.Data, o.cmd.Timeout = scsi.Read, a.buf, probeTimeout
	clear(a.buf)
	d.submit(s, o)
}

// askAll has every path asked at once: something changed.
func (d *Device) askAll() {
	for _, s := range d.slots {
		if s.access.told && (s.state == active || s.state == ghost) {
			s.access.askAt, d.moved = d.now, true
		}
	}
}

// accessAnswered takes the answer.
func (d *Device) accessAnswered(s *slot, o *op) {
	a := &s.access
	err, n := o.cmd.Err, o.cmd.Transferred
	d.freeOp(o)
	a.asking = false
	v := verdict{}
	if err != nil {
		v = judge(err)
		d.notice(s, v.notice)
	}
	if s.state != active && s.state != ghost {
		return // it is looked at again anyway
	}
	a.askAt = d.now + d.pollPause(s)
	if err != nil {
		switch {
		case v.action == again: // a unit attention: the answer may be another now
			a.askAt = d.now + busyMin
		case v.action == demote && a.extended:
			a.extended, a.askAt = false, d.now
		case v.action == demote: // it does not know such states after all
			a.told = false
			d.setAccess(s, a.state)
		}
		return
	}
	was := *a
	if err := a.take(a.buf[:n], true); err != nil {
		*a = was
		return
	}
	told := *a
	*a = was // what changes is found by setAccess
	a.told, a.pref, a.limit = told.told, told.pref, told.limit
	d.setAccess(s, told.state)
	a.askAt = d.now + d.pollPause(s)
}

// pollPause is how long the path is left alone. One that carries I/O hears of changes by
// unit attentions and refusals.
func (d *Device) pollPause(s *slot) time.Duration {
	switch {
	case !s.access.told:
		return never - d.now
	case s.access.state == scsi.Transitioning, d.groups.lackSince != never:
		return accessPause
	case s.state == active:
		return never - d.now
	}
	return accessPoll
}

// setAccess takes note of a path's access state, and of what follows.
func (d *Device) setAccess(s *slot, state scsi.AccessState) {
	a := &s.access
	if a.state != state {
		d.log(slog.LevelInfo, "access state changed", "path", s.name, "group", a.group,
			"from", a.state, "to", state)
		d.stats.AccessChanges++
		a.state, a.since = state, d.now
		d.moved = true
	}
	switch {
	case s.state == active && !a.serves():
		d.rest(s)
	case s.state == ghost && a.serves() && !s.inLedger:
		d.startProbe(s) // much may have changed while it could tell nothing
	}
	d.arrange()
	d.countPaths()
}

// accessRefused takes note of a command that was refused because of the access state of
// the path's port group.
func (d *Device) accessRefused(s *slot, state scsi.AccessState) {
	if s.state != active && s.state != ghost {
		return
	}
	a := &s.access
	if !a.told { // it never told of such states, but has them
		a.told, a.limit, a.group = true, transitionTime, noPortGroup
	}
	d.askAll()
	a.askAt = d.now + accessPause
	d.setAccess(s, state)
}

// noPortGroup stands for the group of a path that did not tell it. Zero is one that exists.
const noPortGroup = 0xffff

// errAccess is why a path that works carries no I/O.
type errAccess struct{ state scsi.AccessState }

func (e errAccess) Error() string {
	return "this target port is " + e.state.String() + ": the LUN is served by another one"
}
