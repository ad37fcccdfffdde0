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
