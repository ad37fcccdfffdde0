package mpath

import (
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// How long a command may take on a living path before it is aborted.
const (
	ioTimeout   = 30 * time.Second
	slowTimeout = 120 * time.Second // SYNCHRONIZE CACHE, UNMAP, WRITE SAME
)

// buildRead fills in the command of a read.
func (d *Device) buildRead(o *op) {
	lba, n := o.off/uint64(d.lun.BlockSize), uint32(len(o.data))/d.lun.BlockSize
	if d.lun.short {
		o.cmd.CDB = scsi.Read10(uint32(lba), uint16(n), false)
	} else {
		o.cmd.CDB = scsi.Read16(lba, n, false)
	}
	o.cmd.Dir, o.cmd.Data, o.cmd.Timeout = scsi.Read, o.data, ioTimeout
	o.size = uint64(len(o.data))
}

// buildWrite fills in the command that puts a write's content in its blocks.
func (d *Device) buildWrite(o *op) {
	w, bs := o.w, uint64(d.lun.BlockSize)
	lba, n := w.Off/bs, uint32((w.End-w.Off)/bs)
	o.cmd.Timeout, o.size = slowTimeout, bs
	switch {
	case w.Kind == barrier.Trim && d.lun.Unmap:
		d.buildUnmap(o, lba, n)
	case w.Kind == barrier.Trim:
		o.cmd.CDB = scsi.WriteSame16(lba, n, true, false)
		o.cmd.Dir, o.cmd.Data = scsi.Write, zeroes[:bs]
	case w.Kind == barrier.Zero && !d.lun.noSame:
		unmap := !w.NoUnmap && d.lun.UnmapSame && d.lun.ZeroedWhenUnmap
		o.cmd.CDB = scsi.WriteSame16(lba, n, unmap, false)
		o.cmd.Dir, o.cmd.Data = scsi.Write, zeroes[:bs]
	default:
		data := w.Data
		if w.Kind == barrier.Zero { // in pieces: see sendRest
			n = uint32(min(w.End-o.at, d.partLimit()) / bs)
			lba, data = o.at/bs, zeroes[:uint64(n)*bs]
		}
		if d.lun.short {
			o.cmd.CDB = scsi.Write10(uint32(lba), uint16(n), w.Stable && d.lun.FUA)
		} else {
			o.cmd.CDB = scsi.Write16(lba, n, w.Stable && d.lun.FUA)
		}
		o.cmd.Dir, o.cmd.Data, o.cmd.Timeout = scsi.Write, data, ioTimeout
		o.size = uint64(len(data))
	}
}

func (d *Device) buildUnmap(o *op, lba uint64, n uint32) {
	ranges := [1]scsi.Range{{LBA: lba, Blocks: n}}
	o.cmd.Data = scsi.UnmapParameters(o.param[:0], ranges[:])
	o.cmd.CDB = scsi.Unmap(uint16(len(o.cmd.Data)))
	o.cmd.Dir = scsi.Write
}

func (d *Device) buildSync(o *op) {
	if d.sync10 {
		o.cmd.CDB = scsi.SynchronizeCache10(0, 0)
	} else {
		o.cmd.CDB = scsi.SynchronizeCache16(0, 0)
	}
	o.cmd.Dir, o.cmd.Data, o.cmd.Timeout = scsi.None, nil, slowTimeout
	o.size = 0
}
