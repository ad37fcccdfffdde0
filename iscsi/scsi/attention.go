package scsi

import "fmt"

// Attention tells unit attentions apart by what they ask of the initiator.
type Attention uint8

// Kinds of unit attention. In brackets the additional sense codes (SPC-4 annex
// F.2).
const (
	NotAttention        Attention = iota // another sense key
	CacheLoss                            // 29h/00h, 01h, 02h, 04h: unsynchronised writes may be gone
	NexusLoss                            // other 29h: tasks and nexus state are gone, the cache is not
	CapacityChanged                      // 2Ah/09h
	ModeChanged                          // 2Ah/00h, 01h: mode pages, so the write cache too
	ReservationsChanged                  // 2Ah/03h to 05h
	ALUAChanged                          // 2Ah/06h, 07h
	LUNsChanged                          // 3Fh/0Eh
	InquiryChanged                       // 3Fh/03h, 05h: the identity may be another
	ThinThreshold                        // 38h/07h: the pool behind a thin unit is filling up
	OtherAttention
)

// Attention tells which unit attention s is.
func (s Sense) Attention() Attention {
	if s.Key != UnitAttention {
		return NotAttention
	}
	switch s.ASC {
	case 0x29:
		switch s.ASCQ {
		case 0x00, 0x01, 0x02, 0x04:
			return CacheLoss
		}
		return NexusLoss
	case 0x2a:
		switch s.ASCQ {
		case 0x00, 0x01:
			return ModeChanged
		case 0x03, 0x04, 0x05:
			return ReservationsChanged
		case 0x06, 0x07:
			return ALUAChanged
		case 0x09:
			return CapacityChanged
		}
	case 0x38:
		if s.ASCQ == 0x07 {
			return ThinThreshold
		}
	case 0x3f:
		switch s.ASCQ {
		case 0x03, 0x05:
			return InquiryChanged
		case 0x0e:
			return LUNsChanged
		}
	}
	return OtherAttention
}

func (a Attention) String() string {
	names := [...]string{
		"no unit attention", "cache loss", "nexus loss", "capacity changed", "mode changed",
		"reservations changed", "asymmetric access changed", "logical units changed",
		"inquiry data changed", "thin provisioning threshold", "other unit attention",
	}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("attention %d", uint8(a))
}
