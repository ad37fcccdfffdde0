package sim

import (
	"math/rand/v2"
	"time"

	"braid/iscsi/scsi"
	"braid/iscsi/target"
)

// A blow is one fault as it strikes.
type blow struct {
	*faults
	rng    *rand.Rand
	portal int
}

// span draws how long something lasts: mostly short, at times longer than every timeout.
func (b *blow) span() time.Duration {
	most := b.w.cfg.Pace.span / time.Duration(pick(b.rng, 1, 4, 20, 100))
	return time.Duration(b.rng.Int64N(int64(most)))
}

// fits reports whether a fault can be had in this run.
func (b *blow) fits(kind int) bool {
	c := &b.w.cfg
	switch kind {
	case faultLoseCache:
		// Over several connections of one session the unit attention that tells of it may be
		// overtaken by the answer to a later read, so that no initiator could notice in time.
		return c.Conns == 1
	case faultFlip:
		return c.Digests // else nobody could notice
	case faultDropPDU:
		return c.Level > 0 && c.TargetLevel > 0
	case faultAccess:
		return c.ALUA
	case faultGrow:
		return c.Growth > 0
	}
	return true
}

func (b *blow) strike(kind int) {
	w := b.w
	wire := w.wires[b.portal]
	host, local := w.portal(b.portal)
	switch kind {
	case faultCutConn:
		b.cutOne(wire)
	case faultCutTwo:
		b.cutOne(wire)
		other := w.wires[b.rng.IntN(len(w.wires))]
		w.agenda.after(time.Duration(b.rng.Int64N(int64(time.Millisecond))), call(func() {
			b.cutOne(other)
		}))
	case faultCutPortal:
		b.cutPortal(wire)
	case faultDark:
		b.darken(wire)
	case faultRestartLosing, faultRestartKeeping, faultRestartSilent:
		b.restart(kind)
	case faultLoseCache:
		w.loseCache()
	case faultRefuseLogins:
		host.t.RefuseLogins(1+b.rng.IntN(6), b.rng.IntN(2) == 0)
	case faultFreezeTarget:
		host.freeze(min(b.span(), w.cfg.Pace.freeze))
	case faultFreezeBraid:
		w.braid.freeze(b.span())
	case faultSlow:
		b.slow(wire)
	case faultBusy, faultAbort, faultReadError, faultConflict:
		b.refuse(kind, host)
	case faultHaunt:
		b.haunt(wire, host, local)
	case faultKill:
		down := b.span() / 8
		if len(w.wires) > 1 && b.rng.IntN(3) == 0 {
			b.straggle(wire, down)
		}
		w.kill(down)
	case faultUpgrade:
		w.upgrade(b.span() / 8)
	case faultDropClient:
		w.people[b.rng.IntN(len(w.people))].drop(b.rng.IntN(2) == 0)
	case faultFlip:
		b.flip(wire)
	case faultDropPDU:
		b.losePDUs(host, local)
	default:
		b.change(kind, host)
	}
}

func (b *blow) cutOne(wire *wire) {
	if live := wire.live(); len(live) > 0 {
		wire.cutPair(live[b.rng.IntN(len(live))])
	}
}

func (b *blow) cutPortal(w *wire) {
	w.cut = true
	for _, p := range append([]*pair(nil), w.live()...) {
		w.cutPair(p)
	}
	w.a.after(b.span(), call(func() { w.cut = false }))
}

// haunt lets commands pile up behind a portal and then takes the portal away for longer
// than they last: a queue of ghosts, if the run has such.
func (b *blow) haunt(wire *wire, host *targetHost, local int) {
	w := b.w
	host.t.Delay(local, target.AnyCommand, w.cfg.Late/4, w.cfg.Late/2)
	w.agenda.after(w.cfg.Late/4, call(func() {
		host.t.Delay(local, target.AnyCommand, 0, w.cfg.Reorder)
		if b.over {
			host.t.Delay(local, target.AnyCommand, 0, 0)
			return
		}
		wire.cut = true
		for _, p := range append([]*pair(nil), wire.live()...) {
			wire.cutPair(p)
		}
		w.agenda.after(2*w.cfg.Late, call(func() { wire.cut = false }))
	}))
}

// straggle lets the next daemon find one portal gone for a while, and its first sessions be
// told meanwhile of a reset, which lost nothing.
func (b *blow) straggle(wire *wire, down time.Duration) {
	w := b.w
	w.logf("a portal stays away")
	wire.cut = true
	// Clients that come back come within 100 ms; who was there is told of it.
	after := down + time.Duration(b.rng.Int64N(int64(50*time.Millisecond)))
	reset := target.Attention{Code: 0x29, Qualifier: pick[uint8](b.rng, 0, 1, 2, 3, 4, 7)}
	w.agenda.after(after, call(func() {
		for _, h := range w.targets {
			if !b.over {
				h.t.Attend(reset, nil)
				h.soon()
			}
		}
	}))
	w.agenda.after(after+w.cfg.Pace.span/4+b.span(), call(func() { wire.cut = false }))
}

func (b *blow) darken(w *wire) {
	which := b.rng.IntN(3)
	if which != 1 {
		w.setDark(inward, true)
	}
	if which != 0 {
		w.setDark(outward, true)
	}
	lasts := b.span()
	if b.rng.IntN(3) == 0 { // it ends soon after the path was given up
		pace := &b.w.cfg.Pace
		lasts = 2*pace.nop + time.Duration(b.rng.Int64N(int64(pace.nop)))
	}
	w.a.after(lasts, call(func() {
		b.w.logf("light on a wire again")
		w.setDark(inward, false)
		w.setDark(outward, false)
	}))
}

func (b *blow) slow(w *wire) {
	w.jitter = time.Duration(1 + b.rng.Int64N(int64(b.w.cfg.Pace.slow)))
	w.a.after(b.span(), call(func() { w.jitter = b.w.cfg.Latency }))
}

// flip lets a bit of the next bytes over a connection be another. The checksum of TCP does
// not notice.
func (b *blow) flip(wire *wire) {
	live := wire.live()
	if len(live) == 0 {
		return
	}
	p := live[b.rng.IntN(len(live))]
	lane := p.near.out
	if b.rng.IntN(2) == 0 {
		lane = p.far.out
	}
	lane.flips++
}

// losePDUs lets the target lose or damage some PDUs, as no connection of TCP does: it is for
// error recovery.
func (b *blow) losePDUs(host *targetHost, local int) {
	d := target.Disturbance{
		What: target.PDUs(b.rng.IntN(int(target.RequestPDUs) + 1)), Portal: local,
		After: b.rng.IntN(4), Count: 1 + b.rng.IntN(3),
	}
	if b.w.cfg.Digests {
		d.Digest = pick(b.rng, target.NoDamage, target.DataDamage, target.HeaderDamage)
	}
	host.t.Disturb(d)
	b.w.agenda.after(b.span(), call(host.t.Undisturb))
}

func (b *blow) restart(kind int) {
	r := target.Restart{Cache: pick(b.rng, target.CacheLost, target.CachePartlyLost)}
	if kind == faultRestartKeeping || kind == faultRestartSilent && b.rng.IntN(3) == 0 {
		r.Cache = target.CacheKept
	}
	r.Down = b.span() / 4
	w := b.w
	list := w.targets
	if len(list) > 1 && b.rng.IntN(2) == 0 {
		list = list[b.rng.IntN(len(list)):][:1]
	}
	for i, h := range list {
		if i > 0 {
			r.Cache = target.CacheKept // it is lost already
		}
		h.restart(r, kind == faultRestartSilent)
	}
}

// refuse lets the next commands be refused. As few as this must never reach a client, but
// for a medium error and a conflict.
func (b *blow) refuse(kind int, host *targetHost) {
	r := target.Refusal{Count: 1 + b.rng.IntN(8)}
	r.Which = pick(b.rng, target.AnyCommand, target.ReadCommands, target.WriteCommands,
		target.FlushCommands)
	switch kind {
	case faultBusy:
		r.Status = pick(b.rng, scsi.Busy, scsi.TaskSetFull)
	case faultAbort: // one command may meet all of a run, and has ten tries
		r.Count = min(r.Count, 8-b.aborts)
		b.aborts += r.Count
		r.Status = pick(b.rng, scsi.TaskAborted, scsi.CheckCondition)
		r.Sense = scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x47, ASCQ: 0x05}
	case faultReadError:
		r.Which, r.Status = target.ReadCommands, scsi.CheckCondition
		r.Sense = scsi.Sense{Key: scsi.MediumError, ASC: 0x11}
		b.readErrors += r.Count
	case faultConflict:
		r.Count, r.Status = 1+b.rng.IntN(2), scsi.ReservationConflict
		b.conflicts++
		b.w.audit.copiesForgotten()
	}
	host.t.Refuse(r)
}

// heal ends all faults.
func (f *faults) heal() {
	f.over = true
	w := f.w
	for i, wire := range w.wires {
		wire.cut = false
		wire.jitter = w.cfg.Latency
		wire.setDark(inward, false)
		wire.setDark(outward, false)
		host, local := w.portal(i)
		host.t.Delay(local, target.AnyCommand, 0, 0)
	}
	for _, h := range w.targets {
		h.t.RefuseLogins(0, false)
		h.t.Refuse(target.Refusal{})
		h.t.Undisturb()
		h.soon()
	}
	f.protect(false)
	f.open()
}
