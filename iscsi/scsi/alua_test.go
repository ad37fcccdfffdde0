package scsi

import "testing"

func TestPortGroups(t *testing.T) {
	g, need, err := ParsePortGroups(unhex(t, lioGroups))
	noError(t, err)
	equal(t, need, uint64(28))
	all := SupportsActiveOptimized | SupportsActiveNonOptimized | SupportsStandby |
		SupportsUnavailable | SupportsOffline | SupportsTransitioning
	equal(t, g, PortGroups{Groups: []PortGroup{
		{Pref: true, State: ActiveOptimized, Supported: all, ID: 16, Status: 2, Ports: []uint16{2}},
		{State: ActiveNonOptimized, Supported: all, ID: 17, Ports: []uint16{3}},
	}})
	equalBytes(t, g.Append(nil, false), unhex(t, lioGroups))
	one, ok := g.Find(17)
	equal(t, ok, true)
	equal(t, one.State.String(), "active/non-optimized")
	_, ok = g.Find(1)
	equal(t, ok, false)

	g, _, err = ParsePortGroups(unhex(t, lioGroupsExtended))
	noError(t, err)
	equal(t, g.TransitionTime, uint8(5))
	equal(t, len(g.Groups), 1)
	equal(t, g.Groups[0].State, Standby)
	equalBytes(t, g.Append(nil, true), unhex(t, lioGroupsExtended))
}

func TestPortGroupsShort(t *testing.T) {
	b := unhex(t, lioGroups)
	for n := range b {
		g, need, err := ParsePortGroups(b[:n])
		if n < 4 {
			wantFormatError(t, err)
			continue
		}
		noError(t, err)
		equal(t, need, uint64(28))
		equal(t, len(g.Groups), (n-4)/12)
	}
	// A group that claims more ports than there are bytes is left out.
	g, _, err := ParsePortGroups(unhex(t, "ffffffff 00000000 000000ff 00000001"))
	noError(t, err)
	equal(t, len(g.Groups), 0)
	equal(t, AccessState(0x7).String(), "access state 7h")
}

func TestSetGroupParameters(t *testing.T) {
	b := SetGroupParameters(nil, SetGroup{ID: 0x102, State: Standby}, SetGroup{ID: 3})
	equalBytes(t, b, unhex(t, "00000000 02000102 00000003"))
	g, err := ParseSetGroupParameters(b)
	noError(t, err)
	equal(t, g, []SetGroup{{0x102, Standby}, {3, ActiveOptimized}})
	for n := range b {
		_, err := ParseSetGroupParameters(b[:n])
		if whole := n >= 4 && n%4 == 0; whole != (err == nil) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	cdb := SetTargetPortGroups(12)
	equalBytes(t, cdb[:12], unhex(t, "a40a0000 00000000 000c0000"))
	c, err := ParseCDB(cdb)
	noError(t, err)
	equal(t, c.Direction(), Write)
	cdb = ReportTargetPortGroupsExtended(64)
	equalBytes(t, cdb[:12], unhex(t, "a32a0000 00000000 00400000"))
}

func TestInAccessState(t *testing.T) {
	for ascq, want := range map[uint8]AccessState{
		0x0a: Transitioning, 0x0b: Standby, 0x0c: Unavailable, 0x12: Offline,
	} {
		s, ok := Sense{Key: NotReady, ASC: 4, ASCQ: ascq}.InAccessState()
		equal(t, ok, true)
		equal(t, s, want)
		equal(t, s.Serves(), false)
	}
	for _, s := range []Sense{{Key: NotReady, ASC: 4, ASCQ: 1}, {Key: UnitAttention, ASC: 4, ASCQ: 0x0b}} {
		_, ok := s.InAccessState()
		equal(t, ok, false)
	}
}
