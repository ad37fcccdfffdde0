package mpath

import (
	"fmt"
	"math"

	"braid/iscsi/scsi"
)

// LUN is what is known of the logical unit, as its paths told it.
type LUN struct {
	Identity string // of VPD page 83h, else made of vendor, product and serial number
	Vendor   string
	Product  string
	Revision string
	Serial   string

	Blocks        uint64
	BlockSize     uint32 // bytes
	PhysicalBlock uint32 // bytes

	WriteCache     bool // WCE
	FUA            bool // DPOFUA
	WriteProtected bool
	Rotational     bool
	Thin           bool

	MaxTransfer uint32 // bytes of one READ or WRITE, 0 unlimited
	OptTransfer uint32 // bytes

	Unmap           bool // UNMAP
	MaxUnmap        uint32
	UnmapSame       bool // WRITE SAME(16) with UNMAP
	MaxWriteSame    uint64
	ZeroedWhenUnmap bool // LBPRZ
	TPGS            uint8

	short  bool // it knows only 10-byte reads and writes
	noSame bool // it refused WRITE SAME(16)
}

// Bytes is the capacity.
func (l *LUN) Bytes() uint64 { return l.Blocks * uint64(l.BlockSize) }

// CanTrim reports whether a trim does anything.
func (l *LUN) CanTrim() bool { return l.Unmap || l.UnmapSame }

func (l *LUN) setInquiry(d scsi.InquiryData) error {
	if !d.Present() || d.DeviceType != scsi.DiskType {
		return &RefusedError{Reason: fmt.Sprintf(
			"there is no disk at that LUN (peripheral qualifier %d, device type %d): "+
				"see which LUNs the target has with `braid inquire`, and check that its "+
				"access lists name this initiator", d.PeripheralQualifier, d.DeviceType)}
	}
	l.Vendor, l.Product, l.Revision, l.TPGS = d.Vendor, d.Product, d.Revision, d.TPGS
	return nil
}

func (l *LUN) setCapacity(c scsi.Capacity) error {
	if c.BlockSize < 512 || c.BlockSize > 64<<10 || c.BlockSize&(c.BlockSize-1) != 0 || c.Blocks == 0 {
		return &RefusedError{Reason: fmt.Sprintf(
			"the LUN has %d blocks of %d bytes: braid serves blocks of 512 to 65536 bytes",
			c.Blocks, c.BlockSize)}
	}
	if c.Blocks > math.MaxInt64/uint64(c.BlockSize) {
		return &RefusedError{Reason: fmt.Sprintf("the LUN claims %d blocks of %d bytes, which is "+
			"more than a block device can have", c.Blocks, c.BlockSize)}
	}
	l.Blocks, l.BlockSize = c.Blocks, c.BlockSize
	l.PhysicalBlock = c.BlockSize << min(c.PhysicalExponent, 7)
	l.Thin, l.ZeroedWhenUnmap = c.LBPME, c.LBPRZ
	return nil
}

func (l *LUN) setLimits(b scsi.BlockLimits) {
	bytes := func(blocks uint32) uint32 {
		return uint32(min(uint64(blocks)*uint64(l.BlockSize), 1<<31))
	}
	l.MaxTransfer, l.OptTransfer = bytes(b.MaxTransfer), bytes(b.OptTransfer)
	l.MaxUnmap, l.MaxWriteSame = b.MaxUnmapLBAs, b.MaxWriteSame
	if b.MaxUnmapLBAs == 0 || b.MaxUnmapDescriptors == 0 {
		l.MaxUnmap = 0
	}
}

// identify settles the identity when every page has been read.
func (l *LUN) identify(id string) {
	if id == "" && l.Serial != "" {
		id = fmt.Sprintf("t10.%s-%s-%s", l.Vendor, l.Product, l.Serial)
	}
	l.Identity = id
	l.Unmap = l.Unmap && l.MaxUnmap > 0
}

// A RefusedError says why a path is not used although its session works. Trying
// again does not help.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// Permanent reports that the path stays refused until somebody mends it.
func (e *RefusedError) Permanent() bool { return true }

// same says why two paths cannot belong to one device, nil if they can.
func (l *LUN) same(o *LUN) error {
	switch {
	case l.Identity == "" || o.Identity == "":
		if l.Identity != o.Identity {
			return &RefusedError{Reason: "one path tells the LUN's identity and another does not"}
		}
		return &RefusedError{Reason: "the LUN tells neither an identity (VPD page 83h) nor a serial " +
			"number (80h): several paths cannot be told to lead to one LUN; use one URL"}
	case l.Identity != o.Identity:
		return &RefusedError{Reason: fmt.Sprintf("different LUNs: this path leads to %s (%s %s), "+
			"the device is %s (%s %s): correct the URLs", o.Identity, o.Vendor, o.Product,
			l.Identity, l.Vendor, l.Product)}
	case o.Serial != "" && l.Serial != "" && o.Serial != l.Serial:
		return &RefusedError{Reason: fmt.Sprintf("different LUNs: serial number %q on this path, "+
			"%q on the others: correct the URLs", o.Serial, l.Serial)}
	case o.BlockSize == 0: // a port in standby does not tell the capacity
	case o.BlockSize != l.BlockSize:
		return &RefusedError{Reason: fmt.Sprintf("block size %d on this path, %d on the others",
			o.BlockSize, l.BlockSize)}
	case o.Blocks < l.Blocks:
		return &RefusedError{Reason: fmt.Sprintf("capacity %d blocks on this path, %d on the others",
			o.Blocks, l.Blocks)}
	}
	return nil
}
