package mpath

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// What makes a stranger: sessions that the target itself ended soon after they were up.
const (
	strangerLife   = 5 * time.Second // a reinstated session did not live longer
	strangerWindow = time.Minute
)

// A StrangerError says that somebody else keeps logging in with this device's identity:
// each login ends the other's session, and with it what the other had under way.
type StrangerError struct {
	Times int
	Last  error
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("every session was ended by the target %d times within a minute, soon after "+
		"its login (last: %v): another host, or another daemon here, seems to use the same "+
		"initiator name and device name; give one of them another initiator name", e.Times, e.Last)
}

// Permanent reports that trying again would only keep the quarrel up.
func (e *StrangerError) Permanent() bool { return true }

// endedByTarget notes that a session came to an end which a stranger's login with the same
// ISID could explain: the target itself closed it in good order, soon after it was up, and
// takes the next login at once. A network that resets connections, a path that flaps or a
// target that keeps restarting does not do all of that, and must not end the device.
func (d *Device) endedByTarget(s *slot, err error) {
	if d.cfg.StrangerLimit <= 0 {
		return
	}
	if !s.prompt || d.now-s.upAt > strangerLife || !errors.Is(err, io.EOF) {
		s.ends = s.ends[:0]
		return
	}
	kept := s.ends[:0]
	for _, t := range s.ends {
		if d.now-t < strangerWindow {
			kept = append(kept, t)
		}
	}
	s.ends = append(kept, d.now)
	for _, o := range d.slots {
		if !o.rec.fenceOnly && len(o.ends) < d.cfg.StrangerLimit {
			return
		}
	}
	d.fatal = &StrangerError{Times: d.cfg.StrangerLimit, Last: err}
}
