package target

import (
	"time"

	"braid/iscsi/scsi"
)

var (
	reservationsPreempted  = asc{0x2a, 0x03}
	reservationsReleased   = asc{0x2a, 0x04}
	registrationsPreempted = asc{0x2a, 0x05}

	// INVALID RELEASE OF PERSISTENT RESERVATION
	invalidRelease = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x26, ASCQ: 0x04}
	// INSUFFICIENT REGISTRATION RESOURCES
	noRegistration = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x55, ASCQ: 0x04}
)

// A reserving is one PERSISTENT RESERVE OUT.
type reserving struct {
	t    *Target
	u    *unit
	r    *reservations
	task *task
	own  nexusKey
	key  uint64 // of own, valid if registered
	is   bool   // registered
	p    scsi.ReserveParameters
	kind scsi.ReserveType
}

// executeReserve does PERSISTENT RESERVE OUT (SPC-4 section 6.16).
func (t *Target) executeReserve(now time.Duration, k *task) {
	x := reserving{t: t, u: k.unit, r: &k.unit.pr, task: k, own: k.nexus.key,
		kind: scsi.ReserveType(k.cdb.ResType)}
	x.key, x.is = x.r.key(x.own)
	var err error
	if x.p, err = scsi.ParseReserveParameters(k.out.data); err != nil {
		t.respond(now, k, scsi.CheckCondition, &parameterError)
		return
	}
	e := &ending{task: k}
	x.act(now, e)
	switch {
	case k.refused:
		t.respond(now, k, k.status, &k.sense)
	case e.pending > 0: // the answer comes when the aborted commands are over
		k.state, k.preempting = taskCollecting, e
		k.park()
	default:
		t.respond(now, k, scsi.Good, nil)
	}
}

func (x *reserving) conflict() { x.task.refuse(scsi.ReservationConflict, scsi.Sense{}) }

func (x *reserving) act(now time.Duration, e *ending) {
	action := x.task.cdb.Action
	registers := action == scsi.ReserveRegister || action == scsi.ReserveRegisterAndIgnore
	switch {
	case registers:
		x.register(action == scsi.ReserveRegisterAndIgnore)
		return
	case action > scsi.ReserveRegisterAndIgnore:
		x.task.refuse(scsi.CheckCondition, scsi.InvalidField(1))
		return
	case !x.is || x.p.Key != x.key:
		x.conflict()
		return
	}
	if action != scsi.ReserveClear && (x.task.cdb.Scope != 0 || !x.kind.Known()) {
		x.task.refuse(scsi.CheckCondition, scsi.InvalidField(2))
		return
	}
	switch action {
	case scsi.ReserveReserve:
		x.reserve()
	case scsi.ReserveRelease:
		x.release()
	case scsi.ReserveClear:
		x.attendOthers(reservationsPreempted)
		x.r.list, x.r.held = x.r.list[:0], false
		x.r.generation++
	default:
		x.preempt(now, action == scsi.ReservePreemptAndAbort, e)
	}
}

// register registers the nexus with a key, changes its key, or ends its registration (SPC-4
// sections 5.12.7 and 5.12.11.2).
func (x *reserving) register(ignore bool) {
	switch {
	case x.p.SpecifyPorts || x.p.AllPorts || x.p.ThroughPowOff:
		x.task.refuse(scsi.CheckCondition, invalidList)
	case !ignore && x.is && x.p.Key != x.key, !ignore && !x.is && x.p.Key != 0:
		x.conflict()
	case !x.is && x.p.ServiceKey == 0:
	case !x.is && len(x.r.list) >= maxRegistrants:
		x.task.refuse(scsi.CheckCondition, noRegistration)
	case !x.is:
		x.r.list = append(x.r.list, registrant{x.own, x.p.ServiceKey})
		x.r.generation++
	case x.p.ServiceKey == 0:
		x.unregister()
		x.r.generation++
	default:
		for i := range x.r.list {
			if x.r.list[i].nexus == x.own {
				x.r.list[i].key = x.p.ServiceKey
			}
		}
		x.r.generation++
	}
}

// unregister ends the registration of the nexus, and with it what it alone held.
func (x *reserving) unregister() {
	held := x.r.holds(x.own)
	x.r.remove(func(g registrant) bool { return g.nexus == x.own })
	if !held || x.r.kind.AllRegistrants() && len(x.r.list) > 0 {
		return
	}
	x.r.held = false
	if x.r.kind.Registrants() {
		x.attendOthers(reservationsReleased)
	}
}

func (x *reserving) reserve() {
	switch {
	case !x.r.held:
		x.r.held, x.r.holder, x.r.kind = true, x.own, x.kind
	case !x.r.holds(x.own) || x.r.kind != x.kind:
		x.conflict()
	}
}

func (x *reserving) release() {
	switch {
	case !x.r.holds(x.own):
	case x.r.kind != x.kind:
		x.task.refuse(scsi.CheckCondition, invalidRelease)
	default:
		x.r.held = false
		if x.r.kind.Registrants() {
			x.attendOthers(reservationsReleased)
		}
	}
}

// preempt takes the registrations with a key away, and the reservation if that key holds it
// (SPC-4 section 5.12.11.4). PREEMPT AND ABORT also ends their commands.
func (x *reserving) preempt(now time.Duration, abort bool, e *ending) {
	r, all := x.r, x.r.held && x.r.kind.AllRegistrants()
	holder, _ := r.key(r.holder)
	takes := r.held && (all && x.p.ServiceKey == 0 || !all && holder == x.p.ServiceKey)
	switch {
	case x.p.ServiceKey == 0 && !all:
		x.task.refuse(scsi.CheckCondition, invalidList)
		return
	case x.p.ServiceKey != 0 && !r.known(x.p.ServiceKey):
		x.conflict()
		return
	}
	changed := takes && r.kind != x.kind
	var gone []registrant
	r.remove(func(g registrant) bool {
		meant := g.key == x.p.ServiceKey || all && x.p.ServiceKey == 0
		if !meant || g.nexus == x.own {
			return false
		}
		gone = append(gone, g)
		return true
	})
	if takes {
		if changed {
			x.attendOthers(reservationsReleased)
		}
		r.held, r.holder, r.kind = true, x.own, x.kind
	} else if all && len(r.list) == 0 {
		r.held = false
	}
	r.generation++
	for _, g := range gone {
		x.attend(g.nexus, registrationsPreempted)
		if abort {
			x.t.abortNexus(now, x.u, g.nexus, e)
		}
	}
}

func (r *reservations) known(key uint64) bool {
	for _, g := range r.list {
		if g.key == key {
			return true
		}
	}
	return false
}

func (r *reservations) remove(meant func(registrant) bool) {
	kept := r.list[:0]
	for _, g := range r.list {
		if !meant(g) {
			kept = append(kept, g)
		}
	}
	clear(r.list[len(kept):])
	r.list = kept
}

// attendOthers adds a unit attention at every other registered nexus.
func (x *reserving) attendOthers(a asc) {
	for _, g := range x.r.list {
		if g.nexus != x.own {
			x.attend(g.nexus, a)
		}
	}
}

func (x *reserving) attend(key nexusKey, a asc) {
	if n := x.t.findNexus(key); n != nil && !n.forgotten {
		n.attention[x.u.index].add(a)
	}
}
