package mpath

import (
	"errors"
	"strings"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// A fakePort is a target port with an access state.
type fakePort struct {
	group   uint16
	state   scsi.AccessState
	pref    bool
	seconds uint8           // that a transition is said to take
	refuse  error           // of SET TARGET PORT GROUPS
	set     func(ID uint16) // what it does
	asked   int             // REPORT TARGET PORT GROUPS
	sets    int             // SET TARGET PORT GROUPS
}

var accessASCQ = map[scsi.AccessState]uint8{
	scsi.Transitioning: 0x0a, scsi.Standby: 0x0b, scsi.Unavailable: 0x0c, scsi.Offline: 0x12,
}

func (f *fakePort) execute(p *fakePath, c *scsi.Command, cdb scsi.CDB) (bool, error) {
	switch {
	case cdb.Op == scsi.OpInquiry && cdb.EVPD && cdb.Page == scsi.PageDeviceID:
		group := []byte{0, 0, byte(f.group >> 8), byte(f.group)}
		return true, p.lun.reply(c, scsi.DeviceID{
			{CodeSet: scsi.Binary, Type: scsi.NAA, Value: p.lun.id},
			{CodeSet: scsi.Binary, Type: scsi.TargetPortGroupID, Association: scsi.OfTargetPort,
				Protocol: 5, ProtocolValid: true, Value: group},
		}.Append(nil))
	case cdb.Op == scsi.OpMaintenanceIn:
		f.asked++
		g := scsi.PortGroups{TransitionTime: f.seconds, Groups: []scsi.PortGroup{
			{ID: f.group, State: f.state, Pref: f.pref}}}
		return true, p.lun.reply(c, g.Append(nil, cdb.Descriptor))
	case cdb.Op == scsi.OpMaintenanceOut:
		f.sets++
		if f.refuse != nil {
			return true, f.refuse
		}
		list, err := scsi.ParseSetGroupParameters(c.Data)
		if err != nil || len(list) != 1 || list[0].State != scsi.ActiveOptimized {
			p.rig.t.Fatalf("%+v %v", list, err)
		}
		f.set(list[0].ID)
		return true, nil
	case cdb.Op == scsi.OpInquiry:
		return false, nil
	}
	if ascq := accessASCQ[f.state]; ascq != 0 {
		return true, check(scsi.NotReady, 4, ascq)
	}
	return false, nil
}

// aluaRig is a device over ports of the groups that are named, which has been started.
func aluaRig(t *testing.T, ports []fakePort, change ...func(*Config)) *rig {
	t.Helper()
	cfg := config(len(ports))
	for _, f := range change {
		f(&cfg)
	}
	r := newRig(t, cfg)
	r.lun.inquiry.TPGS = scsi.TPGSBoth
	r.ports = map[int]*fakePort{}
	for i := range ports {
		r.ports[i] = &ports[i]
		ports[i].set = func(id uint16) { r.access(id, scsi.ActiveOptimized) }
	}
	r.run()
	return r
}

// access changes the state of a group, and lets every session hear of it.
func (r *rig) access(group uint16, state scsi.AccessState) {
	for _, f := range r.ports {
		if f.group == group {
			f.state = state
		}
	}
	for _, p := range r.paths {
		p.answer = onceAny(check(scsi.UnitAttention, 0x2a, 0x06))
	}
}

// onceAny refuses the first command, whatever it is.
func onceAny(err error) func(*scsi.Command, scsi.CDB) error {
	return func(*scsi.Command, scsi.CDB) error {
		e := err
		err = nil
		return e
	}
}

func (r *rig) wantStates(want string) {
	r.t.Helper()
	var got []string
	for i := range r.d.slots {
		got = append(got, r.state(i))
	}
	if g := strings.Join(got, " "); g != want {
		r.t.Fatalf("%s, want %s\n%s", g, want, strings.Join(r.logs, ""))
	}
}

const (
	optimized    = scsi.ActiveOptimized
	nonOptimized = scsi.ActiveNonOptimized
)

// TestGroups: which paths carry I/O.
func TestGroups(t *testing.T) {
	port := func(group uint16, state scsi.AccessState) fakePort {
		return fakePort{group: group, state: state}
	}
	for _, test := range []struct {
		name  string
		ports []fakePort
		want  string
	}{
		{"all alike", []fakePort{port(1, optimized), port(1, optimized)}, "active active"},
		{"the first of two optimized groups",
			[]fakePort{port(1, optimized), port(2, optimized), port(1, optimized)},
			"active ghost active"},
		{"optimized before non-optimized",
			[]fakePort{port(1, nonOptimized), port(2, optimized)}, "ghost active"},
		{"preferred", []fakePort{port(1, optimized), {group: 2, pref: true}}, "ghost active"},
		{"non-optimized before standby",
			[]fakePort{port(1, scsi.Standby), port(2, nonOptimized)}, "ghost active"},
		{"unavailable", []fakePort{port(1, scsi.Unavailable), port(2, optimized)}, "ghost active"},
		{"offline", []fakePort{port(1, optimized), port(2, scsi.Offline)}, "active ghost"},
		{"in transition", []fakePort{port(1, scsi.Transitioning), port(2, optimized)},
			"ghost active"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := aluaRig(t, test.ports)
			r.wantStates(test.want)
			r.want(r.write(0, 4096, 1), OK)
			r.want(r.flush(), OK)
			r.check(0, 4096, 1)
			for i := range test.ports {
				p := r.path(i)
				if r.state(i) == "ghost" && p.count(scsi.OpWrite16)+p.count(scsi.OpRead16) > 0 {
					t.Errorf("path %d carried %v", i, p.received)
				}
			}
		})
	}
}

// TestFailover: a group turns to standby under load, another one takes over, and the first
// one returns. No error, nothing lost.
func TestFailover(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 1}, {group: 2, state: nonOptimized}})
	r.wantStates("active active ghost")
	for i := range 8 {
		r.want(r.write(uint64(i)*4096, 4096, byte(i+1)), OK)
	}
	r.access(1, scsi.Standby)
	for i := range 8 {
		r.want(r.write(uint64(i+8)*4096, 4096, byte(i+9)), OK)
	}
	r.wantStates("ghost ghost active")
	r.want(r.flush(), OK)
	if r.path(2).count(scsi.OpWrite16) < 16 {
		t.Error("what only the paths in standby had acknowledged was not written again: ",
			r.path(2).count(scsi.OpWrite16), "writes")
	}
	r.lun.loseCache()
	for i := range 16 {
		r.check(uint64(i)*4096, 4096, byte(i+1))
	}
	r.access(1, optimized)
	r.after(accessPoll)
	r.wantStates("active active ghost")
	r.want(r.write(0, 4096, 99), OK)
	r.want(r.flush(), OK)
	if n := r.d.Status(r.now).Counters.GroupSwitches; n != 2 {
		t.Error(n, "changes of the group")
	}
}

// TestFailbackPolicy: when a better group takes over again.
func TestFailbackPolicy(t *testing.T) {
	for _, test := range []struct {
		policy              time.Duration
		soon, later, forced string
	}{
		{0, "active ghost", "active ghost", "active ghost"},
		{5 * time.Minute, "ghost active", "active ghost", "active ghost"},
		{FailbackManual, "ghost active", "ghost active", "active ghost"},
	} {
		r := aluaRig(t, []fakePort{{group: 1}, {group: 2}},
			func(c *Config) { c.Failback = test.policy })
		r.wantStates("active ghost")
		r.want(r.write(0, 4096, 1), OK)
		r.path(0).Kill(r.now, errCut)
		r.refuse[0] = errCut
		r.want(r.write(0, 4096, 2), OK)
		r.after(time.Second)
		if r.state(1) != "active" {
			t.Fatal(r.state(1))
		}
		delete(r.refuse, 0)
		r.after(2 * time.Minute)
		r.wantStates(test.soon)
		r.after(5 * time.Minute)
		r.wantStates(test.later)
		r.d.ReinstatePath(r.now, 0)
		r.run()
		r.wantStates(test.forced)
	}
}

// TestTransition: no command fails while the target changes its mind, not even with
// no_path = fail.
func TestTransition(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1, seconds: 30}, {group: 1, seconds: 30}},
		func(c *Config) { c.NoPath = 0 })
	r.access(1, scsi.Transitioning)
	w, f := r.write(0, 4096, 7), r.flush()
	r.after(20 * time.Second)
	r.wantHeld(w)
	r.wantHeld(f)
	r.wantStates("ghost ghost")
	r.access(1, optimized)
	r.after(2 * accessPause)
	r.want(w, OK)
	r.want(f, OK)
	r.check(0, 4096, 7)
}

// TestEndlessTransition: what the target says that it takes is the bound.
func TestEndlessTransition(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1, seconds: 30}}, func(c *Config) { c.NoPath = 0 })
	r.access(1, scsi.Transitioning)
	w := r.write(0, 4096, 7)
	r.after(29 * time.Second)
	r.wantHeld(w)
	r.after(time.Minute)
	r.want(w, EIO)
	r.access(1, optimized)
	r.after(accessPoll)
	r.want(r.write(0, 4096, 7), OK)
}

// TestExplicit: when only standby is left, the target is asked to change that, again until
// it does.
func TestExplicit(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 2, state: scsi.Standby}})
	r.want(r.write(0, 4096, 1), OK)
	r.ports[1].refuse = check(scsi.IllegalRequest, 0x67, 0x0a)
	r.access(1, scsi.Unavailable)
	w := r.write(0, 4096, 2)
	r.after(20 * time.Second)
	r.wantHeld(w)
	if n := r.ports[1].sets; n < 3 || n > 8 {
		t.Error(n, "requests in 20 s")
	}
	r.ports[1].refuse = nil
	r.after(time.Minute)
	r.want(w, OK)
	r.want(r.flush(), OK)
	r.wantStates("ghost active")
	r.check(0, 4096, 2)
	if n := r.d.Status(r.now).Counters.ExplicitSwitches; n != 1 {
		t.Error(n)
	}
}

// TestStandbyAtStart: the device comes up when its ports do, and says why it did not.
func TestStandbyAtStart(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1, state: scsi.Standby}, {group: 2, state: scsi.Standby}},
		func(c *Config) { c.Slots[1].Lost = &LostNexus{TPGT: 1} })
	for _, f := range r.ports {
		f.refuse = check(scsi.IllegalRequest, 0x20, 0)
	}
	r.after(time.Minute)
	if r.d.Ready() {
		t.Fatal("it is ready")
	}
	var why errAccess
	if err := r.d.Status(r.now).Paths[0].LastErr; !errors.As(err, &why) {
		t.Error(err)
	}
	r.access(1, optimized)
	r.after(accessPoll)
	if !r.d.Ready() {
		t.Fatal("it is not ready")
	}
	r.wantStates("active ghost")
	r.after(time.Minute)
	r.want(r.write(0, 4096, 1), OK)
	r.want(r.flush(), OK) // although what a former process left cannot be synced through port 2
}

// TestStandbyWithoutCopies: the SYNC of the group that took over stands for what the one
// in standby had taken.
func TestStandbyWithoutCopies(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 2, state: nonOptimized}},
		func(c *Config) { c.Retain = 0 })
	r.want(r.flush(), OK)
	r.want(r.write(0, 4096, 1), OK)
	r.access(1, scsi.Standby)
	before := r.path(1).count(scsi.OpSynchronizeCache16)
	r.want(r.flush(), OK)
	if r.path(1).count(scsi.OpSynchronizeCache16) == before {
		t.Error("no SYNC went to the path that took over")
	}
	r.lun.loseCache()
	r.check(0, 4096, 1)
}

// TestGhostDies: a ghost that dies is nobody's loss, and comes back as a ghost.
func TestGhostDies(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 2, state: scsi.Standby}})
	r.path(1).Kill(r.now, errCut)
	r.want(r.write(0, 4096, 1), OK)
	r.want(r.flush(), OK)
	r.after(2 * time.Minute)
	r.wantStates("active ghost")
	for _, c := range r.d.Status(r.now).Counters.Fences {
		if c.Count != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// TestStateNotTold: a target that refuses with states of which it otherwise knows nothing.
func TestStateNotTold(t *testing.T) {
	r := ready(t, 1)
	r.path(0).answer = times(3, scsi.OpWrite16, check(scsi.NotReady, 4, 0x0a))
	w := r.write(0, 4096, 1)
	r.after(10 * time.Second)
	r.want(w, OK)
}

// TestAccessPolls: a quiet device costs a question now and then, not more.
func TestAccessPolls(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 2}})
	before := r.ports[0].asked + r.ports[1].asked
	r.after(10 * time.Minute)
	if n := r.ports[0].asked + r.ports[1].asked - before; n < 60 || n > 124 {
		t.Error(n, "questions in ten minutes")
	}
}

// TestNoFailbackWithoutPaths: a failback that was due when the paths went is not waited for.
func TestNoFailbackWithoutPaths(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1, state: nonOptimized}, {group: 2, state: scsi.Standby}},
		func(c *Config) { c.Failback = time.Second })
	r.wantStates("active ghost")
	r.want(r.write(0, 4096, 1), OK)
	r.ports[1].state = optimized
	r.after(accessPoll)
	r.noPath()
	r.after(time.Minute)
	if next := r.d.Deadline(); next <= r.now {
		t.Errorf("the deadline is %v, now is %v", next, r.now)
	}
}

// TestLossHeardInStandby: while no path carries I/O, sessions in standby are the only ones that
// were there when the cache was lost. What they tell of is not what every new nexus finds, and
// none may be passed over.
func TestLossHeardInStandby(t *testing.T) {
	attention := check(scsi.UnitAttention, 0x29, 0)
	for name, hear := range map[string]func(r *rig){
		"when it is verified": func(r *rig) {
			r.path(1).answer = once(scsi.OpTestUnitReady, attention)
		},
		"of its own accord": func(r *rig) {
			r.path(1).heard = []scsi.Attention{scsi.CacheLoss}
		},
		"by a question that was out when it was verified": func(r *rig) {
			r.path(1).hold = holding(scsi.OpInquiry)
			r.after(2 * accessPoll)
			r.d.askAccess(r.d.slots[1])
			r.path(1).answer = once(scsi.OpMaintenanceIn, attention)
			r.run()
			r.path(1).hold = nil
		},
		"by another one than comes": func(r *rig) {
			r.path(1).kill(errCut)
			r.after(time.Minute)
			r.path(2).hold = nil
			r.path(2).answer = onceAny(attention)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := aluaRig(t, []fakePort{{group: 1}, {group: 2, state: scsi.Standby},
				{group: 3, state: scsi.Standby}}, func(c *Config) { c.Retain = 0 })
			r.wantStates("active ghost ghost")
			r.want(r.flush(), OK)
			r.want(r.write(0, 4096, 1), OK)
			r.refuse[0] = errCut
			r.path(0).kill(errCut)
			r.run()
			r.path(2).hold = func(*scsi.Command, scsi.CDB) bool { return true }
			r.ports[1].state = optimized
			r.lun.loseCache()
			hear(r)
			r.after(2 * accessPoll)
			r.comeBack()
			r.after(time.Minute)
			r.path(2).hold = nil
			r.want(r.flush(), EIO)
			r.want(r.flush(), OK)
		})
	}
}
