package scsi

import (
	"fmt"
	"strings"
)

// Key is a sense key (SPC-4 section 4.5.6).
type Key uint8

// Sense keys.
const (
	NoSense        Key = 0x0
	RecoveredError Key = 0x1
	NotReady       Key = 0x2
	MediumError    Key = 0x3
	HardwareError  Key = 0x4
	IllegalRequest Key = 0x5
	UnitAttention  Key = 0x6
	DataProtect    Key = 0x7
	BlankCheck     Key = 0x8
	VendorSpecific Key = 0x9
	CopyAborted    Key = 0xa
	AbortedCommand Key = 0xb
	VolumeOverflow Key = 0xd
	Miscompare     Key = 0xe
	Completed      Key = 0xf
)

func (k Key) String() string {
	names := [...]string{
		"no sense", "recovered error", "not ready", "medium error", "hardware error",
		"illegal request", "unit attention", "data protect", "blank check", "vendor specific",
		"copy aborted", "aborted command", "reserved key Ch", "volume overflow", "miscompare",
		"completed",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("sense key %02Xh", uint8(k))
}

// Sense is sense data (SPC-4 section 4.5), whichever format it came in.
type Sense struct {
	Key       Key
	ASC, ASCQ uint8 // additional sense code and qualifier

	// Deferred: the error belongs to an earlier command, one that had ended
	// with GOOD, and the command that brings it was not executed.
	Deferred bool

	Info      uint64 // INFORMATION; of a block device most often an LBA
	InfoValid bool

	CommandInfo uint64 // COMMAND-SPECIFIC INFORMATION
	FRU         uint8  // FIELD REPLACEABLE UNIT CODE

	// Specific is the sense key specific field. It says something only if
	// the top bit of its first byte (SKSV) is set.
	Specific [3]byte

	Filemark, EOM, ILI bool
}

// Response codes: the low seven bits of the first byte.
const (
	fixedCurrent       = 0x70
	fixedDeferred      = 0x71
	descriptorCurrent  = 0x72
	descriptorDeferred = 0x73

	senseValid  = 0x80 // VALID in fixed format and in an information descriptor
	bitFilemark = 0x80
	bitEOM      = 0x40
	bitILI      = 0x20
	bitSKSV     = 0x80

	senseHeader = 8
	fixedLength = 18
)

// ParseSense reads sense data of either format. What its length or its own
// length field cuts off is zero. It is false if b is not sense data or ends
// before the sense key.
func ParseSense(b []byte) (Sense, bool) {
	if len(b) == 0 {
		return Sense{}, false
	}
	code := b[0] & 0x7f
	if len(b) >= senseHeader {
		b = b[:min(len(b), senseHeader+int(b[7]))]
	}
	switch code {
	case fixedCurrent, fixedDeferred:
		return parseFixed(b, code == fixedDeferred)
	case descriptorCurrent, descriptorDeferred:
		return parseDescriptor(b, code == descriptorDeferred)
	}
	return Sense{}, false
}

func parseFixed(b []byte, deferred bool) (Sense, bool) {
	if len(b) < 3 {
		return Sense{}, false
	}
	// Missing bytes read as zero.
	var f [fixedLength]byte
	whole := copy(f[:], b)
	s := Sense{
		Key:         Key(f[2] & 0x0f),
		ASC:         f[12],
		ASCQ:        f[13],
		Deferred:    deferred,
		CommandInfo: uint64(be.Uint32(f[8:])),
		FRU:         f[14],
		Filemark:    f[2]&bitFilemark != 0,
		EOM:         f[2]&bitEOM != 0,
		ILI:         f[2]&bitILI != 0,
	}
	if f[0]&senseValid != 0 && whole >= 7 {
		s.InfoValid, s.Info = true, uint64(be.Uint32(f[3:]))
	}
	if whole == fixedLength {
		s.setSpecific(f[15:])
	}
	return s, true
}

func parseDescriptor(b []byte, deferred bool) (Sense, bool) {
	if len(b) < 2 {
		return Sense{}, false
	}
	var f [senseHeader]byte
	copy(f[:], b)
	s := Sense{Key: Key(f[1] & 0x0f), ASC: f[2], ASCQ: f[3], Deferred: deferred}
	if len(b) < senseHeader {
		return s, true
	}
	for b = b[senseHeader:]; len(b) >= 2; {
		n := 2 + int(b[1])
		if n > len(b) {
			break
		}
		s.addDescriptor(b[:n])
		b = b[n:]
	}
	return s, true
}

// Sense data descriptors (SPC-4 section 4.5.2).
const (
	descriptorInformation = 0
	descriptorCommand     = 1
	descriptorSpecific    = 2
	descriptorFRU         = 3
	descriptorStream      = 4
	descriptorBlock       = 5
)

func (s *Sense) addDescriptor(d []byte) {
	switch {
	case d[0] == descriptorInformation && len(d) >= 12:
		if d[2]&senseValid != 0 {
			s.InfoValid, s.Info = true, be.Uint64(d[4:])
		}
	case d[0] == descriptorCommand && len(d) >= 12:
		s.CommandInfo = be.Uint64(d[4:])
	case d[0] == descriptorSpecific && len(d) >= 7:
		s.setSpecific(d[4:])
	case d[0] == descriptorFRU && len(d) >= 4:
		s.FRU = d[3]
	case d[0] == descriptorStream && len(d) >= 4:
		s.Filemark = d[3]&bitFilemark != 0
		s.EOM = d[3]&bitEOM != 0
		s.ILI = d[3]&bitILI != 0
	case d[0] == descriptorBlock && len(d) >= 4:
		s.ILI = d[3]&bitILI != 0
	}
}

func (s *Sense) setSpecific(b []byte) {
	if b[0]&bitSKSV != 0 {
		s.Specific = [3]byte(b)
	}
}

// Append appends s in fixed or in descriptor format. In fixed format an Info
// or CommandInfo that needs more than 32 bits is left out, as SPC-4 section
// 4.5.3 has it.
func (s Sense) Append(dst []byte, descriptor bool) []byte {
	if descriptor {
		return s.appendDescriptor(dst)
	}
	var f [fixedLength]byte
	f[0] = fixedCurrent
	if s.Deferred {
		f[0] = fixedDeferred
	}
	f[2] = uint8(s.Key)&0x0f | s.flags()
	if s.InfoValid && s.Info <= 0xffffffff {
		f[0] |= senseValid
		be.PutUint32(f[3:], uint32(s.Info))
	}
	f[7] = fixedLength - senseHeader
	if s.CommandInfo <= 0xffffffff {
		be.PutUint32(f[8:], uint32(s.CommandInfo))
	}
	f[12], f[13], f[14] = s.ASC, s.ASCQ, s.FRU
	if s.Specific[0]&bitSKSV != 0 {
		copy(f[15:], s.Specific[:])
	}
	return append(dst, f[:]...)
}

func (s Sense) flags() (b uint8) {
	if s.Filemark {
		b |= bitFilemark
	}
	if s.EOM {
		b |= bitEOM
	}
	if s.ILI {
		b |= bitILI
	}
	return b
}

func (s Sense) appendDescriptor(dst []byte) []byte {
	start := len(dst)
	code := uint8(descriptorCurrent)
	if s.Deferred {
		code = descriptorDeferred
	}
	dst = append(dst, code, uint8(s.Key)&0x0f, s.ASC, s.ASCQ, 0, 0, 0, 0)
	if s.InfoValid {
		dst = append(dst, descriptorInformation, 10, senseValid, 0)
		dst = be.AppendUint64(dst, s.Info)
	}
	if s.CommandInfo != 0 {
		dst = append(dst, descriptorCommand, 10, 0, 0)
		dst = be.AppendUint64(dst, s.CommandInfo)
	}
	if s.Specific[0]&bitSKSV != 0 {
		dst = append(dst, descriptorSpecific, 6, 0, 0)
		dst = append(dst, s.Specific[:]...)
		dst = append(dst, 0)
	}
	if s.FRU != 0 {
		dst = append(dst, descriptorFRU, 2, 0, s.FRU)
	}
	switch flags := s.flags(); {
	case flags&^bitILI != 0:
		dst = append(dst, descriptorStream, 2, 0, flags)
	case flags != 0:
		dst = append(dst, descriptorBlock, 2, 0, flags)
	}
	dst[start+7] = uint8(len(dst) - start - senseHeader)
	return dst
}

// String is like "unit attention 29h/00h (power on, reset, or bus device reset
// occurred)".
func (s Sense) String() string {
	var b strings.Builder
	if s.Deferred {
		b.WriteString("deferred ")
	}
	fmt.Fprintf(&b, "%v %02Xh/%02Xh", s.Key, s.ASC, s.ASCQ)
	if text := senseText(s.ASC, s.ASCQ); text != "" {
		fmt.Fprintf(&b, " (%s)", text)
	}
	if s.InfoValid {
		fmt.Fprintf(&b, ", information %d", s.Info)
	}
	return b.String()
}
