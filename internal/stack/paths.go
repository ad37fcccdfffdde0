package stack

import (
	"time"

	"braid/iscsi"
	"braid/mpath"
)

// AddPath gives the device one more path, with the session that belongs to it, and
// returns its slot: that of a path that was removed, if there is one, else a new one.
// make is asked for the session once the slot is known.
func (k *Stack) AddPath(now time.Duration, slot mpath.SlotConfig,
	make func(slot int) iscsi.Config) (int, error) {
	i, err := k.dev.AddPath(now, slot)
	if err != nil {
		return 0, err
	}
	if i == len(k.cfg.Sessions) {
		k.cfg.Sessions = append(k.cfg.Sessions, iscsi.Config{})
		k.current = append(k.current, nil)
	}
	k.cfg.Sessions[i], k.current[i] = make(i), nil
	return i, nil
}
