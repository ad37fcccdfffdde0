package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"braid/barrier"
	"braid/internal/stack"
	"braid/iscsi"
	"braid/mpath"
)

// strangerLimit is how often in a minute a session may be reinstated by somebody
// else before the daemon gives way: two that fight serve nobody.
const strangerLimit = 3

// A plan is what a device is run from: its configuration and all that was found
// out before the first packet.
type plan struct {
	config    Config
	initiator string
	stateFile string
	device    mpath.Config
	sessions  []iscsi.Config // of each slot of device
	urls      []string       // of each slot; those beyond config.URLs only fence
}

// newPlan reads secrets, the initiator's name and the state file.
func newPlan(c Config) (*plan, error) {
	folder, err := stateFolder()
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	p := &plan{config: c, stateFile: filepath.Join(folder, string(c.Name)+".json")}
	if p.initiator, err = initiatorName(c.InitiatorName, stateFolder); err != nil {
		return nil, fmt.Errorf("initiator name: %w", err)
	}
	p.device = deviceConfig(c)
	p.device.Keys = reserveKeys(p.initiator, string(c.Name), uint16(rand.Uint32()))
	for slot, u := range c.URLs {
		offer, err := c.newOffer(p.initiator, u)
		if err != nil {
			return nil, err
		}
		s := c.sessionConfig(offer, u)
		s.ISID = ISID(p.initiator, string(c.Name), slot)
		p.add(u.String(), s, mpath.SlotConfig{Name: u.String(), Target: u.Target})
	}
	return p, nil
}

func (p *plan) add(url string, s iscsi.Config, slot mpath.SlotConfig) {
	p.urls = append(p.urls, url)
	p.sessions = append(p.sessions, s)
	p.device.Slots = append(p.device.Slots, slot)
}

// takeOver reads what a former process left. It is called under the device's
// lock, so that nobody writes the file meanwhile.
func (p *plan) takeOver() error {
	left, err := ReadState(p.stateFile)
	if err != nil {
		return err
	}
	for _, s := range left.Slots {
		if err := p.takeOverSlot(s); err != nil {
			return fmt.Errorf("state file %s: %w", p.stateFile, err)
		}
	}
	p.device.Untold = left.Untold && p.config.kernelDevice() // others have seen their socket end
	return nil
}

// takeOverSlot makes a lost nexus of a slot of the state file: of a slot that
// there still is, or of one more that only fences.
func (p *plan) takeOverSlot(s SlotState) error {
	lost := &mpath.LostNexus{
		TPGT:        s.TPGT,
		Time2Wait:   time.Duration(s.Time2Wait) * time.Second,
		Time2Retain: time.Duration(s.Time2Retain) * time.Second,
		Several:     len(s.Portals) > 1,
		Vendor:      s.Vendor,
		Key:         uint64(s.Key),
	}
	var isid [6]byte
	if n, err := hex.Decode(isid[:], []byte(s.ISID)); err != nil || n != len(isid) {
		return fmt.Errorf("%q is no ISID", s.ISID)
	}
	for i, u := range p.config.URLs {
		if p.sessions[i].ISID == isid && u.Target == s.Target && u.LUN == s.LUN &&
			s.Initiator == p.initiator {
			p.device.Slots[i].Lost = lost
			return nil
		}
	}
	if len(p.sessions) == barrier.MaxSlots {
		return fmt.Errorf("more than %d sessions to fence", barrier.MaxSlots)
	}
	u := URL{Portals: s.Portals, Target: s.Target, LUN: s.LUN}
	for _, other := range p.config.URLs {
		if other.Target == u.Target {
			u.User = other.User
		}
	}
	offer, err := p.config.newOffer(s.Initiator, u)
	if err != nil {
		return err
	}
	cfg := p.config.sessionConfig(offer, u)
	cfg.ISID = isid
	p.add(u.String(), cfg, mpath.SlotConfig{Name: u.String(), Target: u.Target, Lost: lost,
		FenceOnly: true})
	return nil
}

// state is what is written down of a device: its slots in use.
func (p *plan) state(slots []mpath.SlotState, untold bool) State {
	s := State{Slots: []SlotState{}, Untold: untold}
	for _, slot := range slots {
		if !slot.InUse {
			continue
		}
		cfg := &p.sessions[slot.Index]
		number, _ := cfg.LUN.Number()
		s.Slots = append(s.Slots, SlotState{
			Slot:        slot.Index,
			Initiator:   cfg.Offer.InitiatorName,
			ISID:        hexISID(cfg.ISID),
			Target:      cfg.Offer.TargetName,
			LUN:         uint16(number),
			Portals:     cfg.Portals,
			TPGT:        slot.Nexus.TPGT,
			Time2Wait:   int(slot.Nexus.Time2Wait / time.Second),
			Time2Retain: int(slot.Nexus.Time2Retain / time.Second),
			Vendor:      slot.Vendor,
			Key:         hexKey(slot.Key),
		})
	}
	return s
}

func deviceConfig(c Config) mpath.Config {
	d := mpath.Config{
		NoPath:   c.NoPath.wait(),
		Failback: c.Failback.delay(),
		Retain:   uint64(c.Retain),
		Shared:   c.Shared,
		TrustWCE: c.TrustWCE,
		Coherent: c.Coherent,
		ReadOnly: c.ReadOnly,

		FlapThreshold: c.SanPathErrThreshold,
		FlapWindow:    time.Duration(c.SanPathErrForgetRate),
		FlapPause:     time.Duration(c.SanPathErrRecoveryTime),

		StrangerLimit: strangerLimit,
		FenceSettle:   time.Duration(c.FenceSettle),
		FenceMargin:   time.Duration(c.FenceMargin),
		Selector: map[PathSelector]mpath.Selector{
			"service-time": mpath.ServiceTime, "queue-length": mpath.QueueLength,
			"round-robin": mpath.RoundRobin}[c.PathSelector],
		Barrier: map[Barrier]barrier.Mode{
			"drain": barrier.Drain, "hold": barrier.Hold, "epoch": barrier.Epoch}[c.Barrier],
		Fence: map[Fence]mpath.FenceMode{
			"auto": mpath.FenceAuto, "reinstate": mpath.FenceReinstate,
			"reserve": mpath.FenceReserve, "reset": mpath.FenceReset,
			"wait": mpath.FenceWait, "none": mpath.FenceNone}[c.Fence],
	}
	return d
}

// stackConfig is the configuration of the engines, without what belongs to the
// loop.
func (p *plan) stackConfig() stack.Config {
	device := p.device
	device.Slots = slices.Clone(device.Slots) // paths may be added to each
	return stack.Config{
		Device:      device,
		Sessions:    slices.Clone(p.sessions),
		Record:      true,
		Export:      string(p.config.Name),
		Description: p.config.URLs[0].Target,
		MaxInFlight: maxInFlight,
		MaxClients:  maxClients,
	}
}
