package mpath

import (
	"log/slog"

	"braid/iscsi/scsi"
)

// Reservation keys. Under FenceReserve each session registers a key of its own before it carries
// I/O, and a living session can end a lost one's tasks by PREEMPT AND ABORT of its key (SPC-4
// section 5.12.11.5). No reservation is held: a registration is enough for that, and keeps
// nobody from anything.
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

// registering is a path's verification with its registration. What a former session or process
// had registered for the same nexus is replaced: it was this slot's too.
var registering = append(probeSteps[:len(probeSteps):len(probeSteps)], probeStep{
	name: registerStep,
	cdb: func(*probe) ([16]byte, int) {
		return scsi.PersistentReserveOut(scsi.ReserveRegisterAndIgnore, 0),
			scsi.ReserveParametersLength
	},
	take:     func(p *probe, _ []byte) error { p.registered = true; return nil },
	optional: true,
})

// probeSteps is how paths are verified.
func (d *Device) probeSteps() []probeStep {
	if d.cfg.keys() {
		return registering
	}
	return probeSteps
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

func (d *Device) unregistered(s *slot, o *op) {
	if o.cmd.Err != nil {
		d.log(slog.LevelWarn, "reservation key not taken back", "path", s.name, "error", o.cmd.Err)
	}
	d.freeOp(o)
}

func (d *Device) buildReserve(o *op, action uint8, key, service uint64) {
	// Where nothing is reserved the type says nothing, but targets check it.
	o.cmd.CDB = scsi.PersistentReserveOut(action, scsi.WriteExclusiveRegistrantsOnly)
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

// keysRead preempts the key of a lost session, if there is one of its slot.
func (d *Device) keysRead(through *slot, o *op) {
	s := o.lost
	keys, whole, err := scsi.ParseReserveKeys(nil, o.cmd.Data[:o.cmd.Transferred])
	for _, key := range keys {
		if err == nil && d.isKeyOf(s, key) {
			p := d.newOp(opPreempt)
			p.lost, p.key = s, key
			d.buildReserve(p, scsi.ReservePreemptAndAbort, through.rec.key, key)
			d.submit(through, p)
			return
		}
	}
	// Somebody took it away, or the target has restarted: that is no fence.
	s.fence.asked = false
	d.cannotFence(s, "its reservation key is not registered", "keys", len(keys), "all", whole,
		"error", err)
}
