package scsi

import "fmt"

// CDB is a command descriptor block as a target sees it. Which fields mean
// something depends on the command; the others are zero.
type CDB struct {
	Op     uint8
	Action uint8 // service action; of PERSISTENT RESERVE too

	LBA    uint64
	Blocks uint32 // READ(6) and WRITE(6) of 0 are given as the 256 that they mean

	FUA, DPO  bool
	Immed     bool
	Unmap     bool  // WRITE SAME
	Anchor    bool  // WRITE SAME, UNMAP
	NDOB      bool  // WRITE SAME(16)
	ByteCheck uint8 // VERIFY, WRITE AND VERIFY: BYTCHK

	EVPD        bool  // INQUIRY
	Page        uint8 // INQUIRY, MODE SENSE
	SubPage     uint8 // MODE SENSE
	PageControl uint8 // MODE SENSE: 0 current, 1 changeable, 2 default, 3 saved
	DBD         bool  // MODE SENSE: no block descriptors
	SavePages   bool  // MODE SELECT

	// Descriptor asks for another format: of REQUEST SENSE the descriptor
	// one, of REPORT TARGET PORT GROUPS the one with extended header.
	Descriptor bool

	// Select is REPORT LUNS' SELECT REPORT, REPORT SUPPORTED OPERATION
	// CODES' reporting options, or START STOP UNIT's power condition.
	Select         uint8
	Start          bool // START STOP UNIT
	RequestedOp    uint8
	RequestedSA    uint16
	Scope, ResType uint8 // PERSISTENT RESERVE OUT

	AllocLen uint32 // most bytes of data-in that are wanted
	ParamLen uint32 // bytes of parameters in data-out
}

// A CDBError is a CDB that ParseCDB does not take.
type CDBError struct {
	Op    uint8
	Field int // the byte at fault; 0 is an operation code that is not known
}

func (e *CDBError) Error() string {
	if e.Field == 0 {
		return fmt.Sprintf("operation code %02Xh is not supported", e.Op)
	}
	return fmt.Sprintf("invalid field in CDB: operation code %02Xh, byte %d", e.Op, e.Field)
}

// Sense is what a target answers.
func (e *CDBError) Sense() Sense {
	if e.Field == 0 {
		return Sense{Key: IllegalRequest, ASC: 0x20}
	}
	return InvalidField(e.Field)
}

// InvalidField is the sense of a CDB with a field, at the given byte, that the
// target does not take (SPC-4 section 4.5.2.4.2).
func InvalidField(field int) Sense {
	const commandData = 0x40 // the pointer is into the CDB, not the parameters
	return Sense{
		Key:      IllegalRequest,
		ASC:      0x24,
		Specific: [3]byte{bitSKSV | commandData, byte(field >> 8), byte(field)},
	}
}

// ParseCDB decodes the commands named by the Op constants. An error is a
// *CDBError: operation codes and service actions that are not known, protection
// information, which no target here has, and NACA.
func ParseCDB(b [16]byte) (CDB, error) {
	c := CDB{Op: b[0]}
	const naca = 0x04
	if at := controlByte(b[0]); b[at]&naca != 0 {
		return c, &CDBError{c.Op, at}
	}
	ok := c.parseBlocks(&b)
	if ok && b[1]>>5 != 0 && c.Op != OpUnmap &&
		c.Op != OpSynchronizeCache10 && c.Op != OpSynchronizeCache16 {
		return c, &CDBError{c.Op, 1}
	}
	if ok {
		return c, nil
	}
	if at := c.parseOther(&b); at >= 0 {
		return c, &CDBError{c.Op, at}
	}
	return c, nil
}

// controlByte tells where the CONTROL byte is, by the group code (SPC-4 section
// 4.2.5.1).
func controlByte(op uint8) int {
	switch op >> 5 {
	case 0:
		return 5
	case 1, 2:
		return 9
	case 5:
		return 11
	}
	return 15
}

// parseBlocks decodes the commands on blocks.
func (c *CDB) parseBlocks(b *[16]byte) bool {
	switch c.Op {
	case OpRead6, OpWrite6:
		c.LBA = uint64(be.Uint32(b[0:]) & 0x1fffff)
		c.Blocks = uint32(b[4])
		if c.Blocks == 0 {
			c.Blocks = 256
		}
		b[1] = 0 // no room for flags: these are address bits
		return true
	case OpRead10, OpWrite10, OpWriteAndVerify10, OpVerify10,
		OpSynchronizeCache10, OpWriteSame10:
		c.LBA, c.Blocks = uint64(be.Uint32(b[2:])), uint32(be.Uint16(b[7:]))
	case OpRead12, OpWrite12:
		c.LBA, c.Blocks = uint64(be.Uint32(b[2:])), be.Uint32(b[6:])
	case OpRead16, OpWrite16, OpWriteAndVerify16, OpVerify16,
		OpSynchronizeCache16, OpWriteSame16:
		c.LBA, c.Blocks = be.Uint64(b[2:]), be.Uint32(b[10:])
	case OpCompareAndWrite:
		c.LBA, c.Blocks = be.Uint64(b[2:]), uint32(b[13])
	case OpUnmap:
		c.Anchor = b[1]&1 != 0
		c.ParamLen = uint32(be.Uint16(b[7:]))
		return true
	default:
		return false
	}
	c.parseFlags(b[1])
	return true
}

func (c *CDB) parseFlags(b uint8) {
	switch c.Op {
	case OpSynchronizeCache10, OpSynchronizeCache16:
		c.Immed = b&bitImmed != 0
	case OpWriteSame16:
		c.NDOB = b&bitNDOB != 0
		fallthrough
	case OpWriteSame10:
		c.Anchor, c.Unmap = b&0x10 != 0, b&bitUnmap != 0
	case OpVerify10, OpVerify16, OpWriteAndVerify10, OpWriteAndVerify16:
		c.ByteCheck = b >> 1 & 3
		c.DPO = b&bitDPO != 0
	default:
		c.DPO, c.FUA = b&bitDPO != 0, b&bitFUA != 0
	}
}

// parseOther decodes the other commands. It returns the byte at fault, or -1.
func (c *CDB) parseOther(b *[16]byte) int {
	switch c.Op {
	case OpTestUnitReady, OpReserve6, OpRelease6, OpPreventAllow, OpReadCapacity10:
	case OpRequestSense:
		c.Descriptor = b[1]&1 != 0
		c.AllocLen = uint32(b[4])
	case OpInquiry:
		c.EVPD = b[1]&1 != 0
		c.Page = b[2]
		c.AllocLen = uint32(be.Uint16(b[3:]))
		switch {
		case b[1]&^1 != 0: // CMDDT is long obsolete
			return 1
		case !c.EVPD && c.Page != 0:
			return 2
		}
	case OpModeSense6, OpModeSense10:
		c.DBD = b[1]&0x08 != 0
		c.PageControl, c.Page, c.SubPage = b[2]>>6, b[2]&0x3f, b[3]
		c.AllocLen = uint32(b[4])
		if c.Op == OpModeSense10 {
			c.AllocLen = uint32(be.Uint16(b[7:]))
		}
	case OpModeSelect6, OpModeSelect10:
		c.SavePages = b[1]&1 != 0
		c.ParamLen = uint32(b[4])
		if c.Op == OpModeSelect10 {
			c.ParamLen = uint32(be.Uint16(b[7:]))
		}
	case OpStartStopUnit:
		c.Immed, c.Start, c.Select = b[1]&1 != 0, b[4]&1 != 0, b[4]>>4
	case OpReportLUNs:
		c.Select, c.AllocLen = b[2], be.Uint32(b[6:])
	case OpPersistentReserveIn:
		c.Action = b[1] & 0x1f
		c.AllocLen = uint32(be.Uint16(b[7:]))
	case OpPersistentReserveOut:
		c.Action, c.Scope, c.ResType = b[1]&0x1f, b[2]>>4, b[2]&0x0f
		c.ParamLen = be.Uint32(b[5:])
	case OpServiceActionIn16, OpMaintenanceIn, OpMaintenanceOut:
		return c.parseAction(b)
	default:
		return 0
	}
	return -1
}

func (c *CDB) parseAction(b *[16]byte) int {
	c.Action = b[1] & 0x1f
	switch {
	case c.Op == OpServiceActionIn16 && c.Action == ActionReadCapacity16:
		c.AllocLen = be.Uint32(b[10:])
	case c.Op == OpServiceActionIn16 && c.Action == ActionGetLBAStatus:
		c.LBA, c.AllocLen = be.Uint64(b[2:]), be.Uint32(b[10:])
	case c.Op == OpMaintenanceIn && c.Action == ActionReportTargetPortGroups:
		c.Descriptor = b[1]>>5 == 1
		c.AllocLen = be.Uint32(b[6:])
	case c.Op == OpMaintenanceIn && c.Action == ActionReportSupportedCommands:
		c.Select, c.RequestedOp = b[2], b[3]
		c.RequestedSA = be.Uint16(b[4:])
		c.AllocLen = be.Uint32(b[6:])
	case c.Op == OpMaintenanceOut && c.Action == ActionSetTargetPortGroups:
		c.ParamLen = be.Uint32(b[6:])
	default:
		return 1
	}
	return -1
}

// Direction tells which way the command's data goes, and None also where no
// data goes because a length in the CDB is zero.
func (c CDB) Direction() Direction {
	switch c.Op {
	case OpWrite6, OpWrite10, OpWrite12, OpWrite16, OpWriteAndVerify10, OpWriteAndVerify16,
		OpCompareAndWrite:
		return directionIf(c.Blocks != 0, Write)
	case OpWriteSame10, OpWriteSame16:
		return directionIf(!c.NDOB, Write)
	case OpVerify10, OpVerify16:
		return directionIf(c.ByteCheck != 0 && c.Blocks != 0, Write)
	case OpUnmap, OpModeSelect6, OpModeSelect10, OpPersistentReserveOut, OpMaintenanceOut:
		return directionIf(c.ParamLen != 0, Write)
	case OpRead6, OpRead10, OpRead12, OpRead16:
		return directionIf(c.Blocks != 0, Read)
	case OpReadCapacity10:
		return Read
	}
	return directionIf(c.AllocLen != 0, Read)
}

func directionIf(yes bool, d Direction) Direction {
	if yes {
		return d
	}
	return None
}
