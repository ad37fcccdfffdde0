package target

import (
	"encoding/binary"
	"time"

	"braid/iscsi/scsi"
)

// Vendor, Product and Revision are what INQUIRY tells.
const (
	Vendor   = "braid"
	Product  = "virtual disk"
	Revision = "1"
)

// maxAnswer bounds the answers below, in bytes.
const maxAnswer = 4 << 10

// executeInquiry does the commands that ask what a logical unit is.
func (t *Target) executeInquiry(now time.Duration, k *task) {
	buf := t.pool.must(maxAnswer)
	data, ok := t.describe(k, buf.b[:0])
	if !ok {
		t.pool.put(buf)
		t.respond(now, k, k.status, &k.sense)
		return
	}
	if k.cdb.Op != scsi.OpReadCapacity10 && uint32(len(data)) > k.cdb.AllocLen {
		data = data[:k.cdb.AllocLen]
	}
	k.in.buf = buf
	k.in.avail = uint64(len(data))
	k.in.length = min(len(data), int(k.expected))
	if !k.read {
		k.in.length = 0
	}
	t.sendIn(now, k)
}

// describe appends the answer. If there is none, k is refused.
func (t *Target) describe(k *task, dst []byte) ([]byte, bool) {
	u := k.unit
	switch c := &k.cdb; c.Op {
	case scsi.OpRequestSense:
		return t.requestSense(k).Append(dst, c.Descriptor), true
	case scsi.OpInquiry:
		return t.inquiry(k, dst)
	case scsi.OpReportLUNs:
		return t.reportLUNs(k, dst)
	case scsi.OpReadCapacity10:
		return u.capacity().Append10(dst), true
	case scsi.OpServiceActionIn16:
		if c.Action == scsi.ActionReadCapacity16 {
			return u.capacity().Append16(dst), true
		}
		return u.lbaStatus(k, dst)
	case scsi.OpModeSense6, scsi.OpModeSense10:
		return u.modeSense(k, dst)
	case scsi.OpPersistentReserveIn:
		return u.describeReservations(k, dst)
	case scsi.OpMaintenanceIn:
		if t.cfg.ALUA && c.Action == scsi.ActionReportTargetPortGroups {
			return t.portGroups().Append(dst, c.Descriptor), true
		}
		k.refuse(scsi.CheckCondition, invalidOpcode)
	default:
		k.refuse(scsi.CheckCondition, invalidOpcode)
	}
	return dst, false
}

func (t *Target) requestSense(k *task) scsi.Sense {
	if k.unit == nil {
		return noSuchUnit
	}
	if a := &k.nexus.attention[k.unit.index]; a.n > 0 {
		return a.take()
	}
	return scsi.Sense{}
}

func (t *Target) reportLUNs(k *task, dst []byte) ([]byte, bool) {
	switch {
	case k.cdb.Select > 2:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(2))
		return dst, false
	case k.cdb.AllocLen < 16:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(6))
		return dst, false
	}
	var list []scsi.LUN
	if k.cdb.Select != 1 { // 1: only well known logical units, of which there are none
		for _, u := range t.units {
			list = append(list, u.lun)
		}
	}
	return scsi.AppendLUNs(dst, list), true
}

func (u *unit) capacity() scsi.Capacity {
	c := scsi.Capacity{Blocks: u.blocks, BlockSize: uint32(u.BlockSize)}
	if u.shift < 12 {
		c.PhysicalExponent = uint8(12 - u.shift)
	}
	c.LBPME, c.LBPRZ = u.Thin, u.Thin
	return c
}

// lbaStatus tells of the run of blocks from an address on that are alike whether
// they are mapped (SBC-3 section 5.4).
func (u *unit) lbaStatus(k *task, dst []byte) ([]byte, bool) {
	const deallocated = 1
	lba := k.cdb.LBA
	switch {
	case !u.Thin:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(1))
		return dst, false
	case lba >= u.blocks:
		k.refuse(scsi.CheckCondition, outOfRange)
		return dst, false
	}
	blocks, status := u.blocks-lba, byte(0)
	if m, ok := u.Store.(mapper); ok {
		mapped, n := m.extent(lba << u.shift)
		blocks = min(max(n>>u.shift, 1), blocks)
		if !mapped {
			status = deallocated
		}
	}
	dst = append(dst, 0, 0, 0, 20, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, lba)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(blocks, 1<<32-1)))
	return append(dst, status, 0, 0, 0), true
}

func (u *unit) modeSense(k *task, dst []byte) ([]byte, bool) {
	const (
		current    = 0
		changeable = 1
		saved      = 3

		caching  = 0x08
		control  = 0x0a
		allPages = 0x3f
	)
	c := &k.cdb
	if c.PageControl == saved {
		// SAVING PARAMETERS NOT SUPPORTED
		k.refuse(scsi.CheckCondition, scsi.Sense{Key: scsi.IllegalRequest, ASC: 0x39})
		return dst, false
	}
	all := c.Page == allPages
	m := scsi.Mode{
		WriteProtected: u.ReadOnly,
		DPOFUA:         !u.NoDPOFUA,
		HasCaching:     all || c.Page == caching,
		HasControl:     all || c.Page == control,
	}
	switch {
	case !m.HasCaching && !m.HasControl:
		k.refuse(scsi.CheckCondition, scsi.InvalidField(2))
		return dst, false
	case c.SubPage != 0 && !(all && c.SubPage == 0xff):
		k.refuse(scsi.CheckCondition, scsi.InvalidField(3))
		return dst, false
	}
	if c.PageControl != changeable {
		m.WCE = u.WriteCache
		m.TaskAbortedState = true
		m.QueueAlgorithm = 1
	}
	if c.Op == scsi.OpModeSense6 {
		return m.Append6(dst), true
	}
	return m.Append10(dst), true
}
