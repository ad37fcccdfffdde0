package mpath

import (
	"log/slog"

	"braid/barrier"
	"braid/iscsi/scsi"
)

// demotes takes note that the device does not know a command which its pages promise, or not
// any more, and reports whether a simpler one does the same: WRITE SAME without UNMAP, then
// zeroes that are written, in place of WRITE SAME; nothing in place of a trim, which is advice.
func (d *Device) demotes(s *slot, o *op) bool {
	const unmapBit = 0x08
	if o.kind != opWrite {
		return false
	}
	l, was := &d.lun, d.lun
	switch op, unmap := o.cmd.CDB[0], o.cmd.CDB[1]&unmapBit != 0; {
	case op == scsi.OpUnmap:
		l.Unmap = false
	case op == scsi.OpWriteSame16 && unmap:
		l.UnmapSame = false
	case op == scsi.OpWriteSame16:
		l.noSame = true
	default:
		return false
	}
	if *l != was {
		d.log(slog.LevelWarn, "the device does not know a command that it promised: another one "+
			"is used", "path", s.name, "error", o.cmd.Err, "trim", l.CanTrim(), "write_same", !l.noSame)
	}
	return true
}

// sendRest sends the next piece of zeroes that are too many for one WRITE, on the session that
// the ledger knows them on, and reports whether there was one. If that session dies they are
// sent again from their beginning.
func (d *Device) sendRest(o *op) bool {
	w := o.w
	if op := o.cmd.CDB[0]; w.Kind != barrier.Zero || op != scsi.OpWrite16 && op != scsi.OpWrite10 {
		return false
	}
	if o.at += uint64(len(o.cmd.Data)); o.at >= w.End {
		return false
	}
	d.buildWrite(o)
	d.submit(o.slot, o)
	return true
}

// skipTrim ends a trim for which the device has no command.
func (d *Device) skipTrim(o *op) {
	w := o.w
	if o.req == nil {
		d.freeOp(o)
	}
	d.ledger.Answered(w)
}
