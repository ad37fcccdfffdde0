package scsi

import "encoding/binary"

var be = binary.BigEndian

// Bits of byte 1 of the commands that move blocks (SBC-3 section 5).
const (
	bitDPO   = 0x10
	bitFUA   = 0x08
	bitImmed = 0x02 // SYNCHRONIZE CACHE

	bitUnmap = 0x08 // WRITE SAME
	bitNDOB  = 0x01 // WRITE SAME(16)
)

// TestUnitReady builds a CDB (SPC-4 section 6.47).
func TestUnitReady() [16]byte { return [16]byte{} }

// RequestSense builds a CDB that asks for sense data in fixed format (SPC-4
// section 6.39).
func RequestSense(alloc uint8) [16]byte {
	return [16]byte{0: OpRequestSense, 4: alloc}
}

// Inquiry builds a CDB (SPC-4 section 6.6) for the standard data, or with vpd
// for a page of vital product data.
func Inquiry(vpd bool, page uint8, alloc uint16) [16]byte {
	c := [16]byte{0: OpInquiry, 2: page}
	if vpd {
		c[1] = 1
	}
	be.PutUint16(c[3:], alloc)
	return c
}

// ReadCapacity10 builds a CDB (SBC-3 section 5.15). The answer has 8 bytes.
func ReadCapacity10() [16]byte { return [16]byte{0: OpReadCapacity10} }

// ReadCapacity16 builds a CDB (SBC-3 section 5.16). The answer has 32 bytes.
func ReadCapacity16(alloc uint32) [16]byte {
	c := [16]byte{0: OpServiceActionIn16, 1: ActionReadCapacity16}
	be.PutUint32(c[10:], alloc)
	return c
}

// ModeSense6 builds a CDB for the current values of a mode page (SPC-4 section
// 6.13). Block descriptors are not refused (DBD=0): some devices take the bit
// amiss, and parsing skips them.
func ModeSense6(page, sub, alloc uint8) [16]byte {
	return [16]byte{0: OpModeSense6, 2: page & 0x3f, 3: sub, 4: alloc}
}

// ModeSense10 is ModeSense6 with a longer answer (SPC-4 section 6.14).
func ModeSense10(page, sub uint8, alloc uint16) [16]byte {
	c := [16]byte{0: OpModeSense10, 2: page & 0x3f, 3: sub}
	be.PutUint16(c[7:], alloc)
	return c
}

// ReportLUNs builds a CDB for the list of all logical units but the well known
// ones (SPC-4 section 6.33). An alloc below 16 is an error to most targets.
func ReportLUNs(alloc uint32) [16]byte {
	c := [16]byte{0: OpReportLUNs}
	be.PutUint32(c[6:], alloc)
	return c
}

// ReportTargetPortGroups builds a CDB for the answer without extended header
// (SPC-4 section 6.37).
func ReportTargetPortGroups(alloc uint32) [16]byte {
	c := [16]byte{0: OpMaintenanceIn, 1: ActionReportTargetPortGroups}
	be.PutUint32(c[6:], alloc)
	return c
}

// ReportTargetPortGroupsExtended asks for the answer with extended header, which tells how
// long a transition may take. Older devices refuse it.
func ReportTargetPortGroupsExtended(alloc uint32) [16]byte {
	c := ReportTargetPortGroups(alloc)
	c[1] |= rtpgFormatExtended
	return c
}

// SetTargetPortGroups builds a CDB whose data-out is paramLen bytes of SetGroupParameters
// (SPC-4 section 6.45).
func SetTargetPortGroups(paramLen uint32) [16]byte {
	c := [16]byte{0: OpMaintenanceOut, 1: ActionSetTargetPortGroups}
	be.PutUint32(c[6:], paramLen)
	return c
}

// Read16 builds a CDB (SBC-3 section 5.13).
func Read16(lba uint64, blocks uint32, fua bool) [16]byte {
	return transfer16(OpRead16, lba, blocks, fua)
}

// Write16 builds a CDB (SBC-3 section 5.34).
func Write16(lba uint64, blocks uint32, fua bool) [16]byte {
	return transfer16(OpWrite16, lba, blocks, fua)
}

// Read10 builds a CDB (SBC-3 section 5.11).
func Read10(lba uint32, blocks uint16, fua bool) [16]byte {
	return transfer10(OpRead10, lba, blocks, fua)
}

// Write10 builds a CDB (SBC-3 section 5.32).
func Write10(lba uint32, blocks uint16, fua bool) [16]byte {
	return transfer10(OpWrite10, lba, blocks, fua)
}

// SynchronizeCache16 builds a CDB (SBC-3 section 5.29). It is never immediate:
// its answer means that the blocks are on stable storage. No blocks means all
// from lba on.
func SynchronizeCache16(lba uint64, blocks uint32) [16]byte {
	return transfer16(OpSynchronizeCache16, lba, blocks, false)
}

// SynchronizeCache10 is SynchronizeCache16 for low addresses (SBC-3 section
// 5.28).
func SynchronizeCache10(lba uint32, blocks uint16) [16]byte {
	return transfer10(OpSynchronizeCache10, lba, blocks, false)
}

// Unmap builds a CDB whose data-out is paramLen bytes of UnmapParameters (SBC-3
// section 5.30).
func Unmap(paramLen uint16) [16]byte {
	c := [16]byte{0: OpUnmap}
	be.PutUint16(c[7:], paramLen)
	return c
}

// WriteSame16 builds a CDB (SBC-3 section 5.45). The data-out is one block, or
// nothing with ndob, which stands for a block of zeroes. With unmap the device
// may drop the blocks instead, if they then read as that block does.
func WriteSame16(lba uint64, blocks uint32, unmap, ndob bool) [16]byte {
	c := transfer16(OpWriteSame16, lba, blocks, false)
	if unmap {
		c[1] |= bitUnmap
	}
	if ndob {
		c[1] |= bitNDOB
	}
	return c
}

// GetLBAStatus builds a CDB (SBC-3 section 5.4).
func GetLBAStatus(lba uint64, alloc uint32) [16]byte {
	c := transfer16(OpServiceActionIn16, lba, alloc, false)
	c[1] = ActionGetLBAStatus
	return c
}

func transfer16(op uint8, lba uint64, blocks uint32, fua bool) [16]byte {
	c := [16]byte{0: op}
	if fua {
		c[1] = bitFUA
	}
	be.PutUint64(c[2:], lba)
	be.PutUint32(c[10:], blocks)
	return c
}

func transfer10(op uint8, lba uint32, blocks uint16, fua bool) [16]byte {
	c := [16]byte{0: op}
	if fua {
		c[1] = bitFUA
	}
	be.PutUint32(c[2:], lba)
	be.PutUint16(c[7:], blocks)
	return c
}
