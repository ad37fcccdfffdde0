package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"braid/mpath"
)

// Faults, as bits of Config.Mix.
const (
	faultCutConn = iota
	faultCutPortal
	faultCutTwo
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
	faultFlip
	faultDropPDU
	faultAttention
	faultAccess
	faultGrow
	faultCaching
	faultProtect
	faultConflict
	faultCount
)

// A faultKind is what there is to know of a fault before it strikes.
type faultKind struct {
	name string
	odds int // among those of the mix; what loses sessions in their work comes most often
	path bool
}

var faultKinds = [faultCount]faultKind{
	faultCutConn:        {"cut connection", 8, true},
	faultCutPortal:      {"cut portal", 5, true},
	faultCutTwo:         {"cut two connections within a millisecond", 3, true},
	faultDark:           {"dark", 3, true},
	faultRestartLosing:  {"restart losing", 2, false},
	faultRestartKeeping: {"restart keeping", 1, false},
	faultRestartSilent:  {"restart silent", 2, false},
	faultLoseCache:      {"lose cache", 2, false},
	faultRefuseLogins:   {"refuse logins", 1, false},
	faultFreezeTarget:   {"freeze target", 1, false},
	faultFreezeBraid:    {"freeze braid", 1, false},
	faultSlow:           {"slow", 1, false},
	faultDropClient:     {"drop client", 2, false},
	faultBusy:           {"busy", 1, false},
	faultAbort:          {"aborted command", 1, false},
	faultReadError:      {"read error", 1, false},
	faultHaunt:          {"haunt", 5, true},
	faultKill:           {"kill daemon", 3, false},
	faultUpgrade:        {"upgrade daemon", 1, false},
	faultFlip:           {"flip a bit", 3, true},
	faultDropPDU:        {"lose PDUs", 2, false},
	faultAttention:      {"unit attention", 3, false},
	faultAccess:         {"access state", 2, false},
	faultGrow:           {"grow", 1, false},
	faultCaching:        {"caching mode", 1, false},
	faultProtect:        {"write protection", 1, false},
	faultConflict:       {"reservation conflict", 1, false},
}

// circumstance is something in whose middle a fault may strike.
type circumstance int

const (
	duringFlush circumstance = iota
	duringReplay
	duringFence
	duringDoubt
	duringVerify
	duringNoPath
	duringWait
	duringStart     // the daemon is not there, or not ready
	duringStop      // it was told to stop
	afterPathLoss   // within a millisecond
	afterCacheLoss  // within 50 ms
	afterDeath      // likewise
	duringFlushInIt // a flush round while copies are written again
	circumstances
)

var circumstanceNames = [circumstances]string{
	"flush", "replay", "fence", "doubt", "verify", "no path", "waiting", "start", "stop",
	"path loss", "cache loss", "death", "flush in replay",
}

// faults makes things go wrong.
type faults struct {
	w      *world
	rng    *rand.Rand
	over   bool
	struck int // faults so far
	counts [faultCount]int
	pairs  [circumstances][faultCount]int

	was                        mpath.Activity
	aimed                      int // faults that were aimed at a circumstance
	pathLoss, cacheLoss, death time.Duration

	aborts     int // commands that were to be aborted
	readErrors int // read errors that were ordered and not yet seen by a client
	conflicts  int
	protectedA time.Duration // when writes may have been refused last; 0: never were
	protected  bool
}

func newFaults(w *world, rng *rand.Rand) *faults {
	return &faults{w: w, rng: rng, pathLoss: -time.Hour, cacheLoss: -time.Hour, death: -time.Hour}
}

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
		if !f.over {
			f.strike()
			f.plan()
		}
	}))
}

// look finds out whether something began in whose middle a fault is to strike.
func (f *faults) look() {
	w := f.w
	if w.cfg.Aim == 0 || f.over || f.aimed >= maxAimed || !w.daemon.ready {
		return
	}
	was, is := f.was, w.daemon.stack.Device().Activity()
	f.was = is
	begun := []bool{!was.Flush && is.Flush, !was.Replay && is.Replay, !was.Fence && is.Fence,
		!was.Verify && is.Verify, was.NoPath && !is.NoPath}
	for i, b := range begun {
		if b && w.cfg.Aim&(1<<i) != 0 && f.rng.IntN(3) == 0 {
			f.aimed++
			d := time.Duration(f.rng.Int64N(int64(4 * w.cfg.Latency)))
			w.agenda.after(d, call(func() {
				if !f.over {
					f.strike()
				}
			}))
		}
	}
}

const maxAimed = 12

// circumstances tells in whose middle a fault strikes now.
func (f *faults) circumstances() (list [circumstances]bool) {
	w := f.w
	now := w.agenda.now
	var a mpath.Activity
	if !w.daemon.dead {
		a = w.daemon.stack.Device().Activity()
	}
	return [circumstances]bool{
		duringFlush: a.Flush, duringReplay: a.Replay, duringFence: a.Fence, duringDoubt: a.Doubt,
		duringVerify: a.Verify, duringNoPath: a.NoPath, duringWait: a.Waiting,
		duringStart: w.daemon.dead || !w.daemon.ready, duringStop: w.daemon.stopping,
		afterPathLoss:   now-f.pathLoss < time.Millisecond,
		afterCacheLoss:  now-f.cacheLoss < 50*time.Millisecond,
		afterDeath:      now-f.death < 50*time.Millisecond,
		duringFlushInIt: a.Flush && a.Replay,
	}
}

func (f *faults) draw() int {
	sum := 0
	for kind, k := range faultKinds {
		if f.w.cfg.Mix&(1<<kind) != 0 {
			sum += k.odds
		}
	}
	n := f.rng.IntN(sum)
	for kind, k := range faultKinds {
		if f.w.cfg.Mix&(1<<kind) != 0 {
			if n -= k.odds; n < 0 {
				return kind
			}
		}
	}
	panic("sim: no fault")
}

// strike lets one fault happen. What it draws is its own, so that leaving one out does not
// make others of the rest.
func (f *faults) strike() {
	kind := f.draw()
	f.struck++
	if n := f.w.cfg.MaxStrikes; n > 0 && f.struck > n || slices.Contains(f.w.cfg.Spared, f.struck) {
		return
	}
	b := &blow{faults: f, rng: f.w.cfg.stream(1<<20 + uint64(f.struck))}
	b.portal = b.rng.IntN(len(f.w.wires))
	if !b.fits(kind) {
		return
	}
	f.w.logf("FAULT %d: %s, portal %d", f.struck, faultKinds[kind].name, b.portal)
	f.counts[kind]++
	for i, on := range f.circumstances() {
		if on {
			f.pairs[i][kind]++
		}
	}
	switch {
	case faultKinds[kind].path:
		f.pathLoss = f.w.agenda.now
	case kind == faultKill:
		f.death = f.w.agenda.now
	}
	b.strike(kind)
}

// excused reports whether a request may end with an error.
func (f *faults) excused(r *request, errno uint32) bool {
	const eperm, eio, eshutdown = 1, 5, 108
	crash := &f.w.audit.crash
	refused := f.protectedA > 0 && r.started <= f.protectedA+f.w.cfg.Pace.span
	switch {
	case r.asks:
		return true
	case errno == eshutdown:
		return f.w.daemon.stopping || f.w.daemon.number > r.daemon
	case errno == eperm:
		return f.protectedA > 0 && r.changes()
	case errno != eio:
		return false
	case f.w.cfg.NoPath != mpath.Forever, refused, f.conflicts > 0:
		return true
	case f.protectedA > 0 && r.syncs():
		return true // a flush in the background failed
	case r.syncs() && crash.mayTell():
		// All that are open at a loss.
		return crash.tolds[r.client] <= (f.struck+1)*f.w.cfg.Slots
	case r.kind == opRead && f.readErrors > 0:
		f.readErrors--
		return true
	}
	return false
}
