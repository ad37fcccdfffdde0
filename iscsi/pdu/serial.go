package pdu

// Serial number arithmetic of 32 bits (RFC 1982), by which CmdSN, StatSN and
// DataSN are compared (RFC 7143 section 4.2.2). Numbers 2**31 apart have no order
// in the RFC; here neither is then less than the other.

// Less tells whether a comes before b.
func Less(a, b uint32) bool { return a != b && b-a < 1<<31 }

// LessEq tells whether a is b or comes before it.
func LessEq(a, b uint32) bool { return b-a < 1<<31 }

// Max is the later of the two, and a where they have no order.
func Max(a, b uint32) uint32 {
	if Less(a, b) {
		return b
	}
	return a
}
