package mpath

import (
	"bytes"

	"braid/iscsi/scsi"
)

const (
	lunBlock  = 512
	lunBlocks = 4 << 20 / lunBlock
)

// A fakeLUN is a disk with a volatile cache, one image for all sessions.
type fakeLUN struct {
	live, stable []byte
	low, high    uint64 // bounds of what may differ between them

	inquiry   scsi.InquiryData
	serial    string
	id        []byte
	capacity  scsi.Capacity
	limits    scsi.BlockLimits
	provision scsi.LogicalProvisioning
	mode      scsi.Mode
	noPages   bool // no vital product data
	noSame    bool // no WRITE SAME
	noCap16   bool // no READ CAPACITY(16)
	noSync16  bool
	noReserve bool // no persistent reservations
	denyKeys  int  // slot that may not register, counted from 1
	noSync    bool

	answer func(*scsi.Command, scsi.CDB) error // a refusal, nil to execute

	transferred int // bytes of the last answer that is no read of blocks
}

func newFakeLUN() *fakeLUN {
	return &fakeLUN{
		live: make([]byte, lunBlocks*lunBlock), stable: make([]byte, lunBlocks*lunBlock),
		inquiry:  scsi.InquiryData{Vendor: "TEST", Product: "DISK", Revision: "1", Version: 6},
		serial:   "S1",
		id:       []byte{0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		capacity: scsi.Capacity{Blocks: lunBlocks, BlockSize: lunBlock, LBPME: true, LBPRZ: true},
		limits: scsi.BlockLimits{
			MaxUnmapLBAs: 4096, MaxUnmapDescriptors: 1, MaxWriteSame: 2048,
		},
		provision: scsi.LogicalProvisioning{LBPU: true, LBPWS: true, LBPRZ: true},
		mode:      scsi.Mode{HasCaching: true, WCE: true},
	}
}

// loseCache takes back what was not synced.
func (l *fakeLUN) loseCache() { copy(l.live[l.low:l.high], l.stable[l.low:l.high]) }

func (l *fakeLUN) sync() {
	copy(l.stable[l.low:l.high], l.live[l.low:l.high])
	l.low, l.high = 0, 0
}

// touch notes what is written.
func (l *fakeLUN) touch(off, end uint64) {
	if l.high == 0 {
		l.low = off
	}
	l.low, l.high = min(l.low, off), max(l.high, end)
}

func (l *fakeLUN) execute(c *scsi.Command, cdb scsi.CDB) error {
	unknown := check(scsi.IllegalRequest, 0x20, 0)
	switch cdb.Op {
	case scsi.OpTestUnitReady:
		return nil
	case scsi.OpInquiry:
		return l.inquire(c, cdb)
	case scsi.OpServiceActionIn16:
		if l.noCap16 {
			return unknown
		}
		return l.reply(c, l.capacity.Append16(nil))
	case scsi.OpReadCapacity10:
		return l.reply(c, l.capacity.Append10(nil))
	case scsi.OpModeSense6:
		return l.reply(c, l.mode.Append6(nil))
	case scsi.OpSynchronizeCache16:
		if l.noSync16 || l.noSync {
			return unknown
		}
		l.sync()
		return nil
	case scsi.OpSynchronizeCache10:
		if l.noSync {
			return unknown
		}
		l.sync()
		return nil
	case scsi.OpRead16, scsi.OpRead10:
		off, end, err := l.span(cdb)
		if err == nil {
			copy(c.Data, l.live[off:end])
		}
		return err
	case scsi.OpWrite16, scsi.OpWrite10:
		return l.write(cdb, c.Data)
	case scsi.OpWriteSame16:
		if l.noSame {
			return unknown
		}
		off, end, err := l.span(cdb)
		if err == nil {
			l.touch(off, end)
			copy(l.live[off:end], bytes.Repeat(c.Data, int(cdb.Blocks)))
		}
		return err
	case scsi.OpUnmap:
		ranges, err := scsi.ParseUnmapParameters(nil, c.Data)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			off, end := r.LBA*lunBlock, (r.LBA+uint64(r.Blocks))*lunBlock
			l.touch(off, end)
			clear(l.live[off:end])
		}
		return nil
	}
	return unknown
}

func (l *fakeLUN) span(cdb scsi.CDB) (off, end uint64, err error) {
	if cdb.LBA > l.capacity.Blocks || cdb.LBA+uint64(cdb.Blocks) > l.capacity.Blocks {
		return 0, 0, check(scsi.IllegalRequest, 0x21, 0)
	}
	return cdb.LBA * lunBlock, (cdb.LBA + uint64(cdb.Blocks)) * lunBlock, nil
}

func (l *fakeLUN) write(cdb scsi.CDB, data []byte) error {
	off, end, err := l.span(cdb)
	if err != nil {
		return err
	}
	l.touch(off, end)
	copy(l.live[off:end], data)
	if cdb.FUA {
		copy(l.stable[off:end], data)
	}
	return nil
}

func (l *fakeLUN) reply(c *scsi.Command, b []byte) error {
	l.transferred = copy(c.Data, b)
	return nil
}

func (l *fakeLUN) inquire(c *scsi.Command, cdb scsi.CDB) error {
	if !cdb.EVPD {
		return l.reply(c, l.inquiry.Append(nil))
	}
	if l.noPages {
		return check(scsi.IllegalRequest, 0x24, 0)
	}
	switch cdb.Page {
	case scsi.PageSupported:
		return l.reply(c, scsi.SupportedPages{scsi.PageSupported, scsi.PageUnitSerial,
			scsi.PageDeviceID, scsi.PageBlockLimits, scsi.PageBlockCharacteristics,
			scsi.PageLogicalProvisioning}.Append(nil))
	case scsi.PageUnitSerial:
		return l.reply(c, scsi.UnitSerial(l.serial).Append(nil))
	case scsi.PageDeviceID:
		return l.reply(c, scsi.DeviceID{{CodeSet: scsi.Binary, Type: scsi.NAA, Value: l.id}}.Append(nil))
	case scsi.PageBlockLimits:
		return l.reply(c, l.limits.Append(nil))
	case scsi.PageBlockCharacteristics:
		return l.reply(c, scsi.BlockCharacteristics{Rotation: scsi.NonRotating}.Append(nil))
	case scsi.PageLogicalProvisioning:
		return l.reply(c, l.provision.Append(nil))
	}
	return check(scsi.IllegalRequest, 0x24, 0)
}
