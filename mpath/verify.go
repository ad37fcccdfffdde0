package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// fenceSteps are what a session does that only fences: with the unit attentions of the
// new nexus out of the way, its SYNCHRONIZE CACHE makes stable what its predecessor
// wrote.
var fenceSteps = []probeStep{
	{"TEST UNIT READY", func(*probe) ([16]byte, int) { return scsi.TestUnitReady(), 0 }, nil, false},
	{"SYNCHRONIZE CACHE", func(*probe) ([16]byte, int) {
		return scsi.SynchronizeCache16(0, 0), 0
	}, nil, true},
}

func (d *Device) startProbe(s *slot) {
	d.enter(s, probing)
	s.probe = &probe{steps: d.probeSteps()}
	d.stepProbe(s)
}

// stepProbe sends the next command of a probe, or ends it.
func (d *Device) stepProbe(s *slot) {
	p := s.probe
	if p == nil || p.busy || d.now < p.wait || s.fence.asked {
		return // what fences its predecessor must not hit it
	}
	p.wait, p.key = 0, s.rec.key
	o := d.newOp(opProbe)
	if p.next(&o.cmd) {
		p.busy = true
		d.submit(s, o)
		return
	}
	d.freeOp(o)
	if s.state == fencing {
		d.fenced(s)
		return
	}
	d.verified(s)
}

// probed takes the answer to a probe's command.
func (d *Device) probed(s *slot, o *op) {
	p := s.probe
	if p == nil || s.path == nil || s.path.Err() != nil {
		d.freeOp(o)
		return
	}
	p.busy = false
	if s.witness && o.cmd.Err != nil { // an established nexus that is looked at again
		d.notice(s, judge(o.cmd.Err).notice)
	}
	err := p.answer(d.now, &o.cmd)
	d.freeOp(o)
	if err != nil {
		d.refusePath(s, err)
		return
	}
	d.stepProbe(s)
}

// fenced is told when a session that was made only to fence has done that. If it synced, what
// its predecessor wrote is stable, unless the cache was lost before that. A unit attention
// that would tell of it is what every new nexus finds, but the siblings', as long as there
// are any, have been there before: they must answer something newer than the SYNC.
func (d *Device) fenced(s *slot) {
	if s.probe.denied {
		d.ledger.Bequeath(s.index)
	} else if s.probe.left == 0 && int(s.path.Nexus().TPGT) == s.fence.tpgt {
		s.verifiedAt = d.now
		d.enter(s, settling)
		d.checkSiblings()
		return
	}
	d.endFencing(s)
}

// endFencing logs a session out that was made only to fence.
func (d *Device) endFencing(s *slot) {
	d.rounds.Step()
	s.keyed, s.probe = s.probe.registered, nil
	d.enter(s, leaving)
	d.logout(s)
}

// verified compares what a path leads to with what the device is.
func (d *Device) verified(s *slot) {
	found := &s.probe.lun
	s.keyed = s.probe.registered
	s.rec.vendor = found.Vendor
	if s.unbearable(found.Vendor) {
		d.renew(s)
		return
	}
	if d.cfg.keys() && !s.keyed {
		if d.reserved {
			d.refusePath(s, errNotRegistered)
			return
		}
		d.log(slog.LevelWarn, "no reservation key could be registered", "path", s.name)
	}
	serves := s.takeAccess(d.now)
	s.blocks = found.Blocks
	if !serves && !d.known {
		d.standBy(s)
		return
	}
	if !d.known {
		d.lun, d.known = *found, true
		d.persist.version++ // of the vendor
		d.log(slog.LevelInfo, "LUN found", "identity", found.Identity, "vendor", found.Vendor,
			"product", found.Product, "bytes", found.Bytes(), "block_size", found.BlockSize,
			"write_cache", found.WriteCache, "fua", found.FUA)
	} else if len(d.slots) > 1 || d.lun.Identity != "" {
		if d.doubtful(s, found) {
			d.startProbe(s)
			return
		}
		if err := d.lun.same(found); err != nil {
			d.refusePath(s, err)
			return
		}
		if !serves {
			d.standBy(s)
			return
		}
		d.adopt(s, found)
	}
	if !s.inLedger {
		s.verifiedAt = d.now
		d.checkSiblings()
		if !d.siblingsProven(s, s.verifiedAt) {
			d.enter(s, proving)
			return
		}
	}
	d.activate(s)
}

// adopt takes over what may change in the life of a LUN.
func (d *Device) adopt(s *slot, found *LUN) {
	if found.WriteCache != d.lun.WriteCache {
		for _, o := range d.slots {
			switch {
			case o.inLedger && d.cfg.TrustWCE:
				d.ledger.Changed(o.index)
			case o.inLedger:
				d.ledger.Touched(o.index)
			}
		}
	}
	d.lun.WriteCache = found.WriteCache
	d.lun.FUA = d.lun.FUA && found.FUA
	if found.WriteProtected != d.lun.WriteProtected {
		d.log(slog.LevelWarn, "write protection changed", "path", s.name, "on", found.WriteProtected)
		d.lun.WriteProtected = found.WriteProtected
	}
}

// takeAccess takes over what the probe found out about the path's access state, and reports
// whether the path can carry I/O.
func (s *slot) takeAccess(now time.Duration) bool {
	p, was := s.probe, s.access
	s.access = p.access
	s.access.buf, s.access.asking, s.access.askAt = was.buf, was.asking, never
	s.access.modes = p.lun.TPGS
	if p.denied && s.access.serves() { // it has changed meanwhile, or is not told
		s.access.told, s.access.state = true, p.deniedBy
		s.access.limit = max(s.access.limit, transitionTime)
	}
	if s.access.since = now; s.access.state == was.state {
		s.access.since = was.since
	}
	return s.access.serves()
}

// startGrace is how long after the first path became active a path that leads elsewhere
// still counts as a mistake in what the device was started with.
const startGrace = 2 * time.Second

// refusePath ends a session whose LUN cannot be used. At the start that is a mistake that
// somebody should hear of at once; later the other paths go on without it.
func (d *Device) refusePath(s *slot, err error) {
	d.log(slog.LevelError, "path refused", "path", s.name, "error", err)
	starting := !d.ready || !d.used && d.now < d.readyAt+startGrace
	starting = starting && !d.cfg.Slots[s.index].Added
	if permanent(err) && d.known && starting && !s.once && d.fatal == nil && s.probe != nil {
		d.fatal = &PathError{s.name, err}
	}
	if s.inLedger { // it has commands out that must not be waited for
		s.path.Kill(d.now, err)
		return
	}
	s.refusal, s.probe = err, nil
	d.enter(s, leaving)
	d.logout(s)
}

// reverify looks again at what a path leads to, after the target told of a change. It
// carries no new commands meanwhile.
func (d *Device) reverify(s *slot) {
	if s.state == active || s.state == ghost && s.inLedger {
		d.startProbe(s)
		d.countPaths()
	}
}
