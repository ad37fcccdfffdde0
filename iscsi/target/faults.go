package target

import (
	"log/slog"
	"slices"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// Cache says what a restart does to writes that are not stable.
type Cache uint8

// What becomes of the cache.
const (
	CacheKept       Cache = iota
	CacheLost             // all of it
	CachePartlyLost       // for every block chance decides
)

// Restart is how a target restarts.
type Restart struct {
	Cache Cache
	// Choose, if not nil, decides block by block instead of Cache; see
	// Forgetful.
	Choose func(lun uint16, lba uint64, versions int) int
	// HalfOpen: connections are not reset; the peers hear nothing any more.
	HalfOpen bool
	Down     time.Duration // for so long no connection is accepted
}

// faultState is what faults are in force for the whole target.
type faultState struct {
	downUntil        time.Duration
	late             bool
	lateMin, lateMax time.Duration
	noAbort          bool
	refusals         int // logins to be refused
	refuseWith       uint16
	refusal          Refusal
	restarted        bool
	snacks           int // to be refused
	reassigns        int // likewise
	disturbances     []Disturbance
}

// Cut resets the connections of a portal and refuses new ones; or, with on
// false, accepts them again.
func (t *Target) Cut(now time.Duration, portal int, on bool) {
	t.portals[portal].cut = on
	if !on {
		return
	}
	for _, c := range t.at(portal) {
		t.CutConn(now, c)
	}
}

// CutConn resets one connection.
func (t *Target) CutConn(now time.Duration, c *Conn) {
	if c.state == stateGone {
		c.reset = c.reset || c.silent
		c.silent = false
		return
	}
	c.fail(now)
}

// ResetCID resets the connections that have that CID in their sessions.
func (t *Target) ResetCID(now time.Duration, cid uint16) {
	for _, c := range slices.Clone(t.conns) {
		if c.state == stateFull && c.cid == cid {
			t.CutConn(now, c)
		}
	}
}

// Blackhole makes a portal swallow what comes and send nothing. When it ends,
// connections that lost something by it are reset.
func (t *Target) Blackhole(now time.Duration, portal int, on bool) {
	t.portals[portal].blackhole = on
	if on {
		return
	}
	for _, c := range t.at(portal) {
		if c.deaf {
			t.CutConn(now, c)
		}
		c.resumed = true
	}
}

// Stall makes a portal neither read nor send. When it ends, all goes on.
func (t *Target) Stall(portal int, on bool) {
	t.portals[portal].stall = on
	for _, c := range t.at(portal) {
		c.resumed = true
	}
}

// Delay makes commands that come in at a portal, AnyCommand or of one kind, wait for a time
// between from and to, which chance decides, before they are executed. Zeroes end it;
// commands that wait already go on waiting.
func (t *Target) Delay(portal int, which Commands, from, to time.Duration) {
	p := &t.portals[portal]
	p.delayOf, p.delayMin, p.delayMax = which, from, max(from, to)
}

// ExecuteLate makes ghosts: when a nexus is lost with its connections, its write
// commands that were received but not executed, because of Delay, stay, and are
// executed after a time between from and to, which chance decides. Reinstatement
// of the session aborts them, and so does a reset of the logical unit.
func (t *Target) ExecuteLate(on bool, from, to time.Duration) {
	t.faults.late, t.faults.lateMin, t.faults.lateMax = on, from, max(from, to)
}

// NoAbort makes reinstatement a fence that does not hold: the old session's
// commands are not aborted, nor waited for, before the login is answered.
func (t *Target) NoAbort(on bool) { t.faults.noAbort = on }

// RefuseLogins answers the next n logins with a status that passes: 0301h, or
// 0302h if it is for resources.
func (t *Target) RefuseLogins(n int, resources bool) {
	t.faults.refusals, t.faults.refuseWith = n, login.StatusUnavailable
	if resources {
		t.faults.refuseWith = login.StatusOutOfResources
	}
}

// Commands says which commands a Refusal is for.
type Commands uint8

// Kinds of commands.
const (
	AnyCommand Commands = iota // reads, writes and flushes
	ReadCommands
	WriteCommands // UNMAP and WRITE SAME too
	FlushCommands
)

// A Refusal is an answer to commands that are not executed.
type Refusal struct {
	Count  int // how many commands are refused
	Which  Commands
	Status scsi.Status
	Sense  scsi.Sense
}

// Refuse refuses commands, in place of an earlier Refusal that is not used up.
func (t *Target) Refuse(r Refusal) { t.faults.refusal = r }

func (f *faultState) refuse(k *task) {
	r := &f.refusal
	if r.Count == 0 || k.refused {
		return
	}
	which := k.kind()
	if which == AnyCommand || r.Which != AnyCommand && r.Which != which {
		return
	}
	r.Count--
	k.refuse(r.Status, r.Sense)
}

// kind sorts commands on blocks; all others are AnyCommand.
func (k *task) kind() Commands {
	switch k.cdb.Op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		return ReadCommands
	case scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return FlushCommands
	}
	if k.mutates() {
		return WriteCommands
	}
	return AnyCommand
}

func (f *faultState) loginStatus() *login.StatusError {
	if f.refusals == 0 {
		return nil
	}
	f.refusals--
	return login.Status(f.refuseWith)
}

// LoseCache takes back unstable writes while sessions live on: every nexus finds
// unit attention 29h/01h. choose may be nil for all.
func (t *Target) LoseCache(choose func(lun uint16, lba uint64, versions int) int) {
	if choose == nil {
		choose = func(uint16, uint64, int) int { return 0 }
	}
	t.lose(choose)
	for _, n := range t.nexuses {
		n.attend(powerOnOccurred)
	}
}

func (t *Target) lose(choose func(lun uint16, lba uint64, versions int) int) {
	for _, s := range t.sessions {
		s.settleReads()
	}
	for _, u := range t.units {
		if f, ok := u.Store.(Forgetful); ok {
			number := u.Number
			f.Lose(func(lba uint64, versions int) int { return choose(number, lba, versions) })
		}
	}
}

// ByChance is a choice for LoseCache and Restart: every outcome is as likely.
func (t *Target) ByChance(_ uint16, _ uint64, versions int) int {
	return t.cfg.Rand.IntN(versions + 1)
}

// Restart makes the target lose its connections, sessions, commands, ghosts too,
// and all it knows of its initiators. Operations that a store is working on
// complete there, unanswered.
func (t *Target) Restart(now time.Duration, r Restart) {
	t.cfg.Log(slog.LevelWarn, "restart", "down", r.Down, "half open", r.HalfOpen)
	for len(t.sessions) > 0 {
		t.sessions[0].end(now, endRestart)
	}
	for len(t.delayed.heap) > 0 {
		t.abort(t.delayed.heap[0])
	}
	for _, c := range t.conns {
		t.leave(c)
		c.state, c.reset, c.silent = stateGone, !r.HalfOpen, r.HalfOpen
		if r.HalfOpen {
			c.dropOutput()
		}
	}
	for _, n := range t.nexuses {
		n.forgotten = true
	}
	for _, u := range t.units {
		u.pr = reservations{}
	}
	t.faults.downUntil = now + r.Down
	t.faults.restarted = true
	switch {
	case r.Choose != nil:
		t.lose(r.Choose)
	case r.Cache == CacheLost:
		t.lose(func(uint16, uint64, int) int { return 0 })
	case r.Cache == CachePartlyLost:
		t.lose(t.ByChance)
	}
}

// at lists the connections of a portal.
func (t *Target) at(portal int) []*Conn {
	var list []*Conn
	for _, c := range t.conns {
		if c.portal == portal {
			list = append(list, c)
		}
	}
	return list
}

func (t *Target) between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(t.cfg.Rand.Int64N(int64(to-from)+1))
}

// haunts reports whether a task lives on as a ghost when its session ends.
func (t *Target) haunts(k *task, why endReason) bool {
	f := &t.faults
	return k.state == taskDelayed && k.mutates() &&
		(why == endLost && f.late || why == endReinstated && f.noAbort)
}

// haunt makes a ghost of a task whose nexus is lost.
func (t *Target) haunt(now time.Duration, k *task) {
	k.discharge()
	k.session, k.conn = nil, nil
	if t.faults.late {
		t.delayed.remove(k)
		t.delay(k, now+t.between(t.faults.lateMin, t.faults.lateMax))
	}
}

// mutates reports whether the command changes what is stored.
func (k *task) mutates() bool {
	switch k.cdb.Op {
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16,
		scsi.OpUnmap, scsi.OpWriteSame10, scsi.OpWriteSame16:
		return true
	}
	return false
}

// Ghosts is how many commands of lost nexuses are still to be executed.
func (t *Target) Ghosts() int {
	n := 0
	for _, k := range t.delayed.heap {
		if k.conn == nil {
			n++
		}
	}
	return n
}

// layGhosts aborts the ghosts of a nexus.
func (t *Target) layGhosts(key nexusKey) {
	t.lay(func(k *task) bool { return k.nexus.key == key })
}

func (t *Target) layGhostsOf(u *unit) {
	t.lay(func(k *task) bool { return k.unit == u })
}

func (t *Target) lay(meant func(k *task) bool) {
	for i := 0; i < len(t.delayed.heap); {
		k := t.delayed.heap[i]
		if k.conn == nil && meant(k) {
			t.free(k)
			i = 0
			continue
		}
		i++
	}
}
