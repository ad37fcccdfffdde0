package stack

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"braid/iscsi"
	"braid/mpath"
)

func TestLeaders(t *testing.T) {
	portals := []string{"a:1", "b:2", "c:3"}
	failed := func(address string) error {
		return fmt.Errorf("lost: %w", &iscsi.ConnError{Address: address, Err: errors.New("silent")})
	}
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"the first failed", failed("a:1"), []string{"b:2", "c:3", "a:1"}},
		{"another failed", failed("b:2"), []string{"a:1", "c:3", "b:2"}},
		{"the last failed", failed("c:3"), portals},
		{"one of a redirect failed", failed("d:4"), portals},
		{"no connection's fault", errors.New("logged out"), portals},
		{"it lives", nil, portals},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := leaders(portals, test.err); !slices.Equal(got, test.want) {
				t.Errorf("%q, not %q", got, test.want)
			}
		})
	}
	if portals[0] != "a:1" {
		t.Error("the configuration was changed")
	}
}

// No more is offered than the target of the slot bears.
func TestOfferedLevel(t *testing.T) {
	for vendor, want := range map[string]int{"LIO-ORG": 1, "braid": 2, "": 2} {
		r := newRig(t, shape{sessions: 1, connections: 1, level: 2,
			lost: &mpath.LostNexus{TPGT: 1, Vendor: vendor}})
		if got := r.stack.Session(0).Nexus().ErrorRecoveryLevel; got != want {
			t.Errorf("level %d with %q, not %d", got, vendor, want)
		}
	}
}
