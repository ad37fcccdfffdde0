package mpath

import (
	"errors"
	"fmt"
	"io"
	"syscall"
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
// ISID could explain. A path that flaps, or a target that restarts, would not take every
// session so soon and so often.
func (d *Device) endedByTarget(s *slot, err error) {
	if d.cfg.StrangerLimit <= 0 || d.now-s.upAt > strangerLife || !closedByPeer(err) {
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

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}
