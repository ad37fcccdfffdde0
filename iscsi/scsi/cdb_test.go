package scsi

import (
	"errors"
	"testing"
)

func TestBuilders(t *testing.T) {
	const lba = 0x0102030405060708
	for _, c := range []struct {
		cdb  [16]byte
		hex  string
		name string
		want CDB
		dir  Direction
	}{
		{TestUnitReady(), "00000000 0000", "TEST UNIT READY", CDB{}, None},
		{RequestSense(252), "03000000 fc00", "REQUEST SENSE", CDB{Op: 0x03, AllocLen: 252}, Read},
		{Inquiry(false, 0, 255), "12000000 ff00", "INQUIRY", CDB{Op: 0x12, AllocLen: 255}, Read},
		{Inquiry(true, 0x83, 0x1234), "12018312 3400", "INQUIRY",
			CDB{Op: 0x12, EVPD: true, Page: 0x83, AllocLen: 0x1234}, Read},
		{ReadCapacity10(), "25", "READ CAPACITY(10)", CDB{Op: 0x25}, Read},
		{ReadCapacity16(32), "9e10000000000000000000000020", "READ CAPACITY(16)",
			CDB{Op: 0x9e, Action: 0x10, AllocLen: 32}, Read},
		{ModeSense6(8, 0, 255), "1a000800ff", "MODE SENSE(6)",
			CDB{Op: 0x1a, Page: 8, AllocLen: 255}, Read},
		{ModeSense10(0x3f, 0xff, 0x102), "5a003fff0000000102", "MODE SENSE(10)",
			CDB{Op: 0x5a, Page: 0x3f, SubPage: 0xff, AllocLen: 0x102}, Read},
		{ReportLUNs(0x10000), "a0000000000000010000", "REPORT LUNS",
			CDB{Op: 0xa0, AllocLen: 0x10000}, Read},
		{ReportTargetPortGroups(0x1000), "a30a0000000000001000", "REPORT TARGET PORT GROUPS",
			CDB{Op: 0xa3, Action: 0x0a, AllocLen: 0x1000}, Read},
		{Read16(lba, 0x11121314, false), "8800010203040506070811121314", "READ(16)",
			CDB{Op: 0x88, LBA: lba, Blocks: 0x11121314}, Read},
		{Write16(lba, 1, true), "8a08010203040506070800000001", "WRITE(16)",
			CDB{Op: 0x8a, LBA: lba, Blocks: 1, FUA: true}, Write},
		{Write16(lba, 0, false), "8a00010203040506070800000000", "WRITE(16)",
			CDB{Op: 0x8a, LBA: lba}, None},
		{Read10(0x01020304, 0x1112, true), "280801020304001112", "READ(10)",
			CDB{Op: 0x28, LBA: 0x01020304, Blocks: 0x1112, FUA: true}, Read},
		{Write10(0x01020304, 0x1112, false), "2a0001020304001112", "WRITE(10)",
			CDB{Op: 0x2a, LBA: 0x01020304, Blocks: 0x1112}, Write},
		{SynchronizeCache16(lba, 2), "9100010203040506070800000002", "SYNCHRONIZE CACHE(16)",
			CDB{Op: 0x91, LBA: lba, Blocks: 2}, None},
		{SynchronizeCache10(1, 2), "350000000001000002", "SYNCHRONIZE CACHE(10)",
			CDB{Op: 0x35, LBA: 1, Blocks: 2}, None},
		{Unmap(24), "420000000000000018", "UNMAP", CDB{Op: 0x42, ParamLen: 24}, Write},
		{WriteSame16(lba, 3, true, false), "9308010203040506070800000003", "WRITE SAME(16)",
			CDB{Op: 0x93, LBA: lba, Blocks: 3, Unmap: true}, Write},
		{WriteSame16(lba, 3, false, true), "9301010203040506070800000003", "WRITE SAME(16)",
			CDB{Op: 0x93, LBA: lba, Blocks: 3, NDOB: true}, None},
		{PersistentReserveIn(ReserveReadKeys, 0x1234), "5e000000000000123400", "PERSISTENT RESERVE IN",
			CDB{Op: 0x5e, AllocLen: 0x1234}, Read},
		{PersistentReserveOut(ReservePreemptAndAbort, WriteExclusiveRegistrantsOnly),
			"5f050500000000001800", "PERSISTENT RESERVE OUT",
			CDB{Op: 0x5f, Action: 5, ResType: 5, ParamLen: 24}, Write},
		{GetLBAStatus(lba, 24), "9e12010203040506070800000018", "GET LBA STATUS",
			CDB{Op: 0x9e, Action: 0x12, LBA: lba, AllocLen: 24}, Read},
	} {
		var want [16]byte
		copy(want[:], unhex(t, c.hex))
		equal(t, c.cdb, want)
		equal(t, CommandName(&c.cdb), c.name)
		got, err := ParseCDB(c.cdb)
		noError(t, err)
		equal(t, got, c.want)
		equal(t, got.Direction(), c.dir)
	}
}

// Commands that other initiators send.
func TestParseCDB(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want CDB
		dir  Direction
	}{
		{"081fffff0800", CDB{Op: 0x08, LBA: 0x1fffff, Blocks: 8}, Read},
		{"08ffffff0000", CDB{Op: 0x08, LBA: 0x1fffff, Blocks: 256}, Read},
		{"0a0000010100", CDB{Op: 0x0a, LBA: 1, Blocks: 1}, Write},
		{"030100001200", CDB{Op: 0x03, Descriptor: true, AllocLen: 18}, Read},
		{"15110000180", CDB{Op: 0x15, SavePages: true, ParamLen: 24}, Write},
		{"55100000000000010000", CDB{Op: 0x55, ParamLen: 256}, Write},
		{"1a08c8010400", CDB{Op: 0x1a, DBD: true, PageControl: 3, Page: 8, SubPage: 1,
			AllocLen: 4}, Read},
		{"1b0100003100", CDB{Op: 0x1b, Immed: true, Start: true, Select: 3}, None},
		{"1e0000000100", CDB{Op: 0x1e}, None},
		{"16", CDB{Op: 0x16}, None},
		{"17", CDB{Op: 0x17}, None},
		{"2a18000000010000020", CDB{Op: 0x2a, DPO: true, FUA: true, LBA: 1, Blocks: 2}, Write},
		{"2e02000000010000020", CDB{Op: 0x2e, LBA: 1, Blocks: 2, ByteCheck: 1}, Write},
		{"2f00000000010000020", CDB{Op: 0x2f, LBA: 1, Blocks: 2}, None},
		{"2f12000000010000020", CDB{Op: 0x2f, LBA: 1, Blocks: 2, DPO: true, ByteCheck: 1}, Write},
		{"3502000000000000000", CDB{Op: 0x35, Immed: true}, None},
		{"4118000000010000020", CDB{Op: 0x41, LBA: 1, Blocks: 2, Anchor: true, Unmap: true}, Write},
		{"4201000000000000000", CDB{Op: 0x42, Anchor: true}, None},
		{"5e000000000000001000", CDB{Op: 0x5e, AllocLen: 16}, Read},
		{"5f04150000000000180", CDB{Op: 0x5f, Action: 4, Scope: 1, ResType: 5, ParamLen: 24}, Write},
		{"8900000000000000000100000001", CDB{Op: 0x89, LBA: 1, Blocks: 1}, Write},
		{"8f06000000000000000100000002", CDB{Op: 0x8f, LBA: 1, Blocks: 2, ByteCheck: 3}, Write},
		{"a0000200000000000010", CDB{Op: 0xa0, Select: 2, AllocLen: 16}, Read},
		{"a32a0000000000000010", CDB{Op: 0xa3, Action: 0x0a, Descriptor: true, AllocLen: 16}, Read},
		{"a30c0342000100000200", CDB{Op: 0xa3, Action: 0x0c, Select: 3, RequestedOp: 0x42,
			RequestedSA: 1, AllocLen: 512}, Read},
		{"a8080102030400000005", CDB{Op: 0xa8, FUA: true, LBA: 0x01020304, Blocks: 5}, Read},
		{"aa000102030400000005", CDB{Op: 0xaa, LBA: 0x01020304, Blocks: 5}, Write},
		{"120000000000", CDB{Op: 0x12}, None},
	} {
		if len(c.hex)%2 != 0 {
			c.hex += "0"
		}
		got, err := ParseCDB([16]byte(append(unhex(t, c.hex), make([]byte, 16)...)))
		noError(t, err)
		equal(t, got, c.want)
		equal(t, got.Direction(), c.dir)
	}
}

func TestParseCDBRefuses(t *testing.T) {
	for _, c := range []struct {
		hex   string
		field int
	}{
		{"e5", 0}, {"ff", 0}, {"04", 0}, {"7f", 0}, {"83", 0},
		{"9e11", 1}, {"a30b", 1},
		{"1202", 1}, {"120083", 2},
		{"28200000000000000100", 1}, // RDPROTECT
		{"8ae0", 1},                 // WRPROTECT
		{"932000", 1},
		{"000000000004", 5}, // NACA
		{"25000000000000000004", 9},
		{"a0000000000000000000 0004", 11},
		{"88000000000000000000 000000000004", 15},
	} {
		cdb := [16]byte(append(unhex(t, c.hex), make([]byte, 16)...))
		_, err := ParseCDB(cdb)
		var e *CDBError
		if !errors.As(err, &e) || e.Field != c.field || e.Op != cdb[0] {
			t.Errorf("%s: %v", c.hex, err)
			continue
		}
		if c.field == 0 {
			equal(t, e.Sense().String(), "illegal request 20h/00h (invalid command operation code)")
		} else {
			equal(t, e.Sense(), Sense{Key: IllegalRequest, ASC: 0x24,
				Specific: [3]byte{0xc0, 0, byte(c.field)}})
		}
	}
	equal(t, (&CDBError{Op: 0xe5}).Error(), "operation code E5h is not supported")
	equal(t, (&CDBError{Op: 0x12, Field: 2}).Error(),
		"invalid field in CDB: operation code 12h, byte 2")
	equal(t, CommandName(&[16]byte{0xe5}), "command E5h")
	equal(t, CommandName(&[16]byte{0x9e, 0x1f}), "SERVICE ACTION IN(16)")
}

func TestBuildersDoNotAllocate(t *testing.T) {
	var sink [16]byte
	ranges := []Range{{1, 2}}
	buf := make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		sink = Write16(1, 2, true)
		c, _ := ParseCDB(sink)
		buf = UnmapParameters(buf[:0], ranges)
		s, _ := ParseSense(buf)
		buf = s.Append(buf[:0], true)
		ranges[0].LBA = c.LBA
	})
	equal(t, n, 0.0)
}
