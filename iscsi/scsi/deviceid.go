package scsi

// Association says what a designator names (SPC-4 section 7.8.6.1).
type Association uint8

// Associations.
const (
	OfLogicalUnit Association = 0
	OfTargetPort  Association = 1
	OfTarget      Association = 2
)

// CodeSet says how a designator is written.
type CodeSet uint8

// Code sets.
const (
	Binary CodeSet = 1
	ASCII  CodeSet = 2
	UTF8   CodeSet = 3
)

// DesignatorType is the kind of a designator (SPC-4 section 7.8.6.1, table
// "DESIGNATOR TYPE field").
type DesignatorType uint8

// Designator types.
const (
	VendorSpecificID     DesignatorType = 0
	T10VendorID          DesignatorType = 1
	EUI64                DesignatorType = 2
	NAA                  DesignatorType = 3
	RelativeTargetPortID DesignatorType = 4
	TargetPortGroupID    DesignatorType = 5
	LogicalUnitGroupID   DesignatorType = 6
	MD5ID                DesignatorType = 7
	SCSINameString       DesignatorType = 8
)

// ProtocolISCSI is the PROTOCOL IDENTIFIER of iSCSI (SPC-4 section 7.6.1).
const ProtocolISCSI uint8 = 5

// A Designator is one name in a DeviceID.
type Designator struct {
	Protocol      uint8
	ProtocolValid bool // PIV
	CodeSet       CodeSet
	Association   Association
	Type          DesignatorType
	Value         []byte // at most 255 bytes
}

// DeviceID is the device identification page (83h, SPC-4 section 7.8.6): the
// names of a logical unit and of the port through which it was asked, in the
// order of the page.
type DeviceID []Designator

const designatorHeader = 4

// ParseDeviceID reads VPD page 83h. A last designator that is cut off is left
// out. The values are copies.
func ParseDeviceID(b []byte) (DeviceID, error) {
	body, err := vpdBody(PageDeviceID, b)
	if err != nil {
		return nil, err
	}
	body = append([]byte(nil), body...)
	var id DeviceID
	for len(body) >= designatorHeader {
		n := designatorHeader + int(body[3])
		if n > len(body) {
			break
		}
		id = append(id, Designator{
			Protocol:      body[0] >> 4,
			ProtocolValid: body[1]&0x80 != 0,
			CodeSet:       CodeSet(body[0] & 0x0f),
			Association:   Association(body[1] >> 4 & 3),
			Type:          DesignatorType(body[1] & 0x0f),
			Value:         body[designatorHeader:n:n],
		})
		body = body[n:]
	}
	return id, nil
}

// Append appends VPD page 83h.
func (d DeviceID) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendVPD(dst, PageDeviceID)
	for i := range d {
		x := &d[i]
		if len(x.Value) > 0xff {
			panic("scsi: designator too long")
		}
		second := uint8(x.Association&3)<<4 | uint8(x.Type&0x0f)
		setBit(&second, 0x80, x.ProtocolValid)
		dst = append(dst, x.Protocol<<4|uint8(x.CodeSet&0x0f), second, 0, uint8(len(x.Value)))
		dst = append(dst, x.Value...)
	}
	return endVPD(dst, start)
}

// RelativeTargetPort is the number of the target port that gave the page, if
// it says so.
func (d DeviceID) RelativeTargetPort() (uint16, bool) { return d.port(RelativeTargetPortID) }

// TargetPortGroup is the target port group of that port: an ID in the answer to
// REPORT TARGET PORT GROUPS, and not the iSCSI portal group tag.
func (d DeviceID) TargetPortGroup() (uint16, bool) { return d.port(TargetPortGroupID) }

func (d DeviceID) port(t DesignatorType) (uint16, bool) {
	for i := range d {
		x := &d[i]
		if x.Association == OfTargetPort && x.Type == t && len(x.Value) == 4 {
			return be.Uint16(x.Value[2:]), true
		}
	}
	return 0, false
}
