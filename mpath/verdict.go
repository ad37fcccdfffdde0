package mpath

import (
	"errors"

	"braid/iscsi/scsi"
)

// An action is what is to be done about a command that did not succeed.
type action uint8

const (
	again        action = iota // at once, on any path
	later                      // after a pause
	elsewhere                  // this path cannot do it: on another one, if there is
	refuse                     // the device's answer is final
	lost                       // the nexus is gone, nobody knows
	demote                     // like later, but a simpler command may do
	inaccessible               // not through this port now: on another path, when there is one
	unreachable                // the path does not lead to the LUN any more
	done                       // it was done, with an effort that the device tells of
)

// A verdict is what an error means for the command that met it.
type verdict struct {
	action action
	errno  Errno
	sent   bool // lost: a byte of it may have left
	notice scsi.Attention
	access scsi.AccessState // inaccessible: what the port is
	status *scsi.StatusError
}

// judge is the one place that knows what errors of commands mean.
func judge(err error) verdict {
	if isLost, sent := scsi.Lost(err); isLost {
		return verdict{action: lost, sent: sent}
	}
	var s *scsi.StatusError
	if !errors.As(err, &s) {
		return verdict{action: refuse, errno: EIO}
	}
	v := verdict{status: s}
	switch s.Status {
	case scsi.Busy, scsi.TaskSetFull, scsi.ACAActive:
		v.action = later
	case scsi.TaskAborted:
		v.action = again
	case scsi.CheckCondition:
		v.action, v.errno = judgeSense(s.Sense)
		v.notice = s.Sense.Attention()
		if state, ok := s.Sense.InAccessState(); ok {
			v.action, v.errno, v.access = inaccessible, OK, state
		}
		if s.Sense.Deferred {
			// An earlier command, which had ended with GOOD, did not get to the medium,
			// and nobody knows which. This one was not executed.
			v.action, v.notice = again, scsi.CacheLoss
		}
	case scsi.ReservationConflict:
		v.action, v.errno, v.notice = refuse, EIO, scsi.ReservationsChanged
	default:
		v.action, v.errno = refuse, EIO
	}
	return v
}

func judgeSense(s scsi.Sense) (action, Errno) {
	switch s.Key {
	case scsi.UnitAttention, scsi.AbortedCommand:
		return again, OK
	case scsi.NoSense, scsi.RecoveredError, scsi.Completed:
		return done, EIO
	case scsi.NotReady:
		if s.ASC == 0x04 { // becoming ready
			return later, OK
		}
		return elsewhere, EIO
	case scsi.HardwareError:
		return elsewhere, EIO
	case scsi.DataProtect:
		if s.ASC == 0x27 && s.ASCQ == 0x07 { // space allocation failed
			return refuse, ENOSPC
		}
		return refuse, EPERM
	case scsi.IllegalRequest:
		switch s.ASC {
		case 0x20, 0x24, 0x26: // opcode, field in CDB, field in parameter list
			return demote, EIO
		case 0x21: // LBA out of range
			return refuse, EINVAL
		case 0x25: // logical unit not supported
			return unreachable, OK
		}
		return refuse, EIO
	}
	return refuse, EIO
}
