package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// When every path is in standby and the target leaves it to its initiators to change that,
// one path's group is asked to take over (SPC-4 section 5.16.2.8).

// Times of SET TARGET PORT GROUPS.
const (
	implicitPause = time.Second      // for a target that may do it by itself
	explicitMin   = time.Second      // between tries
	explicitMax   = 30 * time.Second // and at the most
)

// explicit is what is known of those requests.
type explicit struct {
	out   bool
	at    time.Duration // not before
	pause time.Duration
	turn  int // slot that was asked last
}

// explicitSlot is the path to ask: the next one in turn, nil if there is none, or if one is
// in a transition already.
func (d *Device) explicitSlot() *slot {
	var found *slot
	n := len(d.slots)
	for i := 1; i <= n; i++ {
		s := d.slots[(d.groups.explicit.turn+i)%n]
		a := &s.access
		if s.state != ghost || !a.told || s.outOfService {
			continue
		}
		if a.state == scsi.Transitioning {
			return nil
		}
		if found == nil && a.state == scsi.Standby && a.modes&scsi.TPGSExplicit != 0 {
			found = s
		}
	}
	return found
}

func (d *Device) explicitDeadline() time.Duration {
	e := &d.groups.explicit
	s := d.explicitSlot()
	if e.out || d.stopping != nil || s == nil {
		return never
	}
	return max(e.at, d.groups.lackSince+patienceFor(s))
}

func patienceFor(s *slot) time.Duration {
	if s.access.modes&scsi.TPGSImplicit != 0 {
		return implicitPause
	}
	return 0
}

// stepExplicit asks when it is time.
func (d *Device) stepExplicit() {
	if d.now < d.explicitDeadline() {
		return
	}
	e := &d.groups.explicit
	s := d.explicitSlot()
	e.out, e.turn = true, s.index
	o := d.newOp(opSetGroup)
	o.cmd.Data = scsi.SetGroupParameters(o.param[:0],
		scsi.SetGroup{ID: s.access.group, State: scsi.ActiveOptimized})
	o.cmd.CDB = scsi.SetTargetPortGroups(uint32(len(o.cmd.Data)))
	o.cmd.Dir, o.cmd.Timeout = scsi.Write, s.access.limit+probeTimeout
	d.log(slog.LevelWarn, "only paths in standby are left; the target is asked to change that",
		"path", s.name, "group", s.access.group)
	d.submit(s, o)
}

// setGroupAnswered takes the answer.
func (d *Device) setGroupAnswered(s *slot, o *op) {
	e := &d.groups.explicit
	err := o.cmd.Err
	d.freeOp(o)
	e.out = false
	e.pause = min(max(2*e.pause, explicitMin), explicitMax)
	e.at = d.now + e.pause
	d.askAll()
	if err == nil {
		d.stats.ExplicitSwitches++
		return
	}
	v := judge(err)
	d.notice(s, v.notice)
	if v.action == lost {
		return
	}
	if v.notice != scsi.NotAttention {
		e.at = d.now // it only told of something else
		return
	}
	if v.action == demote {
		s.access.modes &^= scsi.TPGSExplicit // it does not know the command
	}
	d.log(slog.LevelError, "the target refused to change the access state", "path", s.name,
		"error", err)
}
