package sim

import (
	"math/rand/v2"
	"time"

	"braid/iscsi/scsi"
	"braid/iscsi/target"
	"braid/mpath"
)

// Faults, as bits of Config.Mix.
const (
	faultCutConn = iota
	faultCutPortal
	faultDark
	faultRestartLosing
	faultRestartKeeping
	faultRestartSilent
	faultLoseCache
	faultRefuseLogins
	faultFreezeTarget
	faultFreezeBraid
	faultSlow
	faultDropClient
	faultBusy
	faultAbort
	faultReadError
	faultHaunt
	faultKill
	faultUpgrade
	faultCount
)

var faultNames = [...]string{
	"cut connection", "cut portal", "dark", "restart losing", "restart keeping", "restart silent",
	"lose cache", "refuse logins", "freeze target", "freeze braid", "slow", "drop client",
	"busy", "aborted command", "read error", "haunt",
	"kill daemon", "upgrade daemon",
}

// faults makes things go wrong.
type faults struct {
	w      *world
	rng    *rand.Rand
	over   bool
	counts [faultCount]int
	struck int // faults so far

	aborts     int // commands that were to be aborted
	readErrors int // read errors that were ordered and not yet seen by a client
}

func newFaults(w *world, rng *rand.Rand) *faults { return &faults{w: w, rng: rng} }

func (f *faults) begin() {
	if f.w.cfg.Faults > 0 && f.w.cfg.Mix&(1<<faultCount-1) != 0 {
		f.plan()
	}
}

func (f *faults) plan() {
	d := time.Duration(f.rng.ExpFloat64() * float64(f.w.cfg.Faults))
	if f.rng.IntN(5) == 0 {
		d /= 50 // two at once
	}
	f.w.agenda.after(d, call(func() {
		if f.over {
			return
		}
		f.strike()
		f.plan()
	}))
}

// span draws how long something lasts: mostly short, at times longer than every timeout.
func (f *faults) span() time.Duration {
	most := f.w.cfg.Pace.span / time.Duration(pick(f.rng, 1, 4, 20, 100))
	return time.Duration(f.rng.Int64N(int64(most)))
}

// faultOdds are the odds of a fault among those of the mix: what loses sessions in the
// middle of their work comes more often than what lets nobody work.
var faultOdds = [faultCount]int{
	faultCutConn: 8, faultCutPortal: 5, faultDark: 3, faultRestartLosing: 2,
	faultRestartKeeping: 1, faultRestartSilent: 2, faultLoseCache: 2, faultRefuseLogins: 1,
	faultFreezeTarget: 1, faultFreezeBraid: 1, faultSlow: 1, faultDropClient: 2, faultBusy: 1,
	faultAbort: 1, faultReadError: 1, faultHaunt: 6,
	faultKill: 3, faultUpgrade: 1,
}

func (f *faults) draw() int {
	sum := 0
	for kind, odds := range faultOdds {
		if f.w.cfg.Mix&(1<<kind) != 0 {
			sum += odds
		}
	}
	n := f.rng.IntN(sum)
	for kind, odds := range faultOdds {
		if f.w.cfg.Mix&(1<<kind) != 0 {
			if n -= odds; n < 0 {
				return kind
			}
		}
	}
	panic("sim: no fault")
}

// strike lets one fault happen.
func (f *faults) strike() {
	kind := f.draw()
	w := f.w
	portal := f.rng.IntN(len(w.wires))
	wire := w.wires[portal]
	w.logf("FAULT %s, portal %d", faultNames[kind], portal)
	f.counts[kind]++
	f.struck++
	switch kind {
	case faultCutConn:
		if live := wire.live(); len(live) > 0 {
			wire.cutPair(live[f.rng.IntN(len(live))])
		}
	case faultCutPortal:
		f.cutPortal(wire)
	case faultDark:
		f.darken(wire)
	case faultRestartLosing, faultRestartKeeping, faultRestartSilent:
		f.restart(kind)
	case faultLoseCache:
		f.loseCache()
	case faultRefuseLogins:
		w.target.t.RefuseLogins(1+f.rng.IntN(6), f.rng.IntN(2) == 0)
	case faultFreezeTarget:
		w.target.freeze(min(f.span(), w.cfg.Pace.freeze))
	case faultFreezeBraid:
		w.braid.freeze(f.span())
	case faultSlow:
		f.slow(wire)
	case faultBusy, faultAbort, faultReadError:
		f.refuse(kind)
	case faultHaunt:
		f.haunt(portal)
	case faultKill:
		w.kill(f.span() / 8)
	case faultUpgrade:
		w.upgrade(f.span() / 8)
	case faultDropClient:
		w.people[f.rng.IntN(len(w.people))].drop(f.rng.IntN(2) == 0)
	}
}

func (f *faults) cutPortal(w *wire) {
	w.cut = true
	for _, p := range append([]*pair(nil), w.live()...) {
		w.cutPair(p)
	}
	w.a.after(f.span(), call(func() { w.cut = false }))
}

// haunt lets commands pile up behind a portal and then takes the portal away for longer
// than they last: a queue of ghosts, if the run has such.
func (f *faults) haunt(portal int) {
	w := f.w
	t := w.target.t
	t.Delay(portal, w.cfg.Late/4, w.cfg.Late/2)
	w.agenda.after(w.cfg.Late/4, call(func() {
		t.Delay(portal, 0, w.cfg.Reorder)
		if f.over {
			t.Delay(portal, 0, 0)
			return
		}
		wire := w.wires[portal]
		wire.cut = true
		for _, p := range append([]*pair(nil), wire.live()...) {
			wire.cutPair(p)
		}
		w.agenda.after(2*w.cfg.Late, call(func() { wire.cut = false }))
	}))
}

func (f *faults) darken(w *wire) {
	which := f.rng.IntN(3)
	if which != 1 {
		w.setDark(inward, true)
	}
	if which != 0 {
		w.setDark(outward, true)
	}
	w.a.after(f.span(), call(func() {
		f.w.logf("light on a wire again")
		w.setDark(inward, false)
		w.setDark(outward, false)
	}))
}

func (f *faults) slow(w *wire) {
	before := w.jitter
	w.jitter = time.Duration(1 + f.rng.Int64N(int64(f.w.cfg.Pace.slow)))
	w.a.after(f.span(), call(func() { w.jitter = before }))
}

func (f *faults) restart(kind int) {
	r := target.Restart{Cache: pick(f.rng, target.CacheLost, target.CachePartlyLost)}
	if kind == faultRestartKeeping || kind == faultRestartSilent && f.rng.IntN(3) == 0 {
		r.Cache = target.CacheKept
	}
	r.Down = f.span() / 4
	if r.Cache != target.CacheKept {
		f.w.audit.cacheLost()
	}
	silent := kind == faultRestartSilent
	f.w.target.restart(r, silent)
}

// loseCache takes the cache away under living sessions. Over several connections of one
// session the unit attention that tells of it may be overtaken by the answer to a later
// read, so that no initiator could notice in time: it is done only where it can be.
func (f *faults) loseCache() {
	if f.w.cfg.Conns > 1 {
		return
	}
	f.w.audit.cacheLost()
	f.w.target.t.LoseCache(f.w.target.t.ByChance)
	f.w.target.soon()
}

// refuse lets the next commands be refused. As few as this must never reach a client, but
// for a medium error.
func (f *faults) refuse(kind int) {
	r := target.Refusal{Count: 1 + f.rng.IntN(8)}
	r.Which = pick(f.rng, target.AnyCommand, target.ReadCommands, target.WriteCommands,
		target.FlushCommands)
	switch kind {
	case faultBusy:
		r.Status = pick(f.rng, scsi.Busy, scsi.TaskSetFull)
	case faultAbort: // one command may meet all of a run, and has ten tries
		r.Count = min(r.Count, 8-f.aborts)
		f.aborts += r.Count
		r.Status = pick(f.rng, scsi.TaskAborted, scsi.CheckCondition)
		r.Sense = scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x47, ASCQ: 0x05}
	case faultReadError:
		r.Which, r.Status = target.ReadCommands, scsi.CheckCondition
		r.Sense = scsi.Sense{Key: scsi.MediumError, ASC: 0x11}
		f.readErrors += r.Count
	}
	f.w.target.t.Refuse(r)
}

// excused reports whether a request may end with an error.
func (f *faults) excused(r *request, errno uint32) bool {
	const eio, eshutdown = 5, 108
	crash := &f.w.audit.crash
	switch {
	case errno == eshutdown:
		return f.w.daemon.stopping || f.w.daemon.number > r.daemon
	case errno != eio:
		return false
	case f.w.cfg.NoPath != mpath.Forever:
		return true
	case r.syncs() && crash.mayTell():
		return crash.tolds[r.client] <= (f.struck+1)*f.w.cfg.Slots // all that are open at a loss
	case r.kind == opRead && f.readErrors > 0:
		f.readErrors--
		return true
	}
	return false
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
		w.target.t.Delay(i, 0, 0)
	}
	w.target.t.RefuseLogins(0, false)
	w.target.t.Refuse(target.Refusal{})
	w.target.soon()
}
