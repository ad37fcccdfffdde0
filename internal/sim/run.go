package sim

import (
	"fmt"
	"runtime/debug"
	"time"

	"braid/iscsi/target"
)

// A Result is what came of a run.
type Result struct {
	Config  Config
	Fault   string // empty: nothing was found
	Events  int
	Lasted  time.Duration // simulated
	Digest  uint64        // of the history of answers: equal runs have equal ones
	Faults  [faultCount]int
	Pairs   [circumstances][faultCount]int
	Replays uint64
	Ghosts  int

	Reads, Writes, Flushes, Judged, Errors int

	Strikes, Asked int // faults and requests so far, those left out included

	Deaths    int // of daemons
	Resent    int // requests that the kernel asked again
	Histories int // of single blocks that were found to be linear
}

const (
	maxEvents  = 2_000_000
	startLimit = 2 * time.Minute
)

// Run is one run. History is told every line of what happens, nil tells nobody.
func Run(cfg Config, history func(line string)) (res Result) {
	res.Config = cfg
	defer func() {
		if p := recover(); p != nil {
			res.Fault = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	w, err := newWorld(cfg, history)
	if err != nil {
		res.Fault = err.Error()
		return res
	}
	r := &runner{w: w}
	r.run()
	if w.audit.fault == "" {
		res.Histories, w.audit.fault = w.audit.lin.judge()
	}
	res.Fault, res.Events, res.Lasted = w.audit.fault, r.events, w.agenda.now
	res.Faults, res.Pairs = w.faults.counts, w.faults.pairs
	res.Reads, res.Writes, res.Flushes = w.audit.reads, w.audit.writes, w.audit.flushes
	res.Judged, res.Errors = w.audit.judged, w.audit.errors
	for _, h := range w.targets {
		res.Ghosts += h.ghosts
	}
	res.Digest, res.Strikes, res.Asked = r.digest, w.faults.struck, w.work.asked
	res.Replays = w.replays + w.daemon.status().Counters.Replays
	res.Deaths, res.Resent = w.daemon.number-1, w.resent
	return res
}

type runner struct {
	w      *world
	events int
	digest uint64
}

// until lets the world go on until done or limit, and reports whether it was done.
func (r *runner) until(limit time.Duration, done func() bool) bool {
	a := &r.w.agenda
	for r.w.audit.fault == "" && !done() {
		if r.events++; r.events > maxEvents {
			r.w.audit.find("the world does not come to rest")
			break
		}
		if !a.step(limit) {
			return false
		}
		r.digest = (r.digest ^ uint64(a.now)) * 0x100000001b3
	}
	return r.w.audit.fault == ""
}

func (r *runner) run() {
	w := r.w
	a := &w.agenda
	w.logf("%v", w.cfg)
	if !r.until(startLimit, func() bool { return w.daemon.ready }) {
		w.audit.find("the device is not ready after %v", startLimit)
		return
	}
	for _, c := range w.people {
		c.connect()
	}
	w.work.begin()
	w.faults.begin()
	r.until(a.now+2*w.cfg.Length+20*time.Second, func() bool {
		return w.work.left == 0 && a.now > w.cfg.Length
	})
	w.closing, w.work.left = true, 0
	w.logf("the faults end")
	w.faults.heal()
	answered := func() bool { return w.work.open == 0 && w.daemon.stack.Device().Idle() }
	if !r.until(a.now+w.cfg.Patience, answered) {
		r.stuck("requests are not answered %v after the last fault")
		return
	}
	r.finish()
}

// finish flushes, lets the clients leave, takes the cache away and looks at what is left.
func (r *runner) finish() {
	w := r.w
	a := &w.agenda
	if !r.until(a.now+w.cfg.Patience, func() bool { return w.daemon.up() }) {
		r.stuck("there is no path %v after the last fault")
		return
	}
	if !r.last(opWrite) || !w.cfg.EndByStop && !r.last(opFlush) {
		return
	}
	for _, c := range w.people {
		c.leave()
	}
	dev := w.daemon.stack.Device()
	rests := func() bool { return dev.Idle() && (w.daemon.mem.inUse == 0 || w.cfg.EndByStop) }
	if !r.until(a.now+w.cfg.Patience, rests) {
		st := w.daemon.status()
		w.audit.find("at rest %d bytes of buffers are not given back; retained %d, unstable %d, "+
			"doubtful %d, in flight %d", w.daemon.mem.inUse, st.Retained, st.Unstable, st.Doubtful,
			st.InFlight)
		return
	}
	if w.cfg.EndByStop {
		w.daemon.stop()
		if !r.until(a.now+w.cfg.Patience, dev.Stopped) {
			r.stuck("the daemon has not stopped after %v")
			return
		}
		w.daemon.judgeStop()
		w.audit.daemonDied(w.daemon.number, false)
	}
	w.daemon.check()
	w.audit.cacheLost()
	w.disk.Lose(target.LoseAll)
	w.audit.final()
}

// last asks for something until it succeeds: what was lost may have to be told first, and
// that writes may pass again may have to be found out.
func (r *runner) last(kind opKind) bool {
	w := r.w
	for range lastTries {
		q := &request{kind: kind, n: 1}
		w.work.open += 3
		// These find out what has changed, and write again what was refused.
		w.people[0].send(&request{kind: opFlush, asks: true})
		w.people[0].send(&request{kind: opRead, n: 1, asks: true})
		w.people[0].send(q)
		if !r.until(w.agenda.now+w.cfg.Patience, func() bool { return w.work.open == 0 }) {
			r.stuck("the last " + opNames[kind] + " is not answered after %v")
			return false
		}
		if q.ended != 0 {
			return true
		}
		if kind == opWrite {
			w.people[0].drop(false) // the export may have been read-only when it came
		}
		r.until(w.agenda.now+w.cfg.Patience/lastTries, func() bool { return false })
	}
	w.audit.find("the last %s fails again and again", opNames[kind])
	return false
}

const lastTries = 8

func (r *runner) stuck(format string) {
	w := r.w
	what := ""
	for _, q := range w.audit.ops[1:] {
		if w.audit.open[q] {
			what += fmt.Sprintf("\n  %v since %v", q, q.started)
		}
	}
	st := w.daemon.stack.Device().Status(w.agenda.now)
	for _, p := range st.Paths {
		what += fmt.Sprintf("\n  path %d %s, %d in flight, %v", p.Index, p.State, p.InFlight, p.LastErr)
	}
	w.audit.find(format+": device %s, %d in flight, %d doubtful, retained %d, memory %d%s",
		w.cfg.Patience, st.State, st.InFlight, st.Doubtful, st.Retained, w.daemon.mem.inUse, what)
}
