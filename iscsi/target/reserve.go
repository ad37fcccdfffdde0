package target

import (
	"time"

	"braid/iscsi/scsi"
)

// maxRegistrants bounds the registered nexuses of a unit, so that all their keys fit into one
// answer.
const maxRegistrants = 256

// reservations are the persistent reservation of a logical unit and the nexuses registered
// there (SPC-4 section 5.12). They outlive sessions, and end with a restart of the target.
type reservations struct {
	generation uint32
	list       []registrant
	held       bool
	holder     nexusKey // of all types but the two of all registrants
	kind       scsi.ReserveType
}

// A registrant is a nexus with its reservation key.
type registrant struct {
	nexus nexusKey
	key   uint64
}

// key is what a nexus is registered with.
func (r *reservations) key(n nexusKey) (key uint64, ok bool) {
	for i := range r.list {
		if r.list[i].nexus == n {
			return r.list[i].key, true
		}
	}
	return 0, false
}

// holds reports whether a nexus holds the reservation.
func (r *reservations) holds(n nexusKey) bool {
	if !r.held {
		return false
	}
	if r.kind.AllRegistrants() {
		_, ok := r.key(n)
		return ok
	}
	return r.holder == n
}

// conflicts reports whether a reservation keeps a nexus from a command (SPC-4 table 44, SBC-3
// table 13). PERSISTENT RESERVE OUT looks for itself.
func (r *reservations) conflicts(n nexusKey, cdb *scsi.CDB) bool {
	if !r.held || r.holds(n) {
		return false
	}
	if r.kind.Registrants() {
		if _, ok := r.key(n); ok {
			return false
		}
	}
	switch cdb.Op {
	case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense, scsi.OpTestUnitReady,
		scsi.OpReadCapacity10, scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut,
		scsi.OpMaintenanceIn:
		return false
	case scsi.OpServiceActionIn16:
		return cdb.Action != scsi.ActionReadCapacity16 && r.kind.Exclusive()
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16, scsi.OpVerify10, scsi.OpVerify16:
		return r.kind.Exclusive()
	}
	return true
}

// describeReservations appends the answer to PERSISTENT RESERVE IN.
func (u *unit) describeReservations(k *task, dst []byte) ([]byte, bool) {
	r := &u.pr
	switch k.cdb.Action {
	case scsi.ReserveReadKeys:
		var keys []uint64
		for _, x := range r.list {
			keys = append(keys, x.key)
		}
		return scsi.AppendReserveKeys(dst, r.generation, keys), true
	case scsi.ReserveReadReservation:
		s := scsi.Reservation{Generation: r.generation, Held: r.held, Type: r.kind}
		if !r.kind.AllRegistrants() {
			s.Key, _ = r.key(r.holder)
		}
		return s.Append(dst), true
	case scsi.ReserveReportCapabilities:
		return scsi.ReserveCapabilities(dst), true
	}
	k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
	return dst, false
}

// An ending makes the answer to a PREEMPT AND ABORT wait until a store is done with commands
// that it aborted.
type ending struct {
	task    *task // nil: nobody waits any more
	pending int
}

// await counts a command that a store is working on.
func (e *ending) await(k *task) {
	k.ending = e
	e.pending++
}

func (e *ending) settled(now time.Duration) {
	if e.pending--; e.pending == 0 && e.task != nil {
		k := e.task
		k.preempting = nil
		k.t.respond(now, k, scsi.Good, nil)
	}
}

// abortNexus aborts the commands of a nexus at a unit for another's PREEMPT AND ABORT: those
// of its session, and those that outlived one.
func (t *Target) abortNexus(now time.Duration, u *unit, key nexusKey, e *ending) {
	for i := 0; i < len(t.sessions); i++ {
		s := t.sessions[i]
		if s.discovery || s.key != key {
			continue
		}
		for k := s.first; k != nil; {
			next := k.next
			switch {
			case k.unit != u || !k.delivered:
			case k.state == taskStored:
				k.reset = true
				e.await(k)
			default:
				t.detach(k)
				t.respond(now, k, scsi.TaskAborted, nil)
			}
			k = next
		}
	}
	if n := t.findNexus(key); n != nil && n.last != nil && n.last.over && n.last.stored > 0 {
		n.last.endings = append(n.last.endings, e)
		e.pending++
	}
	t.lay(func(k *task) bool { return k.unit == u && k.nexus.key == key })
}

// settleEndings tells those who wait for a dead session's commands that the last is over.
func (s *session) settleEndings(now time.Duration) {
	list := s.endings
	s.endings = nil
	for _, e := range list {
		e.settled(now)
	}
}
