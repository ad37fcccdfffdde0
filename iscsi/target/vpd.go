package target

import (
	"slices"

	"braid/iscsi/scsi"
)

// pages are the VPD pages that every logical unit has.
var pages = []uint8{
	scsi.PageSupported, scsi.PageUnitSerial, scsi.PageDeviceID,
	scsi.PageBlockLimits, scsi.PageBlockCharacteristics, scsi.PageLogicalProvisioning,
}

// inquiry appends INQUIRY data (SPC-4 section 6.6).
func (t *Target) inquiry(k *task, dst []byte) ([]byte, bool) {
	u := k.unit
	if !k.cdb.EVPD {
		d := scsi.InquiryData{
			DeviceType: scsi.DiskType, Version: 6, HiSup: true, CommandQueuing: true,
			MultiPort: len(t.portals) > 1,
			Vendor:    Vendor, Product: Product, Revision: Revision,
			// SAM-5, iSCSI, SPC-4, SBC-3: no version claimed of any.
			Descriptors: [8]uint16{0x00a0, 0x0960, 0x0460, 0x04c0},
		}
		if t.cfg.ALUA {
			d.TPGS = t.cfg.TPGS
		}
		if u == nil {
			d.PeripheralQualifier = scsi.QualifierNone
			d.DeviceType = scsi.UnknownType
		} else {
			d.Vendor = u.Vendor
		}
		return d.Append(dst), true
	}
	if u == nil || !slices.Contains(pages, k.cdb.Page) {
		k.refuse(scsi.CheckCondition, scsi.InvalidField(2))
		return dst, false
	}
	switch k.cdb.Page {
	case scsi.PageSupported:
		return scsi.SupportedPages(pages).Append(dst), true
	case scsi.PageUnitSerial:
		return scsi.UnitSerial(u.Serial).Append(dst), true
	case scsi.PageDeviceID:
		return t.deviceID(k).Append(dst), true
	case scsi.PageBlockLimits:
		return u.limits().Append(dst), true
	case scsi.PageBlockCharacteristics:
		c := scsi.BlockCharacteristics{Rotation: 1}
		if u.Rotational {
			c.Rotation = 7200
		}
		return c.Append(dst), true
	}
	p := scsi.LogicalProvisioning{}
	if u.Thin {
		p = scsi.LogicalProvisioning{LBPU: true, LBPWS: true, LBPWS10: true, LBPRZ: true, Type: 2}
	}
	return p.Append(dst), true
}

// deviceID names the logical unit and the target port.
func (t *Target) deviceID(k *task) scsi.DeviceID {
	id := []byte(Vendor + "   " + k.unit.Serial) // T10 vendor identification has 8 bytes
	unit := scsi.DeviceID{
		{CodeSet: scsi.Binary, Type: scsi.NAA, Value: k.unit.naa[:]},
		{CodeSet: scsi.ASCII, Type: scsi.T10VendorID, Value: id},
	}
	return append(unit, t.portDesignators(k.conn.port().Group)...)
}

func (u *unit) limits() scsi.BlockLimits {
	l := scsi.BlockLimits{
		WSNZ:           true,
		OptGranularity: uint16(max(4096>>u.shift, 1)),
		MaxTransfer:    maxTransferBytes >> u.shift,
		OptTransfer:    256 << 10 >> u.shift,
		MaxWriteSame:   maxZeroBytes >> u.shift,
	}
	if u.Thin {
		l.MaxUnmapLBAs = maxUnmapBlocks
		l.MaxUnmapDescriptors = maxUnmapRanges
		l.UnmapGranularity = uint32(max(4096>>u.shift, 1))
	}
	return l
}
