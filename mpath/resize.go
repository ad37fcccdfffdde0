package mpath

import "log/slog"

// grow takes over a larger capacity when every path of the device works and tells it:
// before that, a block could not be reached on each of them. A LUN never shrinks here; a path
// that tells a smaller capacity is refused, when it was asked twice.
func (d *Device) grow() {
	least, most := ^uint64(0), uint64(0)
	for _, s := range d.slots {
		if s.rec.fenceOnly || s.outOfService {
			continue
		}
		if s.state == ghost && !s.inLedger && s.blocks == 0 {
			continue // it cannot tell
		}
		if s.state != active && s.state != ghost {
			return
		}
		least, most = min(least, s.blocks), max(most, s.blocks)
	}
	if least < most {
		d.doubt(most)
	}
	if most == 0 || least <= d.lun.Blocks { // none tells it, or it has not grown
		return
	}
	d.log(slog.LevelInfo, "the LUN has grown", "from", d.lun.Bytes(),
		"to", least*uint64(d.lun.BlockSize))
	d.lun.Blocks = least
}

// doubt has every path looked at again, once, that told less than another one: it may have
// been asked before the LUN grew.
func (d *Device) doubt(most uint64) {
	for _, s := range d.slots {
		if s.blocks < most && s.doubted < most {
			s.doubted = most
			d.reverify(s)
		}
	}
}

// doubtful reports, once for each capacity, that a path that tells less than the others may
// have been asked before they were.
func (d *Device) doubtful(s *slot, found *LUN) bool {
	if found.Blocks == 0 || found.Blocks >= d.lun.Blocks || s.doubted >= d.lun.Blocks {
		return false
	}
	s.doubted = d.lun.Blocks
	return true
}

// reverifyAll looks again at what every path leads to.
func (d *Device) reverifyAll() {
	for _, s := range d.slots {
		d.reverify(s)
	}
}
