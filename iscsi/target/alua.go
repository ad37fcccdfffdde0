package target

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"braid/iscsi/scsi"
)

// portGroup is a target portal group: one SCSI target port, and with Config.ALUA
// a target port group of its own, whose ID is the portal group tag.
type portGroup struct {
	tag   int
	port  uint16 // relative target port identifier
	state scsi.AccessState
}

func (t *Target) makeGroups() {
	for _, p := range t.cfg.Portals {
		if t.group(p.Group) == nil {
			t.groups = append(t.groups, portGroup{tag: p.Group})
		}
	}
	slices.SortFunc(t.groups, func(a, b portGroup) int { return cmp.Compare(a.tag, b.tag) })
	for i := range t.groups {
		t.groups[i].port = uint16(i + 1)
	}
}

// group finds the portal group of a tag, nil if there is none.
func (t *Target) group(tag int) *portGroup {
	for i := range t.groups {
		if t.groups[i].tag == tag {
			return &t.groups[i]
		}
	}
	return nil
}

// SetAccess changes the asymmetric access state of a portal group (SPC-4 section
// 5.11.2); with Config.ALUA only. Every nexus finds unit attention 2Ah/06h.
func (t *Target) SetAccess(tag int, state scsi.AccessState) error {
	g := t.group(tag)
	switch {
	case !t.cfg.ALUA:
		return fmt.Errorf("target: there is no asymmetric access")
	case g == nil:
		return fmt.Errorf("target: there is no portal group %d", tag)
	}
	g.state = state
	for _, n := range t.nexuses {
		n.attend(accessChanged)
	}
	return nil
}

// access is the sense with which a group that is not active refuses commands, and
// false if it takes them (SPC-4 section 5.11.2.4 and on).
func (t *Target) access(k *task) (scsi.Sense, bool) {
	if !t.cfg.ALUA {
		return scsi.Sense{}, false
	}
	sense := scsi.Sense{Key: scsi.NotReady, ASC: 0x04}
	switch t.group(k.conn.port().Group).state {
	case scsi.Standby:
		sense.ASCQ = 0x0b
	case scsi.Unavailable:
		sense.ASCQ = 0x0c
	case scsi.Transitioning:
		sense.ASCQ = 0x0a
	case scsi.Offline:
		sense.ASCQ = 0x12
	default:
		return scsi.Sense{}, false
	}
	switch k.cdb.Op {
	case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense, scsi.OpMaintenanceIn,
		scsi.OpMaintenanceOut, scsi.OpModeSense6, scsi.OpModeSense10:
		return scsi.Sense{}, false
	}
	return sense, true
}

// portGroups is the answer to REPORT TARGET PORT GROUPS.
func (t *Target) portGroups() scsi.PortGroups {
	g := scsi.PortGroups{TransitionTime: t.cfg.TransitionTime}
	for _, x := range t.groups {
		g.Groups = append(g.Groups, scsi.PortGroup{
			State: x.state, ID: uint16(x.tag), Status: 2, Ports: []uint16{x.port},
			Supported: scsi.SupportsActiveOptimized | scsi.SupportsActiveNonOptimized |
				scsi.SupportsStandby | scsi.SupportsUnavailable | scsi.SupportsTransitioning,
		})
	}
	return g
}

// setPortGroups does SET TARGET PORT GROUPS (SPC-4 section 6.45). Every other nexus finds
// unit attention 2Ah/06h.
func (t *Target) setPortGroups(now time.Duration, k *task) {
	refuse := func(sense scsi.Sense) { t.respond(now, k, scsi.CheckCondition, &sense) }
	if !t.cfg.ALUA || t.cfg.TPGS&scsi.TPGSExplicit == 0 {
		refuse(invalidOpcode)
		return
	}
	groups, err := scsi.ParseSetGroupParameters(k.out.data)
	if err != nil {
		refuse(parameterError)
		return
	}
	for _, g := range groups {
		if t.group(int(g.ID)) == nil || !g.State.Serves() && g.State != scsi.Standby &&
			g.State != scsi.Unavailable {
			refuse(invalidList)
			return
		}
	}
	for _, g := range groups {
		t.group(int(g.ID)).state = g.State
	}
	for _, n := range t.nexuses {
		if n != k.nexus {
			n.attend(accessChanged)
		}
	}
	t.respond(now, k, scsi.Good, nil)
}

// portDesignators name the target port through which VPD page 83h was asked.
func (t *Target) portDesignators(tag int) scsi.DeviceID {
	const iscsi = 5 // protocol identifier
	of := func(code scsi.CodeSet, kind scsi.DesignatorType, value []byte) scsi.Designator {
		return scsi.Designator{
			CodeSet: code, Association: scsi.OfTargetPort, Protocol: iscsi, ProtocolValid: true,
			Type: kind, Value: value,
		}
	}
	g := t.group(tag)
	name := fmt.Sprintf("%s,t,0x%04x", t.cfg.Name, tag)
	for len(name)%4 != 3 { // a NUL and then padding to a multiple of four
		name += "\x00"
	}
	list := scsi.DeviceID{
		of(scsi.Binary, scsi.RelativeTargetPortID, []byte{0, 0, byte(g.port >> 8), byte(g.port)}),
		of(scsi.UTF8, scsi.SCSINameString, []byte(name+"\x00")),
	}
	if t.cfg.ALUA {
		list = append(list,
			of(scsi.Binary, scsi.TargetPortGroupID, []byte{0, 0, byte(tag >> 8), byte(tag)}))
	}
	return list
}
