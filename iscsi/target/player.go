package target

import (
	"log/slog"
	"slices"
	"time"

	"braid/iscsi/pdu"
)

// player plays a script.
type player struct {
	start  time.Duration
	events []event // by time, relative to start
}

// Play starts a script, in place of one that is playing.
func (t *Target) Play(now time.Duration, s *Script) {
	t.script = player{start: now, events: slices.Clone(s.events)}
}

// PlayAlso starts a script beside what is playing.
func (t *Target) PlayAlso(now time.Duration, s *Script) {
	if len(t.script.events) == 0 {
		t.Play(now, s)
		return
	}
	for _, e := range s.events {
		e.at += now - t.script.start
		t.script.insert(e)
	}
}

func (p *player) deadline() time.Duration {
	if len(p.events) == 0 {
		return Never
	}
	return p.start + p.events[0].at
}

// run does what is due.
func (p *player) run(t *Target, now time.Duration) {
	for p.deadline() <= now {
		e := p.events[0]
		p.events = p.events[1:]
		t.apply(now, &e.fault)
		if e.lasts > 0 {
			end := event{at: e.at + e.lasts, fault: e.fault}
			end.fault.off = true
			p.insert(end)
		}
		if e.every > 0 {
			e.at += e.every
			p.insert(e)
		}
	}
}

func (p *player) insert(e event) {
	i, _ := slices.BinarySearchFunc(p.events, e, func(a, b event) int {
		if a.at <= b.at {
			return -1 // behind those of the same time
		}
		return 1
	})
	p.events = slices.Insert(p.events, i, e)
}

// apply does one fault.
func (t *Target) apply(now time.Duration, f *fault) {
	each := func(do func(portal int)) {
		for i := range t.portals {
			if f.portal < 0 || f.portal == i {
				do(i)
			}
		}
	}
	switch f.name {
	case "cut":
		each(func(i int) { t.Cut(now, i, !f.off) })
	case "blackhole":
		each(func(i int) { t.Blackhole(now, i, !f.off) })
	case "stall":
		each(func(i int) { t.Stall(i, !f.off) })
	case "delay":
		from, to := f.min, f.max
		if f.off {
			from, to = 0, 0
		}
		each(func(i int) { t.Delay(i, f.which, from, to) })
	case "execute-late":
		t.ExecuteLate(!f.off, f.min, f.max)
	case "no-abort":
		t.NoAbort(!f.off)
	case "full":
		t.RefuseLogins(f.count, f.resource)
	case "lose-cache":
		choose := t.ByChance
		if !f.some {
			choose = nil
		}
		t.LoseCache(choose)
	case "refuse":
		t.Refuse(f.refusal)
	case "lose", "damage":
		if f.off {
			t.undisturb(&f.disturb)
		} else {
			t.Disturb(f.disturb)
		}
	case "refuse-snacks":
		t.RefuseSNACKs(f.count)
	case "refuse-reassigns":
		t.RefuseReassigns(f.count)
	case "reset":
		t.ResetCID(now, uint16(f.count))
	case "async":
		each(func(i int) {
			switch f.event {
			case pdu.AsyncLogoutRequest:
				t.AskLogout(now, i, f.min)
			case pdu.AsyncDropConnection:
				t.DropConns(now, i)
			case pdu.AsyncDropSession:
				t.DropSessions(now, i)
			}
		})
	case "access":
		if err := t.SetAccess(f.group, f.access); err != nil {
			t.cfg.Log(slog.LevelWarn, "fault in vain", "error", err)
		}
	case "capacity":
		t.SetCapacity(f.lun, uint64(f.count))
	case "write-protect":
		t.SetReadOnly(f.lun, !f.off)
	case "restart":
		t.Restart(now, f.restart)
	}
}
