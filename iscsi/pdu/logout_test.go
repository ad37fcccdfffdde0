package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestLogoutRequest(t *testing.T) {
	testGolden(t, pdu.ParseLogoutRequest, []golden[pdu.LogoutRequest]{{
		name: "every field",
		msg: pdu.LogoutRequest{
			Immediate: true, Reason: pdu.LogoutRemoveForRecovery, ITT: 0x10111213,
			CID: 0x2021, CmdSN: 0x30313233, ExpStatSN: 0x40414243,
		},
		wire: `46820000 00000000 00000000 00000000 10111213 20210000
			30313233 40414243 00000000 00000000 00000000 00000000`,
		ignored: `8080ffff ff000000 ffffffff ffffffff 00000000 0000ffff
			00000000 00000000 ffffffff ffffffff ffffffff ffffffff`,
	}})
	const rest = ` 00000000 00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseLogoutRequest, []refused{
		{"reason", `06830000 00000000 00000000 00000000 00000001` + rest,
			pdu.RejectInvalidField, "reserved reason"},
		{"tag", `06800000 00000000 00000000 00000000 ffffffff` + rest,
			pdu.RejectInvalidField, "reserved task tag"},
		{"with data", `06800000 00000001 00000000 00000000 00000001` + rest,
			pdu.RejectInvalidField, "data segment in a PDU that has none"},
	})
}

func TestLogoutResponse(t *testing.T) {
	testGolden(t, pdu.ParseLogoutResponse, []golden[pdu.LogoutResponse]{{
		name: "every field",
		msg: pdu.LogoutResponse{
			Response: pdu.LogoutCleanupFailed, ITT: 0x10111213, StatSN: 0x30313233,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253, Time2Wait: 0x7071, Time2Retain: 0x7273,
		},
		wire: `26800300 00000000 00000000 00000000 10111213 00000000
			30313233 40414243 50515253 00000000 70717273 00000000`,
		ignored: `c0ff00ff ff000000 ffffffff ffffffff 00000000 ffffffff
			00000000 00000000 00000000 ffffffff 00000000 ffffffff`,
	}})
}
