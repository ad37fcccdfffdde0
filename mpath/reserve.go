package mpath

import (
	"errors"
	"log/slog"
	"slices"

	"braid/iscsi/scsi"
)

// Reservation keys. Under FenceReserve each session registers a key of its own before it carries
// I/O. To fence a lost one, a living session makes a reservation that only registered
// sessions may write under, all of which hold it (Write Exclusive, All Registrants), and ends
// the lost one's registration by PREEMPT AND ABORT (SPC-4 section 5.12.11.5): what it had
// under way is aborted, and what is still on its way in the network is refused when it comes.
// Without the reservation it would be executed.
//
// A key is 40 bits that only this process has, the slot, and a count: so what may still be
// preempted late, because its session was lost with the command under way, is no key of the
// session that came after.

const keySlotBits, keyCountBits = 8, 16

// keys reports whether sessions register keys.
func (c *Config) keys() bool { return c.Fence == FenceReserve && c.Keys != 0 }

// drawKey makes the key of a slot's next session, 0 if it needs none.
func (d *Device) drawKey(s *slot) uint64 {
	if !d.cfg.keys() {
		return 0
	}
	s.drawn++
	return d.keysOf(s) | uint64(s.drawn)
}

// keysOf is what all keys of a slot begin with.
func (d *Device) keysOf(s *slot) uint64 {
	const low = 1<<(keySlotBits+keyCountBits) - 1
	return d.cfg.Keys&^low | uint64(s.index)<<keyCountBits
}

// isKeyOf reports whether a key was made for a session of the slot: by this process, or by
// the former one that the state file tells of.
func (d *Device) isKeyOf(s *slot, key uint64) bool {
	const count = 1<<keyCountBits - 1
	return key&^count == d.keysOf(s) || s.fence.key != 0 && key == s.fence.key
}

const registerStep = "PERSISTENT RESERVE OUT, REGISTER"

var errNotRegistered = errors.New("no reservation key could be registered, and the LUN is " +
	"reserved for those that are")

// register is the step that registers a key. What a former session or process had registered
// for the same nexus is replaced: it was this slot's too.
var register = probeStep{
	name: registerStep,
	cdb: func(*probe) ([16]byte, int) {
		return scsi.PersistentReserveOut(scsi.ReserveRegisterAndIgnore, 0),
			scsi.ReserveParametersLength
	},
	take:     func(p *probe, _ []byte) error { p.registered = true; return nil },
	optional: true,
}

// The steps with a registration: before the first that a reservation would refuse.
var (
	registering      = slices.Insert(slices.Clone(probeSteps), before(modeStep), register)
	fenceRegistering = slices.Insert(slices.Clone(fenceSteps), 1, register)
)

func before(name string) int {
	return slices.IndexFunc(probeSteps, func(p probeStep) bool { return p.name == name })
}

// probeSteps is how paths are verified, fenceSteps what a session does that only fences.
func (d *Device) probeSteps() []probeStep {
	if d.cfg.keys() {
		return registering
	}
	return probeSteps
}

func (d *Device) fenceSteps(s *slot) []probeStep {
	if d.cfg.keys() {
		s.rec.key = d.drawKey(s)
		return fenceRegistering
	}
	return fenceSteps
}

// logout ends a session in order, and its registration before.
func (d *Device) logout(s *slot) {
	if s.keyed {
		s.keyed = false
		o := d.newOp(opUnregister)
		d.buildReserve(o, scsi.ReserveRegister, s.rec.key, 0)
		d.submit(s, o)
	}
	s.path.Logout(d.now) // when its commands are answered
}

// releaseReservation ends the reservation before the last logouts, where a registration is left
// that would keep it: that of a session that was lost and did not come back.
func (d *Device) releaseReservation() {
	left, through := false, -1
	for i, s := range d.slots {
		left = left || s.rec.key != 0 && s.rec.inUse && !s.keyed
		if s.keyed && s.state == active {
			through = i
		}
	}
	if !d.reserved || !left || through < 0 {
		return
	}
	s := d.slots[through]
	o := d.newOp(opUnregister)
	d.buildReserve(o, scsi.ReserveRelease, s.rec.key, 0)
	d.submit(s, o)
}

func (d *Device) unregistered(s *slot, o *op) {
	if o.cmd.Err != nil {
		d.log(slog.LevelWarn, "reservation key not taken back", "path", s.name, "error", o.cmd.Err)
	}
	d.freeOp(o)
}

func (d *Device) buildReserve(o *op, action uint8, key, service uint64) {
	o.cmd.CDB = scsi.PersistentReserveOut(action, scsi.WriteExclusiveAllRegistrants)
	o.cmd.Dir, o.cmd.Timeout = scsi.Write, probeTimeout
	o.cmd.Data = scsi.ReserveParameters{Key: key, ServiceKey: service}.Append(o.param[:0])
}

// keysBuffer is how much of the list of registered keys is read.
const keysBuffer = 4 << 10

// readKeys asks through a living session which keys are registered.
func (d *Device) readKeys(s, through *slot) {
	o := d.newOp(opKeys)
	o.lost = s
	o.cmd.CDB = scsi.PersistentReserveIn(scsi.ReserveReadKeys, keysBuffer)
	o.cmd.Dir, o.cmd.Data, o.cmd.Timeout = scsi.Read, make([]byte, keysBuffer), probeTimeout
	d.submit(through, o)
}

// mayReserve reports whether a reservation keeps nobody out but the lost session, and those
// who have no business here.
func (d *Device) mayReserve() bool {
	for _, s := range d.slots {
		if s.inLedger && !s.keyed {
			return false
		}
	}
	return !d.cfg.Shared
}

// keysRead goes on if the key of the lost session is registered.
func (d *Device) keysRead(through *slot, o *op) {
	s := o.lost
	keys, whole, err := scsi.ParseReserveKeys(nil, o.cmd.Data[:o.cmd.Transferred])
	for _, key := range keys {
		if err == nil && d.isKeyOf(s, key) {
			d.fenceBy(opReserve, scsi.ReserveReserve, s, through, key)
			return
		}
	}
	// Somebody took it away, or the target has restarted: that is no fence.
	s.fence.asked = false
	d.cannotFence(s, "its reservation key is not registered", "keys", len(keys), "all", whole,
		"error", err)
}

// fenceBy sends the next command that fences a session by its key.
func (d *Device) fenceBy(kind opKind, action uint8, s, through *slot, key uint64) {
	o := d.newOp(kind)
	o.lost, o.key = s, key
	service := key
	if kind == opReserve {
		service = 0
	}
	d.buildReserve(o, action, through.rec.key, service)
	d.submit(through, o)
}
