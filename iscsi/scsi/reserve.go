package scsi

import "errors"

// Service actions of PERSISTENT RESERVE IN (SPC-4 section 6.15).
const (
	ReserveReadKeys           uint8 = 0x00
	ReserveReadReservation    uint8 = 0x01
	ReserveReportCapabilities uint8 = 0x02
)

// Service actions of PERSISTENT RESERVE OUT (SPC-4 section 6.16).
const (
	ReserveRegister          uint8 = 0x00
	ReserveReserve           uint8 = 0x01
	ReserveRelease           uint8 = 0x02
	ReserveClear             uint8 = 0x03
	ReservePreempt           uint8 = 0x04
	ReservePreemptAndAbort   uint8 = 0x05
	ReserveRegisterAndIgnore uint8 = 0x06
)

// A ReserveType says whom a persistent reservation keeps from what (SPC-4 section 6.15.3.4).
type ReserveType uint8

// Types of persistent reservations. All others but the holder, or but those registered,
// cannot write (WriteExclusive...), or can neither write nor read (ExclusiveAccess...). With
// All Registrants everybody registered holds it.
const (
	WriteExclusive                 ReserveType = 1
	ExclusiveAccess                ReserveType = 3
	WriteExclusiveRegistrantsOnly  ReserveType = 5
	ExclusiveAccessRegistrantsOnly ReserveType = 6
	WriteExclusiveAllRegistrants   ReserveType = 7
	ExclusiveAccessAllRegistrants  ReserveType = 8
)

// Known reports whether t is a type that SPC-4 has.
func (t ReserveType) Known() bool {
	return t == WriteExclusive || t == ExclusiveAccess ||
		t >= WriteExclusiveRegistrantsOnly && t <= ExclusiveAccessAllRegistrants
}

// Exclusive reports whether t keeps others from reading too.
func (t ReserveType) Exclusive() bool {
	return t == ExclusiveAccess || t == ExclusiveAccessRegistrantsOnly ||
		t == ExclusiveAccessAllRegistrants
}

// Registrants reports whether t permits all that is registered.
func (t ReserveType) Registrants() bool { return t >= WriteExclusiveRegistrantsOnly }

// AllRegistrants reports whether everybody registered holds a reservation of type t.
func (t ReserveType) AllRegistrants() bool {
	return t == WriteExclusiveAllRegistrants || t == ExclusiveAccessAllRegistrants
}

// ReserveParameters is the parameter list of PERSISTENT RESERVE OUT, all of it but
// TransportIDs (SPC-4 section 6.16.3).
type ReserveParameters struct {
	Key           uint64 // that the nexus is registered with
	ServiceKey    uint64 // that the service action is about
	SpecifyPorts  bool   // SPEC_I_PT
	AllPorts      bool   // ALL_TG_PT
	ThroughPowOff bool   // APTPL
}

// ReserveParametersLength is the length of the list in bytes.
const ReserveParametersLength = 24

// Append appends the list.
func (p ReserveParameters) Append(b []byte) []byte {
	b = be.AppendUint64(b, p.Key)
	b = be.AppendUint64(b, p.ServiceKey)
	flags := byte(0)
	for i, on := range [...]bool{p.ThroughPowOff, false, p.AllPorts, p.SpecifyPorts} {
		if on {
			flags |= 1 << i
		}
	}
	return append(b, 0, 0, 0, 0, flags, 0, 0, 0)
}

// ParseReserveParameters reads a list of the one length that lists without TransportIDs
// have.
func ParseReserveParameters(b []byte) (ReserveParameters, error) {
	if len(b) != ReserveParametersLength {
		return ReserveParameters{}, errReserveLength
	}
	return ReserveParameters{
		Key: be.Uint64(b), ServiceKey: be.Uint64(b[8:]),
		ThroughPowOff: b[20]&1 != 0, AllPorts: b[20]&4 != 0, SpecifyPorts: b[20]&8 != 0,
	}, nil
}

var (
	errReserveLength = errors.New("scsi: parameter list of PERSISTENT RESERVE OUT has a wrong length")
	errReserveShort  = errors.New("scsi: answer to PERSISTENT RESERVE IN is too short")
)

// PersistentReserveIn builds a CDB (SPC-4 section 6.15).
func PersistentReserveIn(action uint8, alloc uint16) [16]byte {
	c := [16]byte{0: OpPersistentReserveIn, 1: action}
	be.PutUint16(c[7:], alloc)
	return c
}

// PersistentReserveOut builds a CDB for the whole logical unit, whose data-out are
// ReserveParameters. The type counts where a reservation is made or released.
func PersistentReserveOut(action uint8, t ReserveType) [16]byte {
	c := [16]byte{0: OpPersistentReserveOut, 1: action, 2: byte(t)}
	be.PutUint32(c[5:], ReserveParametersLength)
	return c
}

// AppendReserveKeys appends the answer to READ KEYS (SPC-4 section 6.15.2).
func AppendReserveKeys(b []byte, generation uint32, keys []uint64) []byte {
	b = be.AppendUint32(b, generation)
	b = be.AppendUint32(b, uint32(8*len(keys)))
	for _, k := range keys {
		b = be.AppendUint64(b, k)
	}
	return b
}

// ParseReserveKeys appends the keys of an answer to READ KEYS. It is whole if none was cut
// off by the allocation length.
func ParseReserveKeys(dst []uint64, b []byte) (keys []uint64, whole bool, err error) {
	if len(b) < 8 {
		return dst, false, errReserveShort
	}
	said := uint64(be.Uint32(b[4:]))
	b = b[8:]
	whole = said <= uint64(len(b))
	if whole {
		b = b[:said]
	}
	for ; len(b) >= 8; b = b[8:] {
		dst = append(dst, be.Uint64(b))
	}
	return dst, whole, nil
}

// A Reservation is the answer to READ RESERVATION (SPC-4 section 6.15.3).
type Reservation struct {
	Generation uint32
	Held       bool
	Key        uint64 // zero if everybody registered holds it
	Type       ReserveType
}

// Append appends the answer.
func (r Reservation) Append(b []byte) []byte {
	b = be.AppendUint32(b, r.Generation)
	if !r.Held {
		return be.AppendUint32(b, 0)
	}
	b = be.AppendUint32(b, 16)
	b = be.AppendUint64(b, r.Key)
	return append(b, 0, 0, 0, 0, 0, byte(r.Type), 0, 0)
}

// ParseReservation reads the answer.
func ParseReservation(b []byte) (Reservation, error) {
	if len(b) < 8 {
		return Reservation{}, errReserveShort
	}
	r := Reservation{Generation: be.Uint32(b), Held: be.Uint32(b[4:]) != 0}
	if !r.Held {
		return r, nil
	}
	if len(b) < 24 {
		return Reservation{}, errReserveShort
	}
	r.Key, r.Type = be.Uint64(b[8:]), ReserveType(b[21]&0x0f)
	return r, nil
}

// ReserveCapabilities is the answer to REPORT CAPABILITIES (SPC-4 section 6.15.4): every type
// of reservation, and nothing that outlives a loss of power.
func ReserveCapabilities(b []byte) []byte {
	const typesValid = 0x80
	return append(b, 0, 8, 0, typesValid, 0xea, 0x01, 0, 0)
}
