package scsi

import "fmt"

// Operation codes (SPC-4 and SBC-3).
const (
	OpTestUnitReady        uint8 = 0x00
	OpRequestSense         uint8 = 0x03
	OpRead6                uint8 = 0x08
	OpWrite6               uint8 = 0x0a
	OpInquiry              uint8 = 0x12
	OpModeSelect6          uint8 = 0x15
	OpReserve6             uint8 = 0x16
	OpRelease6             uint8 = 0x17
	OpModeSense6           uint8 = 0x1a
	OpStartStopUnit        uint8 = 0x1b
	OpPreventAllow         uint8 = 0x1e
	OpReadCapacity10       uint8 = 0x25
	OpRead10               uint8 = 0x28
	OpWrite10              uint8 = 0x2a
	OpWriteAndVerify10     uint8 = 0x2e
	OpVerify10             uint8 = 0x2f
	OpSynchronizeCache10   uint8 = 0x35
	OpWriteSame10          uint8 = 0x41
	OpUnmap                uint8 = 0x42
	OpModeSelect10         uint8 = 0x55
	OpModeSense10          uint8 = 0x5a
	OpPersistentReserveIn  uint8 = 0x5e
	OpPersistentReserveOut uint8 = 0x5f
	OpRead16               uint8 = 0x88
	OpCompareAndWrite      uint8 = 0x89
	OpWrite16              uint8 = 0x8a
	OpWriteAndVerify16     uint8 = 0x8e
	OpVerify16             uint8 = 0x8f
	OpSynchronizeCache16   uint8 = 0x91
	OpWriteSame16          uint8 = 0x93
	OpServiceActionIn16    uint8 = 0x9e
	OpReportLUNs           uint8 = 0xa0
	OpMaintenanceIn        uint8 = 0xa3
	OpMaintenanceOut       uint8 = 0xa4
	OpRead12               uint8 = 0xa8
	OpWrite12              uint8 = 0xaa
)

// Service actions: of SERVICE ACTION IN(16), then of MAINTENANCE IN and OUT.
const (
	ActionReadCapacity16          uint8 = 0x10
	ActionGetLBAStatus            uint8 = 0x12
	ActionReportTargetPortGroups  uint8 = 0x0a
	ActionReportSupportedCommands uint8 = 0x0c
	ActionSetTargetPortGroups     uint8 = 0x0a
)

// CommandName names the command of a CDB for people.
func CommandName(cdb *[16]byte) string {
	switch cdb[0] {
	case OpServiceActionIn16:
		switch cdb[1] & 0x1f {
		case ActionReadCapacity16:
			return "READ CAPACITY(16)"
		case ActionGetLBAStatus:
			return "GET LBA STATUS"
		}
	case OpMaintenanceIn:
		switch cdb[1] & 0x1f {
		case ActionReportTargetPortGroups:
			return "REPORT TARGET PORT GROUPS"
		case ActionReportSupportedCommands:
			return "REPORT SUPPORTED OPERATION CODES"
		}
	case OpMaintenanceOut:
		if cdb[1]&0x1f == ActionSetTargetPortGroups {
			return "SET TARGET PORT GROUPS"
		}
	}
	for i := range opNames {
		if opNames[i].op == cdb[0] {
			return opNames[i].name
		}
	}
	return fmt.Sprintf("command %02Xh", cdb[0])
}

var opNames = [...]struct {
	op   uint8
	name string
}{
	{OpTestUnitReady, "TEST UNIT READY"},
	{OpRequestSense, "REQUEST SENSE"},
	{OpRead6, "READ(6)"},
	{OpWrite6, "WRITE(6)"},
	{OpInquiry, "INQUIRY"},
	{OpModeSelect6, "MODE SELECT(6)"},
	{OpReserve6, "RESERVE(6)"},
	{OpRelease6, "RELEASE(6)"},
	{OpModeSense6, "MODE SENSE(6)"},
	{OpStartStopUnit, "START STOP UNIT"},
	{OpPreventAllow, "PREVENT ALLOW MEDIUM REMOVAL"},
	{OpReadCapacity10, "READ CAPACITY(10)"},
	{OpRead10, "READ(10)"},
	{OpWrite10, "WRITE(10)"},
	{OpWriteAndVerify10, "WRITE AND VERIFY(10)"},
	{OpVerify10, "VERIFY(10)"},
	{OpSynchronizeCache10, "SYNCHRONIZE CACHE(10)"},
	{OpWriteSame10, "WRITE SAME(10)"},
	{OpUnmap, "UNMAP"},
	{OpModeSelect10, "MODE SELECT(10)"},
	{OpModeSense10, "MODE SENSE(10)"},
	{OpPersistentReserveIn, "PERSISTENT RESERVE IN"},
	{OpPersistentReserveOut, "PERSISTENT RESERVE OUT"},
	{OpRead16, "READ(16)"},
	{OpCompareAndWrite, "COMPARE AND WRITE"},
	{OpWrite16, "WRITE(16)"},
	{OpWriteAndVerify16, "WRITE AND VERIFY(16)"},
	{OpVerify16, "VERIFY(16)"},
	{OpSynchronizeCache16, "SYNCHRONIZE CACHE(16)"},
	{OpWriteSame16, "WRITE SAME(16)"},
	{OpServiceActionIn16, "SERVICE ACTION IN(16)"},
	{OpReportLUNs, "REPORT LUNS"},
	{OpMaintenanceIn, "MAINTENANCE IN"},
	{OpMaintenanceOut, "MAINTENANCE OUT"},
	{OpRead12, "READ(12)"},
	{OpWrite12, "WRITE(12)"},
}
