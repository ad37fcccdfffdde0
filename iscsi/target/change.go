package target

// What may become of a logical unit while sessions live.

// An Attention is a unit attention: its additional sense code and qualifier.
type Attention struct{ Code, Qualifier uint8 }

// Attend gives a unit attention to nexuses, those for which choose says so, or to all of
// them if it is nil. Nothing else happens: what the attention tells of is the caller's.
func (t *Target) Attend(a Attention, choose func() bool) {
	for _, n := range t.nexuses {
		if choose == nil || choose() {
			n.attend(asc{a.Code, a.Qualifier})
		}
	}
}

// welcome gives a nexus what Config.Welcome says.
func (t *Target) welcome(n *nexus) {
	if t.cfg.Welcome == nil {
		return
	}
	if a := t.cfg.Welcome(); a != (Attention{}) {
		n.attend(asc{a.Code, a.Qualifier})
	}
}

// SetWriteCache turns the volatile cache of a unit on or off (WCE); what is in it is made
// stable first. Every nexus finds unit attention 2Ah/01h.
func (t *Target) SetWriteCache(number uint16, on bool) {
	u := t.numbered(number)
	if u == nil || u.WriteCache == on {
		return
	}
	if f, ok := u.Store.(Forgetful); ok && !on {
		f.Lose(func(_ uint64, versions int) int { return versions })
	}
	u.WriteCache = on
	t.Attend(modeChanged, nil)
}

// SetReadOnly protects a unit from writes, or lets them pass again. Every nexus finds unit
// attention 2Ah/01h, because the mode parameter header tells of it.
func (t *Target) SetReadOnly(number uint16, on bool) {
	if u := t.numbered(number); u != nil && u.ReadOnly != on {
		u.ReadOnly = on
		t.Attend(modeChanged, nil)
	}
}

// SetCapacity changes the capacity of a unit, which is at most what its store has room for.
// Every nexus finds unit attention 2Ah/09h.
func (t *Target) SetCapacity(number uint16, blocks uint64) {
	u := t.numbered(number)
	if u == nil || blocks == 0 || blocks > u.Store.Size()>>u.shift || blocks == u.blocks {
		return
	}
	u.blocks = blocks
	t.Attend(capacityChanged, nil)
}

// LostElsewhere says that a cache that this target shares with another one was lost there:
// every nexus finds unit attention 29h/01h.
func (t *Target) LostElsewhere() {
	for _, n := range t.nexuses {
		n.attend(powerOnOccurred)
	}
}

var (
	modeChanged     = Attention{0x2a, 0x01}
	capacityChanged = Attention{0x2a, 0x09}
)

func (t *Target) numbered(number uint16) *unit {
	for _, u := range t.units {
		if u.Number == number {
			return u
		}
	}
	return nil
}
