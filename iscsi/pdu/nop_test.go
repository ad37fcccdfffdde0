package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestNopOut(t *testing.T) {
	testGolden(t, pdu.ParseNopOut, []golden[pdu.NopOut]{{
		name: "every field",
		msg: pdu.NopOut{
			Immediate: true, LUN: lun, ITT: 0x10111213, TTT: 0x20212223, CmdSN: 0x30313233,
			ExpStatSN: 0x40414243, DataLen: 3,
		},
		wire: `40800000 00000003 40010203 04050607 10111213 20212223
			30313233 40414243 00000000 00000000 00000000 00000000`,
		ignored: `80ffffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 ffffffff ffffffff ffffffff ffffffff`,
	}, {
		name: "no answer wanted",
		msg:  pdu.NopOut{Immediate: true, ITT: pdu.ReservedTag, TTT: pdu.ReservedTag},
		wire: `40800000 00000000 00000000 00000000 ffffffff ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	testRefused(t, pdu.ParseNopOut, []refused{{
		"no tag and not immediate", `00800000 00000000 00000000 00000000 ffffffff ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
		pdu.RejectInvalidField, "neither a task tag nor immediate",
	}})
}

func TestNopIn(t *testing.T) {
	testGolden(t, pdu.ParseNopIn, []golden[pdu.NopIn]{{
		name: "every field",
		msg: pdu.NopIn{
			LUN: lun, ITT: 0x10111213, TTT: 0x20212223, StatSN: 0x30313233,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253, DataLen: 3,
		},
		wire: `20800000 00000003 40010203 04050607 10111213 20212223
			30313233 40414243 50515253 00000000 00000000 00000000`,
		ignored: `c0ffffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 ffffffff ffffffff ffffffff`,
	}})
}
