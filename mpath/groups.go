package mpath

import (
	"log/slog"
	"time"

	"braid/iscsi/scsi"
)

// I/O goes over the paths of one target port group: the best there is. The others rest, as
// ghosts, until that one has no path left. Without asymmetric access all paths are of one
// group. Where reads on one path may miss writes on another (Config.Coherent), each path is
// a group of its own.

// groups is which group carries I/O.
type groups struct {
	key        int           // of the group in use; noGroup if there is none yet
	lackSince  time.Duration // since when no path can carry I/O though sessions are up; never
	failbackAt time.Duration // when a better group takes over; never if none waits
	better     int           // the group that does
	explicit   explicit
}

// FailbackManual as Config.Failback stays with a group as long as it has a path.
const FailbackManual = Forever

// key tells groups apart.
func (d *Device) key(s *slot) int {
	if !d.cfg.Coherent {
		return alone + s.index
	}
	if !s.access.told {
		return noPortGroup
	}
	return int(s.access.group)
}

// alone is above the numbers of all groups: from here on each path is one.
const alone = 1 << 16

// present reports whether the path could carry I/O, or will when it was looked at again.
func (s *slot) present() bool {
	return s.inLedger && s.path.Up() && s.access.serves() && !s.outOfService
}

// Ranks of paths. A path that keeps failing is worse than any that does not.
const (
	rankNone  = 0
	rankPref  = 1
	rankState = 2
	rankGood  = 16
)

// rank says how well a path serves, rankNone if it does not.
func (d *Device) rank(s *slot) int {
	if !s.present() {
		return rankNone
	}
	r := rankState
	switch a := &s.access; {
	case !a.told, a.state == scsi.ActiveOptimized:
		r = 3 * rankState
	case a.state == scsi.ActiveNonOptimized:
		r = 2 * rankState
	}
	if s.access.told && s.access.pref {
		r += rankPref
	}
	if !s.flaps.marginal(d.now) {
		r += rankGood
	}
	return r
}

// arrange decides which paths carry I/O. It is called whenever that may have changed.
func (d *Device) arrange() {
	g := &d.groups
	best, bestRank, rank := noGroup, rankNone, rankNone
	for _, s := range d.slots {
		r := d.rank(s)
		if r > bestRank {
			best, bestRank = d.key(s), r
		}
		if d.key(s) == g.key {
			rank = max(rank, r)
		}
	}
	switch {
	case bestRank == rankNone:
		g.failbackAt = never
		d.lack()
		return
	case best == g.key:
		g.failbackAt = never
	case rank == rankNone, bestRank >= rankGood && rank < rankGood, d.mayFailBack(best):
		d.useGroup(best)
		rank = bestRank
	}
	g.lackSince = never
	for _, s := range d.slots {
		uses := d.key(s) == g.key && d.rank(s) > rankNone && (d.rank(s) >= rankGood || rank < rankGood)
		switch {
		case uses && s.state == ghost:
			d.promote(s)
		case !uses && s.state == active:
			d.rest(s)
		}
	}
}

// mayFailBack reports whether a group that is better than the one in use may take over
// now.
func (d *Device) mayFailBack(key int) bool {
	g := &d.groups
	if !d.used {
		return true
	}
	if d.cfg.Failback == FailbackManual {
		return false
	}
	if g.failbackAt == never || g.better != key {
		g.failbackAt, g.better = d.now+d.cfg.Failback, key
	}
	if d.now < g.failbackAt {
		return false
	}
	if !d.cfg.Coherent && d.ledger.Unstable() > 0 { // in the cache of the path in use
		d.squeeze(true)
		g.failbackAt = d.now + failbackPause
		return false
	}
	return true
}

// failbackPause is how long a path whose cache is not coherent with the others' is given to
// flush before it is asked again whether it has.
const failbackPause = 100 * time.Millisecond

func (d *Device) useGroup(key int) {
	g := &d.groups
	switch {
	case g.key == noGroup:
	case !d.cfg.Coherent:
		d.log(slog.LevelWarn, "another path carries I/O", "path", d.slots[key-alone].name)
		d.stats.GroupSwitches++
	default:
		d.log(slog.LevelWarn, "another group of paths carries I/O", "group", key, "before", g.key)
		d.stats.GroupSwitches++
	}
	g.key, g.failbackAt = key, never
}

// lack is what follows when no path can carry I/O.
func (d *Device) lack() {
	g := &d.groups
	for _, s := range d.slots {
		if s.state == active {
			d.rest(s)
		}
	}
	if g.lackSince != never || !d.anyGhost() {
		return
	}
	g.lackSince = d.now
	d.askAll()
}

func (d *Device) anyGhost() bool {
	for _, s := range d.slots {
		if s.state == ghost && !s.outOfService {
			return true
		}
	}
	return false
}

// hopes reports whether a session that is up may soon carry I/O, although none can now: the
// target is changing the access states of its ports, or is to be asked to.
func (d *Device) hopes() bool {
	g := &d.groups
	return g.lackSince != never && d.now < g.lackSince+d.hopeTime() && d.anyGhost()
}

func (d *Device) hopeTime() time.Duration {
	limit := time.Duration(0)
	for _, s := range d.slots {
		if s.state == ghost {
			limit = max(limit, s.access.limit)
		}
	}
	return limit
}

// promote lets a path that waited for its turn carry I/O.
func (d *Device) promote(s *slot) {
	d.enter(s, active)
	s.lastErr = nil
	d.ledger.Rest(s.index, false)
	d.rounds.Step()
	d.noPathSince = never
	if !d.ready {
		d.ready, d.readyAt = true, d.now
	}
	d.log(slog.LevelInfo, "path active", "path", s.name)
}

// rest takes a path that works out of use.
func (d *Device) rest(s *slot) {
	d.enter(s, ghost)
	if s.inLedger {
		d.ledger.Rest(s.index, true)
	}
	if s.access.told {
		s.access.askAt = min(s.access.askAt, d.now+accessPause)
	}
}

func (d *Device) groupsDeadline() time.Duration {
	g := &d.groups
	next := g.failbackAt
	if g.lackSince != never {
		next = min(next, d.explicitDeadline())
		if t := g.lackSince + d.hopeTime(); d.noPathSince == never && t > d.now {
			next = min(next, t)
		}
	}
	for _, s := range d.slots {
		if t := s.flaps.until; s.inLedger && t > d.now {
			next = min(next, t)
		}
	}
	return next
}

// stepGroups does what time alone brings.
func (d *Device) stepGroups() {
	g := &d.groups
	due := d.now >= g.failbackAt
	for _, s := range d.slots {
		if s.inLedger && s.flaps.over(d.now) {
			due = true
		}
	}
	if due {
		d.arrange()
	}
	if g.lackSince != never {
		d.countPaths()
		d.stepExplicit()
	}
}
