package mpath

import "time"

// What others know about paths. They may be told at any time between two Steps.

// LinkUp says that there is new hope for the path in slot: its next session is not waited
// for longer than the target's own time demands.
func (d *Device) LinkUp(now time.Duration, slot int) {
	if s := d.slots[slot]; s.state == down {
		s.retryAt = min(s.retryAt, max(now, s.notBefore))
	}
}
