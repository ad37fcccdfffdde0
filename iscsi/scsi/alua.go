package scsi

import "fmt"

// AccessState is the asymmetric access state of a target port group (SPC-4
// section 6.37, table "ASYMMETRIC ACCESS STATE field").
type AccessState uint8

// Asymmetric access states.
const (
	ActiveOptimized    AccessState = 0x0
	ActiveNonOptimized AccessState = 0x1
	Standby            AccessState = 0x2
	Unavailable        AccessState = 0x3
	LBADependent       AccessState = 0x4
	Offline            AccessState = 0xe
	Transitioning      AccessState = 0xf
)

func (s AccessState) String() string {
	switch s {
	case ActiveOptimized:
		return "active/optimized"
	case ActiveNonOptimized:
		return "active/non-optimized"
	case Standby:
		return "standby"
	case Unavailable:
		return "unavailable"
	case LBADependent:
		return "lba-dependent"
	case Offline:
		return "offline"
	case Transitioning:
		return "transitioning"
	}
	return fmt.Sprintf("access state %Xh", uint8(s))
}

// PortGroup is one target port group.
type PortGroup struct {
	Pref      bool // the group that the target would like to be used
	State     AccessState
	Supported uint8 // supported states, the bits of SPC-4's byte 1
	ID        uint16
	Status    uint8    // STATUS CODE: 1 changed on request, 2 by the target itself
	Ports     []uint16 // relative target port identifiers
}

// Bits of PortGroup's Supported.
const (
	SupportsActiveOptimized    uint8 = 0x01
	SupportsActiveNonOptimized uint8 = 0x02
	SupportsStandby            uint8 = 0x04
	SupportsUnavailable        uint8 = 0x08
	SupportsLBADependent       uint8 = 0x10
	SupportsOffline            uint8 = 0x40
	SupportsTransitioning      uint8 = 0x80
)

// PortGroups is the answer to REPORT TARGET PORT GROUPS (SPC-4 section 6.37).
type PortGroups struct {
	Groups []PortGroup

	// TransitionTime is how many seconds an implicit transition may take, by
	// an extended header; 0 if not said.
	TransitionTime uint8
}

const (
	rtpgHeader     = 4
	rtpgExtended   = 8
	rtpgGroup      = 8
	rtpgPort       = 4
	rtpgFormatMask = 0x70
	rtpgFormatLong = 0x10

	rtpgFormatExtended = 0x20 // PARAMETER DATA FORMAT 001b in the CDB
	stpgHeader         = 4
	stpgGroup          = 4
)

// ParsePortGroups reads the answer, with or without extended header. If the
// allocation length cut it, need tells the bytes that the whole has, and the
// last group may be missing; else need is at most len(b).
func ParsePortGroups(b []byte) (g PortGroups, need uint64, err error) {
	if len(b) < rtpgHeader {
		return g, 0, tooShort("REPORT TARGET PORT GROUPS data", len(b), rtpgHeader)
	}
	need = rtpgHeader + uint64(be.Uint32(b))
	if need < uint64(len(b)) {
		b = b[:need]
	}
	switch {
	case len(b) >= rtpgExtended && b[4]&rtpgFormatMask == rtpgFormatLong:
		g.TransitionTime = b[5]
		b = b[rtpgExtended:]
	default:
		b = b[rtpgHeader:]
	}
	for len(b) >= rtpgGroup {
		n := rtpgGroup + rtpgPort*int(b[7])
		if n > len(b) {
			break
		}
		group := PortGroup{
			Pref:      b[0]&0x80 != 0,
			State:     AccessState(b[0] & 0x0f),
			Supported: b[1],
			ID:        be.Uint16(b[2:]),
			Status:    b[5],
		}
		for p := b[rtpgGroup:n]; len(p) > 0; p = p[rtpgPort:] {
			group.Ports = append(group.Ports, be.Uint16(p[2:]))
		}
		g.Groups = append(g.Groups, group)
		b = b[n:]
	}
	return g, need, nil
}

// Append appends the answer, with extended header if asked.
func (g PortGroups) Append(dst []byte, extended bool) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if extended {
		dst = append(dst, rtpgFormatLong, g.TransitionTime, 0, 0)
	}
	for i := range g.Groups {
		x := &g.Groups[i]
		if len(x.Ports) > 0xff {
			panic("scsi: too many ports in a target port group")
		}
		state := uint8(x.State & 0x0f)
		setBit(&state, 0x80, x.Pref)
		dst = append(dst, state, x.Supported)
		dst = be.AppendUint16(dst, x.ID)
		dst = append(dst, 0, x.Status, 0, uint8(len(x.Ports)))
		for _, p := range x.Ports {
			dst = append(dst, 0, 0)
			dst = be.AppendUint16(dst, p)
		}
	}
	be.PutUint32(dst[start:], uint32(len(dst)-start-rtpgHeader))
	return dst
}

// Find gives the group of an ID, as TargetPortGroup tells it.
func (g PortGroups) Find(id uint16) (PortGroup, bool) {
	for i := range g.Groups {
		if g.Groups[i].ID == id {
			return g.Groups[i], true
		}
	}
	return PortGroup{}, false
}

// Serves reports whether a port in that state takes reads and writes.
func (s AccessState) Serves() bool {
	return s == ActiveOptimized || s == ActiveNonOptimized || s == LBADependent
}

// A SetGroup asks for a state of one target port group.
type SetGroup struct {
	ID    uint16
	State AccessState
}

// SetGroupParameters appends the parameter list of SET TARGET PORT GROUPS (SPC-4
// section 6.45).
func SetGroupParameters(dst []byte, groups ...SetGroup) []byte {
	dst = append(dst, 0, 0, 0, 0)
	for _, g := range groups {
		dst = append(dst, uint8(g.State)&0x0f, 0)
		dst = be.AppendUint16(dst, g.ID)
	}
	return dst
}

// ParseSetGroupParameters reads that list.
func ParseSetGroupParameters(b []byte) ([]SetGroup, error) {
	if len(b) < stpgHeader || (len(b)-stpgHeader)%stpgGroup != 0 {
		return nil, tooShort("SET TARGET PORT GROUPS data", len(b), stpgHeader+stpgGroup)
	}
	var groups []SetGroup
	for b = b[stpgHeader:]; len(b) > 0; b = b[stpgGroup:] {
		groups = append(groups, SetGroup{be.Uint16(b[2:]), AccessState(b[0] & 0x0f)})
	}
	return groups, nil
}

// InAccessState tells the access state of the port for which a command was refused (SPC-4
// section 5.16.2): of asymmetric access, not of what passes by itself.
func (s Sense) InAccessState() (AccessState, bool) {
	if s.Key != NotReady || s.ASC != 0x04 {
		return 0, false
	}
	switch s.ASCQ {
	case 0x0a:
		return Transitioning, true
	case 0x0b:
		return Standby, true
	case 0x0c:
		return Unavailable, true
	case 0x12:
		return Offline, true
	}
	return 0, false
}
