package mpath

import (
	"errors"
	"testing"

	"braid/iscsi/scsi"
)

// TestJudge holds the table of what errors of commands mean against what it is to be.
func TestJudge(t *testing.T) {
	sense := func(key scsi.Key, asc, ascq uint8) error {
		return &scsi.StatusError{Status: scsi.CheckCondition,
			Sense: scsi.Sense{Key: key, ASC: asc, ASCQ: ascq}}
	}
	status := func(s scsi.Status) error { return &scsi.StatusError{Status: s} }
	for _, test := range []struct {
		name   string
		err    error
		action action
		errno  Errno
		notice scsi.Attention
	}{
		{"lost", &scsi.NexusLostError{Sent: true}, lost, OK, scsi.NotAttention},
		{"busy", status(scsi.Busy), later, OK, scsi.NotAttention},
		{"task set full", status(scsi.TaskSetFull), later, OK, scsi.NotAttention},
		{"task aborted", status(scsi.TaskAborted), again, OK, scsi.NotAttention},
		{"reservation conflict", status(scsi.ReservationConflict), refuse, EIO,
			scsi.ReservationsChanged},
		{"recovered error", sense(scsi.RecoveredError, 0x0c, 0x01), done, EIO, scsi.NotAttention},
		{"power on", sense(scsi.UnitAttention, 0x29, 0x01), again, OK, scsi.CacheLoss},
		{"nexus loss", sense(scsi.UnitAttention, 0x29, 0x07), again, OK, scsi.NexusLoss},
		{"capacity", sense(scsi.UnitAttention, 0x2a, 0x09), again, OK, scsi.CapacityChanged},
		{"aborted", sense(scsi.AbortedCommand, 0x47, 0x05), again, OK, scsi.NotAttention},
		{"becoming ready", sense(scsi.NotReady, 0x04, 0x01), later, OK, scsi.NotAttention},
		{"in transition", sense(scsi.NotReady, 0x04, 0x0a), inaccessible, OK, scsi.NotAttention},
		{"standby", sense(scsi.NotReady, 0x04, 0x0b), inaccessible, OK, scsi.NotAttention},
		{"no medium", sense(scsi.NotReady, 0x3a, 0x00), elsewhere, EIO, scsi.NotAttention},
		{"hardware", sense(scsi.HardwareError, 0x44, 0x00), elsewhere, EIO, scsi.NotAttention},
		{"medium", sense(scsi.MediumError, 0x11, 0x00), refuse, EIO, scsi.NotAttention},
		{"pool full", sense(scsi.DataProtect, 0x27, 0x07), refuse, ENOSPC, scsi.NotAttention},
		{"write protected", sense(scsi.DataProtect, 0x27, 0x00), refuse, EPERM, scsi.NotAttention},
		{"unknown opcode", sense(scsi.IllegalRequest, 0x20, 0x00), demote, EIO, scsi.NotAttention},
		{"out of range", sense(scsi.IllegalRequest, 0x21, 0x00), refuse, EINVAL, scsi.NotAttention},
		{"no such LUN", sense(scsi.IllegalRequest, 0x25, 0x00), unreachable, OK, scsi.NotAttention},
		{"not of SCSI", errors.New("?"), refuse, EIO, scsi.NotAttention},
	} {
		v := judge(test.err)
		if v.action != test.action || v.errno != test.errno || v.notice != test.notice {
			t.Errorf("%s: action %d, errno %d, %v; want %d, %d, %v", test.name,
				v.action, v.errno, v.notice, test.action, test.errno, test.notice)
		}
	}
}
