package mpath

import "time"

// Counters are totals since the device was made.
type Counters struct {
	Flushes struct {
		Requested, Rounds, Failed uint64
		Time                      time.Duration // waited for, summed
	}
	Fences      Fences
	CacheLosses uint64 // that a target told of

	AccessChanges    uint64 // of target port groups
	GroupSwitches    uint64 // another group of paths began to carry I/O
	ExplicitSwitches uint64 // SET TARGET PORT GROUPS that were obeyed

	Replays     uint64 // copies written again
	ReplayBytes uint64
	Resent      uint64 // doubtful writes sent again
}

// Fences are how many lost sessions were fenced by what, of every kind there is.
type Fences [fenceKinds]FenceCount

// A FenceCount is one kind of fence, by the name that it has as a setting.
type FenceCount struct {
	Kind  string
	Count uint64
}

// Of is how many fences of a kind there were.
func (f *Fences) Of(kind string) uint64 {
	for _, c := range f {
		if c.Kind == kind {
			return c.Count
		}
	}
	return 0
}

// PathCounters are totals of one path, over all its sessions.
type PathCounters struct {
	Reads, Writes, ReadBytes, WriteBytes uint64
	Retries, Failovers, Syncs, Hedged    uint64
	Marginal                             uint64 // times it was put in reserve because of its losses
	// ServiceTime is a moving average of the time from sending to answer.
	ServiceTime time.Duration
}

func (c *PathCounters) serve(t time.Duration) {
	if c.ServiceTime == 0 {
		c.ServiceTime = t
	}
	c.ServiceTime += (t - c.ServiceTime) / 8
}

// A PathStatus describes a path as it is now.
type PathStatus struct {
	Index    int
	State    string // active, ghost, fencing, recovering or faulty
	Path     Path   // nil while there is no session
	InFlight int
	LastErr  error
	Counters PathCounters
	Access   string // asymmetric access state; empty if it tells none
	Group    uint16 // target port group
	Added    bool   // by AddPath
	Final    bool   // the peer's answer was final; it is still tried, rarely
	Bytes    uint64 // capacity that it told last
	Marginal bool   // in reserve because it was lost again and again
	Removed  bool   // left by a former process and not one of the device's paths
}

// A Status describes the device as it is now.
type Status struct {
	State     string // striped, draining, queueing or failed
	Paths     []PathStatus
	Counters  Counters
	Unstable  uint64 // bytes acknowledged and not known to be stable, as far as copies are kept
	Retained  uint64 // bytes of memory that copies take or have reserved
	Doubtful  int    // writes that a lost session may yet execute
	NoPathFor time.Duration
	InFlight  int
}

// Status describes the device. It is made for people, a few times a second at most.
func (d *Device) Status(now time.Duration) Status {
	st := Status{
		State: "striped", Counters: d.stats, Unstable: d.ledger.Unstable(),
		Retained: d.ledger.Used(), Doubtful: d.ledger.Doubtful(-1), InFlight: d.inFlight,
	}
	for i, name := range fenceNames {
		st.Counters.Fences[i].Kind = name
	}
	st.Counters.Flushes.Rounds = d.rounds.Rounds()
	st.Counters.Replays, st.Counters.ReplayBytes = d.ledger.Replayed()
	st.Counters.Resent = d.ledger.Resent()
	switch {
	case d.noPathSince != never && (d.cfg.NoPath == Forever || now < d.noPathSince+d.cfg.NoPath):
		st.State, st.NoPathFor = "queueing", now-d.noPathSince
	case d.noPathSince != never:
		st.State, st.NoPathFor = "failed", now-d.noPathSince
	case d.rounds.Waits():
		st.State = "draining"
	}
	for _, s := range d.slots {
		p := PathStatus{
			Index: s.index, State: s.stateName(now), Path: s.path, InFlight: s.out.n,
			LastErr: s.lastErr, Counters: s.stats, Removed: s.rec.fenceOnly,
			Marginal: s.flaps.marginal(now), Added: d.cfg.Slots[s.index].Added, Final: s.final,
			Bytes: s.blocks * uint64(d.lun.BlockSize),
		}
		if s.access.told {
			p.Access, p.Group = s.access.state.String(), s.access.group
		}
		st.Paths = append(st.Paths, p)
	}
	return st
}

// stateName is the slot's state in the words that people know from multipath.
func (s *slot) stateName(now time.Duration) string {
	switch {
	case s.state == active:
		return "active"
	case s.state == ghost && !s.fence.needed && !s.flaps.marginal(now):
		return "ghost"
	case s.fence.needed:
		return "fencing"
	case s.state == down || s.state == closed:
		return "faulty"
	}
	return "recovering"
}

// Activity tells what is under way.
type Activity struct {
	Flush   bool // a flush round
	Replay  bool // copies are written again
	Fence   bool // a lost session may still execute something
	Doubt   bool // of a write that was lost with its session nobody knows
	Verify  bool // a path is looked at before it is used
	NoPath  bool
	Waiting bool // requests wait to begin
}

// Activity is cheaper than Status.
func (d *Device) Activity() Activity {
	a := Activity{
		Flush: d.rounds.Active(), Replay: d.ledger.Replays() > 0,
		NoPath: d.noPathSince != never, Waiting: d.admission.n > 0,
	}
	for _, s := range d.slots {
		a.Fence = a.Fence || s.fence.needed
		a.Verify = a.Verify || s.state == probing || s.state == proving
	}
	a.Doubt = a.Fence && d.ledger.Doubtful(-1) > 0
	return a
}
