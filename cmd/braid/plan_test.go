package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"braid/mpath"
)

// newTestPlan makes a plan of two URLs with its state in a folder of the test.
func newTestPlan(t *testing.T) *plan {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	c := Defaults()
	c.Name, c.InitiatorName = "disk", "iqn.2001-04.com.example:host"
	for _, text := range []string{
		"iscsi://10.0.0.1/iqn.2001-04.com.example:disk/1",
		"iscsi://10.0.1.1,10.0.1.2/iqn.2001-04.com.example:disk/1",
	} {
		u, err := ParseURL(text)
		if err != nil {
			t.Fatal(err)
		}
		c.URLs = append(c.URLs, u)
	}
	p, err := newPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func writeTestState(t *testing.T, p *plan, slots ...SlotState) {
	t.Helper()
	if err := writeState(p.stateFile, State{Version: stateVersion, Slots: slots}); err != nil {
		t.Fatal(err)
	}
}

func TestPlan(t *testing.T) {
	p := newTestPlan(t)
	if len(p.sessions) != 2 || len(p.device.Slots) != 2 {
		t.Fatalf("%d sessions, %d slots", len(p.sessions), len(p.device.Slots))
	}
	for i, s := range p.sessions {
		if s.ISID != ISID(p.initiator, "disk", i) {
			t.Errorf("session %d has ISID %x", i, s.ISID)
		}
		if len(s.Portals) != i+1 {
			t.Errorf("session %d: portals %v", i, s.Portals)
		}
		if s.Offer.InitiatorName != p.initiator || s.Offer.TargetName != p.config.URLs[i].Target {
			t.Errorf("session %d: names %q, %q", i, s.Offer.InitiatorName, s.Offer.TargetName)
		}
	}
	if p.device.NoPath != mpath.Forever {
		t.Errorf("queue became %v", p.device.NoPath)
	}
	if filepath.Base(p.stateFile) != "disk.json" {
		t.Errorf("state file %s", p.stateFile)
	}
}

// TestTakeOver wants a slot of the state file to be taken for what it is: the
// one that there still is, or one that only has to be fenced.
func TestTakeOver(t *testing.T) {
	p := newTestPlan(t)
	same := SlotState{
		Slot: 1, Initiator: p.initiator, ISID: "", Target: "iqn.2001-04.com.example:disk", LUN: 1,
		Portals: []string{"10.0.1.1:3260"}, TPGT: 7, Time2Wait: 2, Time2Retain: 20,
		Vendor: "LIO-ORG",
	}
	isid := p.sessions[1].ISID
	same.ISID = hexISID(isid)
	otherTarget := same
	otherTarget.Target = "iqn.2001-04.com.example:old"
	otherTarget.Portals = []string{"10.0.9.9:3260", "10.0.9.8:3260"}
	otherInitiator := same
	otherInitiator.Initiator = "iqn.2001-04.com.example:former"
	gone := same
	gone.ISID = "80ffffffff00"
	writeTestState(t, p, same, otherTarget, otherInitiator, gone)
	if err := p.takeOver(); err != nil {
		t.Fatal(err)
	}
	lost := &mpath.LostNexus{TPGT: 7, Time2Wait: 2 * time.Second, Time2Retain: 20 * time.Second,
		Vendor: "LIO-ORG"}
	if p.device.Slots[0].Lost != nil || !reflect.DeepEqual(p.device.Slots[1].Lost, lost) {
		t.Errorf("lost: %+v, %+v", p.device.Slots[0].Lost, p.device.Slots[1].Lost)
	}
	if len(p.device.Slots) != 5 || len(p.sessions) != 5 || len(p.urls) != 5 {
		t.Fatalf("%d slots, %d sessions, %d urls", len(p.device.Slots), len(p.sessions), len(p.urls))
	}
	for i, want := range []SlotState{otherTarget, otherInitiator, gone} {
		slot, s := p.device.Slots[2+i], p.sessions[2+i]
		lost.Several = len(want.Portals) > 1
		if !slot.FenceOnly || !reflect.DeepEqual(slot.Lost, lost) {
			t.Errorf("slot %d: %+v", 2+i, slot)
		}
		if hexISID(s.ISID) != want.ISID || s.Offer.InitiatorName != want.Initiator ||
			s.Offer.TargetName != want.Target || !reflect.DeepEqual(s.Portals, want.Portals) {
			t.Errorf("session %d: %x %+v", 2+i, s.ISID, s.Offer)
		}
	}
	// What is written of it is what was read.
	var slots []mpath.SlotState
	for i := range p.sessions {
		s := mpath.SlotState{Index: i, InUse: i > 0, Vendor: "LIO-ORG"}
		s.Nexus.TPGT, s.Nexus.Time2Wait, s.Nexus.Time2Retain = 7, 2*time.Second, 20*time.Second
		slots = append(slots, s)
	}
	again := p.state(slots, true)
	if len(again.Slots) != 4 || !again.Untold || again.Slots[1].Target != otherTarget.Target ||
		again.Slots[2].Initiator != otherInitiator.Initiator || again.Slots[3].ISID != gone.ISID ||
		again.Slots[0].Time2Retain != 20 || again.Slots[0].TPGT != 7 || again.Slots[0].Vendor != "LIO-ORG" {
		t.Errorf("written again: %+v", again)
	}
}

// A session that is left to be fenced logs in as the user of its target's URL.
func TestTakeOverUser(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("twelve bytes and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newTestPlan(t)
	p.config.CHAPSecretFile = secret
	for i := range p.config.URLs {
		p.config.URLs[i].User = "joe"
	}
	writeTestState(t, p, SlotState{Initiator: p.initiator, ISID: "80ffffffff00",
		Target: p.config.URLs[0].Target, Portals: []string{"10.0.0.1:3260"}})
	if err := p.takeOver(); err != nil {
		t.Fatal(err)
	}
	if auth := p.sessions[len(p.sessions)-1].Offer.Auth; auth.User != "joe" || len(auth.Secret) == 0 {
		t.Errorf("it logs in as %q", auth.User)
	}
}

// A loss that nobody was told of is for those who use the kernel's device, which outlives the
// process.
func TestTakeOverUntold(t *testing.T) {
	for _, c := range []struct {
		export Export
		want   bool
	}{{Export{"nbd", "auto"}, true}, {Export{"unix", "/run/x"}, false}} {
		p := newTestPlan(t)
		p.config.NBD = []Export{c.export}
		if err := writeState(p.stateFile, State{Version: stateVersion, Untold: true}); err != nil {
			t.Fatal(err)
		}
		if err := p.takeOver(); err != nil || p.device.Untold != c.want {
			t.Errorf("%s: %v, %v", c.export.Network, p.device.Untold, err)
		}
	}
}

func TestTakeOverErrors(t *testing.T) {
	p := newTestPlan(t)
	writeTestState(t, p, SlotState{ISID: "80ff", Target: "iqn.2001-04.com.example:disk"})
	if err := p.takeOver(); err == nil || !strings.Contains(err.Error(), `"80ff" is no ISID`) {
		t.Errorf("a short ISID: %v", err)
	}
	p = newTestPlan(t)
	var many []SlotState
	for i := range 100 {
		many = append(many, SlotState{Initiator: p.initiator, ISID: hexISID(ISID("x", "y", i)),
			Target: "iqn.2001-04.com.example:disk", Portals: []string{"h:3260"}})
	}
	writeTestState(t, p, many...)
	if err := p.takeOver(); err == nil || !strings.Contains(err.Error(), "sessions to fence") {
		t.Errorf("too many slots: %v", err)
	}
}
