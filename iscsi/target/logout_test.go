package target

import (
	"testing"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// answered is a command whose status was sent and not acknowledged.
func (p *peer) answered() (itt, statSN uint32) {
	p.b.Helper()
	c := p.command(scsi.TestUnitReady(), nil, 0)
	list := p.ask(c, nil)
	if len(list) != 1 {
		p.b.Fatalf("CmdSN %d: %q", c.CmdSN, p.notes(list))
	}
	return c.ITT, list[0].StatSN()
}

// ExpStatSN of a Logout that names another connection is that one's (RFC 7143 section
// 11.14.4): the status before it is forgotten there, and what comes after it is kept.
func TestLogoutAcknowledgesTheOther(t *testing.T) {
	for _, dead := range []bool{true, false} {
		_, one, two := pair(t, Config{})
		heard, _ := one.answered()
		unheard, exp := one.answered()
		two.cmdSN = one.cmdSN
		if dead {
			one.dies()
		}
		two.ask(pdu.LogoutRequest{Immediate: true, Reason: pdu.LogoutRemoveForRecovery, ITT: 900,
			CID: 1, CmdSN: two.cmdSN, ExpStatSN: exp}, nil)
		for itt, want := range map[uint32]uint8{heard: pdu.TaskDoesNotExist,
			unheard: pdu.TaskFunctionComplete} {
			if list := two.reassign(itt, 0); len(list) == 0 || list[0].Header[2] != want {
				t.Errorf("task %d: %s, wanted response %d", itt, two.notes(list), want)
			}
		}
	}
}

// It acknowledges nothing on the connection that carries the Logout, but for one that
// closes that connection or the session.
func TestLogoutLeavesItsCarrier(t *testing.T) {
	for _, x := range []struct {
		what   string
		reason uint8
		cid    uint16
		kept   bool
	}{
		{"for recovery", pdu.LogoutRemoveForRecovery, 1, true},
		{"close the other", pdu.LogoutCloseConnection, 1, true},
		{"one that does not exist", pdu.LogoutCloseConnection, 9, true},
		{"close its own", pdu.LogoutCloseConnection, 2, false},
		{"close the session", pdu.LogoutCloseSession, 0, false},
	} {
		t.Run(x.what, func(t *testing.T) {
			_, one, two := pair(t, Config{})
			two.cmdSN = one.cmdSN
			_, statSN := two.answered()
			h := pdu.LogoutRequest{Immediate: true, Reason: x.reason, ITT: 900, CID: x.cid,
				CmdSN: two.cmdSN, ExpStatSN: statSN + 1}
			if x.kept {
				two.ask(h, nil)
				list := two.snack(pdu.SNACKStatus, pdu.ReservedTag, statSN, 1)
				if len(list) != 1 || list[0].StatSN() != statSN ||
					list[0].Opcode() != pdu.OpSCSIResponse {
					t.Errorf("the status is gone: %s", two.notes(list))
				}
				return
			}
			two.push(h, nil)
			two.sendOnly()
			if two.c.acked != statSN+1 {
				t.Errorf("acknowledged up to %d, status %d was", two.c.acked, statSN)
			}
		})
	}
}
