package target

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// A reserver is an initiator that speaks of reservations in one line.
type reserver struct{ *peer }

func (p reserver) out(action uint8, kind scsi.ReserveType, key, service uint64) string {
	p.b.Helper()
	list := scsi.ReserveParameters{Key: key, ServiceKey: service}.Append(nil)
	return short(p.result(scsi.PersistentReserveOut(action, kind), list, 0))
}

func short(r result) string {
	switch r.status {
	case scsi.Good:
		return "good"
	case scsi.ReservationConflict:
		return "conflict"
	case scsi.CheckCondition:
		return fmt.Sprintf("%X/%02X/%02X", uint8(r.sense.Key), r.sense.ASC, r.sense.ASCQ)
	}
	return r.status.String()
}

func (p reserver) keys() []uint64 {
	p.b.Helper()
	r := p.result(scsi.PersistentReserveIn(scsi.ReserveReadKeys, 4096), nil, 4096)
	keys, whole, err := scsi.ParseReserveKeys(nil, r.data)
	if err != nil || !whole {
		p.b.Fatal(err, whole)
	}
	return keys
}

func (p reserver) held() string {
	p.b.Helper()
	r := p.result(scsi.PersistentReserveIn(scsi.ReserveReadReservation, 64), nil, 64)
	x, err := scsi.ParseReservation(r.data)
	switch {
	case err != nil:
		p.b.Fatal(err)
	case !x.Held:
		return "none"
	}
	return fmt.Sprintf("%d by %d", x.Type, x.Key)
}

func (p reserver) write() string {
	p.b.Helper()
	return short(p.result(scsi.Write16(0, 1, false), make([]byte, 512), 0))
}

func (p reserver) read() string {
	p.b.Helper()
	return short(p.result(scsi.Read16(0, 1, false), nil, 512))
}

func (p reserver) ready() string {
	p.b.Helper()
	return short(p.result(scsi.TestUnitReady(), nil, 0))
}

// TestReservations goes through the life of reservations; each line is what an initiator does
// and what it hears. a and b are registered with keys 1 and 2 at first, c is not.
func TestReservations(t *testing.T) {
	const (
		register, ignore = scsi.ReserveRegister, scsi.ReserveRegisterAndIgnore
		reserve, release = scsi.ReserveReserve, scsi.ReserveRelease
		clr, preempt     = scsi.ReserveClear, scsi.ReservePreempt
		we, ea           = scsi.WriteExclusive, scsi.ExclusiveAccess
		wero, eaar       = scsi.WriteExclusiveRegistrantsOnly, scsi.ExclusiveAccessAllRegistrants
	)
	type step struct {
		who     byte
		do      string // else a PERSISTENT RESERVE OUT
		action  uint8
		kind    scsi.ReserveType
		key, sa uint64
		want    string
	}
	out := func(who byte, action uint8, kind scsi.ReserveType, key, sa uint64, want string) step {
		return step{who, "", action, kind, key, sa, want}
	}
	see := func(who byte, do, want string) step { return step{who: who, do: do, want: want} }
	for name, steps := range map[string][]step{
		"registering": {
			out('a', register, 0, 0, 9, "conflict"), // it has a key
			out('a', register, 0, 1, 9, "good"),
			out('c', register, 0, 7, 3, "conflict"), // it has none
			out('c', register, 0, 0, 3, "good"),
			out('c', ignore, 0, 77, 4, "good"),
			see('a', "keys", "[9 2 4]"),
			out('b', register, 0, 2, 0, "good"),
			out('b', register, 0, 0, 0, "good"), // none to none
			see('b', "keys", "[9 4]"),
			see('b', "ready", "good"),
		},
		"who is not registered, or names another key": {
			out('c', reserve, we, 0, 0, "conflict"), out('a', reserve, we, 2, 0, "conflict"),
			out('c', clr, 0, 0, 0, "conflict"), out('a', preempt, we, 2, 1, "conflict"),
			out('a', preempt, we, 1, 99, "conflict"), // nobody has that
			out('a', preempt, we, 1, 0, "5/26/00"),
			out('a', reserve, 2, 1, 0, "5/24/00"), out('a', 9, we, 1, 0, "5/24/00"),
		},
		"write exclusive": {
			out('a', reserve, we, 1, 0, "good"), out('a', reserve, we, 1, 0, "good"),
			out('a', reserve, ea, 1, 0, "conflict"), out('b', reserve, we, 2, 0, "conflict"),
			see('c', "held", "1 by 1"),
			see('a', "write", "good"), see('b', "write", "conflict"), see('c', "write", "conflict"),
			see('b', "read", "good"), see('c', "read", "good"), see('c', "ready", "good"),
			out('b', release, we, 2, 0, "good"), // not the holder: nothing
			out('a', release, ea, 1, 0, "5/26/04"), out('a', release, we, 1, 0, "good"),
			see('c', "held", "none"), see('b', "ready", "good"), see('c', "write", "good"),
		},
		"exclusive access": {
			out('b', reserve, ea, 2, 0, "good"),
			see('a', "read", "conflict"), see('a', "write", "conflict"), see('b', "read", "good"),
			out('b', register, 0, 2, 0, "good"), // that ends it
			see('a', "held", "none"), see('a', "read", "good"),
		},
		"write exclusive, registrants only": {
			out('a', reserve, wero, 1, 0, "good"),
			see('b', "write", "good"), see('c', "write", "conflict"), see('c', "read", "good"),
			out('a', release, wero, 1, 0, "good"), see('b', "ready", "6/2A/04"), see('b', "ready", "good"),
		},
		"exclusive access, all registrants": {
			out('a', reserve, eaar, 1, 0, "good"), see('c', "held", "8 by 0"),
			see('b', "read", "good"), see('c', "read", "conflict"),
			out('a', register, 0, 1, 0, "good"), see('c', "held", "8 by 0"),
			out('b', register, 0, 2, 0, "good"), see('c', "held", "none"),
		},
		"clear": {
			out('a', reserve, we, 1, 0, "good"), out('b', clr, 0, 2, 0, "good"),
			see('b', "ready", "good"), see('a', "ready", "6/2A/03"),
			see('a', "keys", "[]"), see('a', "held", "none"),
		},
		"preempt a registration": {
			out('a', preempt, we, 1, 2, "good"), see('b', "ready", "6/2A/05"),
			see('a', "keys", "[1]"), see('a', "held", "none"),
		},
		"preempt the holder": {
			out('b', reserve, wero, 2, 0, "good"), out('a', preempt, ea, 1, 2, "good"),
			see('c', "held", "3 by 1"), see('a', "keys", "[1]"),
			see('b', "read", "conflict"), // before its unit attention
			out('a', release, ea, 1, 0, "good"), see('b', "ready", "6/2A/05"),
		},
		"preempt oneself": {
			out('a', reserve, we, 1, 0, "good"), out('a', preempt, wero, 1, 1, "good"),
			see('a', "held", "5 by 1"), see('a', "keys", "[1 2]"), see('b', "ready", "6/2A/04"),
		},
		"preempt all": {
			out('b', reserve, eaar, 2, 0, "good"), out('a', preempt, we, 1, 0, "good"),
			see('a', "keys", "[1]"), see('a', "held", "1 by 1"), see('b', "ready", "6/2A/05"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			who := map[byte]reserver{}
			for i, c := range []byte("abc") {
				who[c] = reserver{b.session(string(c), i, 1)}
			}
			who['a'].out(register, 0, 0, 1)
			who['b'].out(register, 0, 0, 2)
			for i, s := range steps {
				p, got := who[s.who], ""
				switch s.do {
				case "":
					got = p.out(s.action, s.kind, s.key, s.sa)
				case "keys":
					got = fmt.Sprint(p.keys())
				case "held":
					got = p.held()
				case "read":
					got = p.read()
				case "write":
					got = p.write()
				case "ready":
					got = p.ready()
				}
				if got != s.want {
					t.Fatalf("step %d, %+v: %s", i, s, got)
				}
			}
		})
	}
}

// TestReservationsOutliveSessions, of nexuses: the same initiator port at another portal group
// is another nexus. A restart of the target ends them.
func TestReservationsOutliveSessions(t *testing.T) {
	b := newBench(t, Config{MaxConns: 2 * maxRegistrants})
	p := reserver{b.session("a", 0, 1)}
	p.out(scsi.ReserveRegister, 0, 0, 1)
	other := reserver{b.session("a", 2, 1)}
	if got := other.out(scsi.ReserveRegister, 0, 1, 2); got != "conflict" {
		t.Errorf("the other portal group's nexus has the key: %s", got)
	}
	p = reserver{b.session("a", 1, 1)} // reinstated, through another portal
	if got := p.out(scsi.ReserveReserve, scsi.ExclusiveAccess, 1, 0); got != "good" {
		t.Errorf("not registered any more: %s", got)
	}
	b.t.Restart(b.now, Restart{})
	p = reserver{b.session("a", 0, 1)}
	if keys, held := p.keys(), p.held(); len(keys) > 0 || held != "none" {
		t.Errorf("after a restart %v, %s", keys, held)
	}
	r := p.result(scsi.PersistentReserveIn(scsi.ReserveReportCapabilities, 64), nil, 64)
	if !slices.Equal(r.data, scsi.ReserveCapabilities(nil)) {
		t.Errorf("capabilities % x", r.data)
	}
	list := scsi.ReserveParameters{ServiceKey: 5, ThroughPowOff: true}.Append(nil)
	if got := short(p.result(scsi.PersistentReserveOut(0, 0), list, 0)); got != "5/26/00" {
		t.Errorf("APTPL, which is not there: %s", got)
	}
	for i := range maxRegistrants {
		p := reserver{b.session(fmt.Sprint("r", i), 0, 1)}
		if got := p.out(scsi.ReserveRegister, 0, 0, 5); got != "good" {
			t.Fatalf("registration %d: %s", i, got)
		}
	}
	if got := p.out(scsi.ReserveRegister, 0, 0, 5); got != "5/55/04" {
		t.Errorf("one too many: %s", got)
	}
	if n := len(p.keys()); n != maxRegistrants {
		t.Errorf("%d keys", n)
	}
}

// TestPreemptAndAbort: the commands of the nexus that was preempted are over when the answer
// comes, those of a dead session too; others go on.
func TestPreemptAndAbort(t *testing.T) {
	b := newBench(t, Config{})
	a, v := reserver{b.session("a", 1, 1)}, b.session("v", 0, 1)
	a.out(scsi.ReserveRegister, 0, 0, 1)
	reserver{v}.out(scsi.ReserveRegister, 0, 0, 2)
	b.t.ExecuteLate(true, 5*time.Second, 5*time.Second)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(v, 7)
	if got := a.out(scsi.ReservePreemptAndAbort, 5, 1, 2); got != "good" {
		t.Fatal(got)
	}
	list := v.flush()
	for _, r := range results(t, list) {
		if r.status != scsi.TaskAborted {
			t.Errorf("the preempted write ended with %v", r)
		}
	}
	if !strings.Contains(describe(list), "SCSI Response") || len(list) != 1 {
		t.Errorf("the preempted nexus heard %s", describe(list))
	}
	// A ghost: the session is lost, its write is still to come.
	b.t.Delay(0, AnyCommand, 0, 0)
	reserver{v}.ready() // 2Ah/05
	reserver{v}.out(scsi.ReserveRegister, 0, 0, 3)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(v, 8)
	b.t.Cut(b.now, 0, true)
	v.flush()
	if b.t.Ghosts() != 1 {
		t.Fatal("no ghost")
	}
	if got := a.out(scsi.ReservePreempt, 5, 1, 3); got != "good" || b.t.Ghosts() != 1 {
		t.Errorf("PREEMPT: %s, %d ghosts", got, b.t.Ghosts())
	}
	b.t.Cut(b.now, 0, false)
	v = b.session("v", 1, 9) // another nexus of the same initiator
	reserver{v}.out(scsi.ReserveRegister, 0, 0, 4)
	if got := a.out(scsi.ReservePreemptAndAbort, 5, 1, 4); got != "good" || b.t.Ghosts() != 1 {
		t.Errorf("of another nexus: %s, %d ghosts", got, b.t.Ghosts())
	}
	b.advance(10 * time.Second)
	if block0(b) != 8 {
		t.Error("a ghost that nobody aborted did not land")
	}
}

// TestPreemptAndAbortLaysGhosts of the nexus that it names.
func TestPreemptAndAbortLaysGhosts(t *testing.T) {
	b := newBench(t, Config{})
	a, v := reserver{b.session("a", 1, 1)}, b.session("v", 0, 1)
	a.out(scsi.ReserveRegister, 0, 0, 1)
	reserver{v}.out(scsi.ReserveRegister, 0, 0, 2)
	b.t.ExecuteLate(true, 5*time.Second, 5*time.Second)
	b.t.Delay(0, AnyCommand, time.Second, time.Second)
	slowWrite(v, 7)
	b.t.Cut(b.now, 0, true)
	v.flush()
	if got := a.out(scsi.ReservePreemptAndAbort, 5, 1, 2); got != "good" || b.t.Ghosts() != 0 {
		t.Errorf("%s, %d ghosts", got, b.t.Ghosts())
	}
	b.advance(10 * time.Second)
	if block0(b) != 0 {
		t.Error("the ghost landed")
	}
}

// TestPreemptAndAbortWaitsForTheStore, also for what a session left there when it died.
func TestPreemptAndAbortWaitsForTheStore(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprint("session dies: ", dies), func(t *testing.T) {
			b, store := slowBench(t)
			a, v := reserver{b.session("a", 1, 1)}, b.session("v", 0, 1)
			a.out(scsi.ReserveRegister, 0, 0, 1)
			reserver{v}.out(scsi.ReserveRegister, 0, 0, 2)
			slowWrite(v, 7)
			if dies {
				b.t.Cut(b.now, 0, true)
				v.flush()
			}
			list := scsi.ReserveParameters{Key: 1, ServiceKey: 2}.Append(nil)
			c := a.command(scsi.PersistentReserveOut(scsi.ReservePreemptAndAbort, 5), list, 0)
			if got := a.ask(c, list); len(got) > 0 {
				t.Fatalf("answered before the store was done: %s", describe(got))
			}
			store.release(b.now)
			if r := results(t, a.flush())[c.ITT]; r.status != scsi.Good {
				t.Errorf("%v", r)
			}
		})
	}
}
