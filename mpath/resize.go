package mpath

import "log/slog"

// grow takes over a larger capacity when every path of the device carries I/O and tells it:
// before that, a block could not be reached on each of them. A LUN never shrinks here; a path
// that tells a smaller capacity is refused.
func (d *Device) grow() {
	blocks := ^uint64(0)
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
		blocks = min(blocks, s.blocks)
	}
	if blocks <= d.lun.Blocks {
		return
	}
	d.log(slog.LevelInfo, "the LUN has grown", "from", d.lun.Bytes(),
		"to", blocks*uint64(d.lun.BlockSize))
	d.lun.Blocks = blocks
}

// reverifyAll looks again at what every path leads to.
func (d *Device) reverifyAll() {
	for _, s := range d.slots {
		d.reverify(s)
	}
}
