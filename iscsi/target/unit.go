package target

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"
	"slices"

	"braid/iscsi/scsi"
)

// Limits of one command, in bytes; pages B0h tells them in blocks.
const (
	maxTransferBytes = 32 << 20
	maxZeroBytes     = 1 << 30 // WRITE SAME, UNMAP
	maxUnmapBlocks   = 1 << 20
	maxUnmapRanges   = 256
)

// unit is a logical unit.
type unit struct {
	LUNConfig
	index  int
	lun    scsi.LUN
	shift  uint   // log2 of the block size
	blocks uint64 // capacity
	lend   lender // nil: the store cannot lend pages
	naa    [16]byte
	pr     reservations
}

func (t *Target) makeUnits() error {
	for _, c := range t.cfg.LUNs {
		u, err := t.makeUnit(c)
		if err != nil {
			return fmt.Errorf("target: LUN %d: %w", c.Number, err)
		}
		t.units = append(t.units, u)
	}
	slices.SortStableFunc(t.units, func(a, b *unit) int {
		return int(a.Number) - int(b.Number)
	})
	for i, u := range t.units {
		u.index = i
		if i > 0 && t.units[i-1].Number == u.Number {
			return fmt.Errorf("target: LUN %d is given twice", u.Number)
		}
	}
	return nil
}

func (t *Target) makeUnit(c LUNConfig) (*unit, error) {
	if c.BlockSize == 0 {
		c.BlockSize = 512
	}
	if c.Vendor == "" {
		c.Vendor = Vendor
	}
	switch {
	case c.Store == nil:
		return nil, fmt.Errorf("no store")
	case c.Number > 16383:
		return nil, fmt.Errorf("the number is above 16383")
	case c.BlockSize < 512 || c.BlockSize > 4096 || c.BlockSize&(c.BlockSize-1) != 0:
		return nil, fmt.Errorf("block size %d is none of 512, 1024, 2048, 4096", c.BlockSize)
	case len(c.Vendor) > 8:
		return nil, fmt.Errorf("the vendor has more than 8 letters")
	case len(c.Serial) > 64:
		return nil, fmt.Errorf("the serial number has more than 64 bytes")
	}
	if v, ok := c.Store.(*Volatile); ok && v.bs > uint64(c.BlockSize) {
		return nil, fmt.Errorf("the cache is lost in blocks of %d bytes", v.bs)
	}
	u := &unit{LUNConfig: c, lun: scsi.EncodeLUN(c.Number)}
	u.shift = uint(bits.TrailingZeros(uint(c.BlockSize)))
	if u.blocks = c.Store.Size() >> u.shift; u.blocks == 0 {
		return nil, fmt.Errorf("the store is smaller than a block")
	}
	u.lend, _ = c.Store.(lender)
	h := fnv.New128a()
	if u.Serial == "" {
		fmt.Fprintf(h, "%s/%d", t.cfg.Name, c.Number)
		u.Serial = fmt.Sprintf("%016x", binary.BigEndian.Uint64(h.Sum(nil)))
	}
	// NAA 6h with an OUI of zero and bytes that follow from the serial number.
	h.Reset()
	h.Write([]byte(u.Serial))
	h.Sum(u.naa[:0])
	copy(u.naa[:], []byte{0x60, 0x00, 0x00, 0x00 | u.naa[3]&0x0f})
	return u, nil
}

// unit finds the logical unit that a LUN names, nil if there is none.
func (t *Target) unit(lun scsi.LUN) *unit {
	n, ok := lun.Number()
	if !ok {
		return nil
	}
	for _, u := range t.units {
		if uint32(u.Number) == n {
			return u
		}
	}
	return nil
}

// Sense data of refusals, with the names that SPC-4 gives them.
var (
	// LOGICAL UNIT NOT SUPPORTED
	noSuchUnit = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x25}
	// INVALID COMMAND OPERATION CODE
	invalidOpcode = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x20}
	// LOGICAL BLOCK ADDRESS OUT OF RANGE
	outOfRange = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x21}
	// PARAMETER LIST LENGTH ERROR
	parameterError = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x1a}
	// INVALID FIELD IN PARAMETER LIST
	invalidList = scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x26}
	// WRITE PROTECTED
	writeProtected = scsi.Sense{Key: scsi.DataProtect, ASC: 0x27}
	// SPACE ALLOCATION FAILED WRITE PROTECT
	thinExhausted = scsi.Sense{Key: scsi.DataProtect, ASC: 0x27, ASCQ: 0x07}
	// MISCOMPARE DURING VERIFY OPERATION
	miscompare = scsi.Sense{Key: scsi.Miscompare, ASC: 0x1d}
	// PROTOCOL SERVICE CRC ERROR
	crcError = scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x47, ASCQ: 0x05}
	// WRITE ERROR
	writeFailed = scsi.Sense{Key: scsi.MediumError, ASC: 0x0c}
	// UNRECOVERED READ ERROR
	readFailed = scsi.Sense{Key: scsi.MediumError, ASC: 0x11}
)

// plan decodes the CDB of a new task: how much data it moves, and whether it will
// be refused.
func (t *Target) plan(k *task, raw *[16]byte, extended bool) {
	k.unit = t.unit(k.lun)
	cdb, err := scsi.ParseCDB(*raw)
	k.cdb = cdb
	everywhere := cdb.Op == scsi.OpInquiry || cdb.Op == scsi.OpReportLUNs ||
		cdb.Op == scsi.OpRequestSense
	switch {
	case k.unit == nil && !everywhere:
		k.refuse(scsi.CheckCondition, noSuchUnit)
	case extended, k.read && k.write:
		k.refuse(scsi.CheckCondition, invalidOpcode)
	case err != nil:
		k.refuse(scsi.CheckCondition, senseOf(err))
	case k.unit != nil:
		k.unit.plan(k)
	}
}

func senseOf(err error) scsi.Sense {
	if e, ok := err.(*scsi.CDBError); ok {
		return e.Sense()
	}
	return invalidOpcode
}

// plan decodes the commands on blocks.
func (u *unit) plan(k *task) {
	c := &k.cdb
	bytes := uint64(c.Blocks) << u.shift
	switch c.Op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		u.checkTransfer(k, bytes, maxTransferBytes)
		k.in.avail = bytes
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16:
		u.checkWritable(k)
		u.checkTransfer(k, bytes, maxTransferBytes)
		k.out.want = uint32(min(bytes, maxTransferBytes))
	case scsi.OpVerify10, scsi.OpVerify16:
		switch c.ByteCheck {
		case 0: // of the medium itself: there is nothing to check
			u.checkTransfer(k, bytes, 1<<62)
		case 1:
			u.checkTransfer(k, bytes, maxTransferBytes)
			k.out.want = uint32(min(bytes, maxTransferBytes))
		default:
			k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
		}
	case scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		u.checkTransfer(k, bytes, 1<<62)
	case scsi.OpWriteSame10, scsi.OpWriteSame16:
		u.checkWritable(k)
		u.checkTransfer(k, bytes, maxZeroBytes)
		switch {
		case c.Anchor, c.Unmap && !u.Thin:
			k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
		case c.Blocks == 0: // WSNZ
			k.refuse(scsi.CheckCondition, scsi.InvalidField(10))
		}
		if !c.NDOB {
			k.out.want = uint32(u.BlockSize)
		}
		if k.expected != k.out.want {
			k.refuse(scsi.CheckCondition, scsi.InvalidField(0))
		}
	case scsi.OpMaintenanceOut:
		k.out.want = min(c.ParamLen, maxAnswer)
	case scsi.OpPersistentReserveOut:
		if c.ParamLen != scsi.ReserveParametersLength {
			k.refuse(scsi.CheckCondition, parameterError)
		}
		k.out.want = scsi.ReserveParametersLength
	case scsi.OpUnmap:
		switch {
		case !u.Thin:
			k.refuse(scsi.CheckCondition, invalidOpcode)
		case c.Anchor:
			k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
		}
		u.checkWritable(k)
		k.out.want = c.ParamLen
	}
}

func (u *unit) checkWritable(k *task) {
	if u.ReadOnly {
		k.refuse(scsi.CheckCondition, writeProtected)
	}
}

func (u *unit) checkTransfer(k *task, bytes, most uint64) {
	c := &k.cdb
	switch {
	case c.LBA >= u.blocks || uint64(c.Blocks) > u.blocks-c.LBA:
		k.refuse(scsi.CheckCondition, outOfRange)
	case bytes > most:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(10))
	case (c.FUA || c.DPO) && u.NoDPOFUA:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
	}
}
