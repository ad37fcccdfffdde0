package scsi

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// Identity is the best name of the logical unit itself: "naa.6001405...",
// "eui....", a SCSI name string as it stands, or "t10....". It is empty if the
// page has none; the serial number is then all there is.
//
// All paths must choose alike, though targets may order the page differently
// on each port. So the choice does not depend on the order: best kind first,
// world-wide before local, then the lowest bytes. The names of ports and of
// the target, which differ between paths or are the same for all LUNs, never
// count.
func (d DeviceID) Identity() string {
	var best *Designator
	rank := 0
	for i := range d {
		x := &d[i]
		r := x.rank()
		if r > rank || r == rank && r > 0 && bytes.Compare(x.Value, best.Value) < 0 {
			best, rank = x, r
		}
	}
	if best == nil {
		return ""
	}
	return best.name()
}

// rank orders designators by how well they name a logical unit; 0 is not at
// all.
func (x *Designator) rank() int {
	blank := len(bytes.Trim(x.Value, " \x00")) == 0
	if x.Association != OfLogicalUnit || blank {
		return 0
	}
	switch x.Type {
	case NAA:
		return x.rankNAA()
	case EUI64:
		if x.CodeSet != Binary {
			return 0
		}
		switch len(x.Value) {
		case 16:
			return 13
		case 12:
			return 12
		case 8:
			return 11
		}
	case SCSINameString:
		return 10
	case T10VendorID:
		return 1
	}
	return 0
}

// rankNAA: IEEE registered extended, registered, extended, locally assigned
// (SPC-4 section 7.8.6.6).
func (x *Designator) rankNAA() int {
	if x.CodeSet != Binary {
		return 0
	}
	switch format := x.Value[0] >> 4; {
	case format == 6 && len(x.Value) == 16:
		return 24
	case format == 5 && len(x.Value) == 8:
		return 23
	case format == 2 && len(x.Value) == 8:
		return 22
	case format == 3 && len(x.Value) == 8:
		return 21
	}
	return 0
}

func (x *Designator) name() string {
	switch x.Type {
	case NAA:
		return "naa." + hex.EncodeToString(x.Value)
	case EUI64:
		return "eui." + hex.EncodeToString(x.Value)
	case SCSINameString:
		return printable(x.Value)
	}
	return "t10." + printable(x.Value)
}

// printable writes a name for logs, files and status: without its padding,
// inner spaces as underscores, and what is not printable as %xx.
func printable(b []byte) string {
	var s strings.Builder
	for _, c := range bytes.TrimRight(b, " \x00") {
		switch {
		case c == ' ':
			s.WriteByte('_')
		case c < ' ' || c > '~' || c == '%' || c == '/' || c == '\\':
			fmt.Fprintf(&s, "%%%02x", c)
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}
