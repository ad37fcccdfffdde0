package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestTextRequest(t *testing.T) {
	testGolden(t, pdu.ParseTextRequest, []golden[pdu.TextRequest]{{
		name: "every field",
		msg: pdu.TextRequest{
			Immediate: true, Final: true, LUN: lun, ITT: 0x10111213, TTT: 0x20212223,
			CmdSN: 0x30313233, ExpStatSN: 0x40414243, DataLen: 16,
		},
		wire: `44800000 00000010 40010203 04050607 10111213 20212223
			30313233 40414243 00000000 00000000 00000000 00000000`,
		ignored: `803fffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 ffffffff ffffffff ffffffff ffffffff`,
	}, {
		name: "goes on",
		msg:  pdu.TextRequest{Continue: true, ITT: 1, TTT: pdu.ReservedTag},
		wire: `04400000 00000000 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const rest = ` ffffffff 00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseTextRequest, []refused{
		{"F and C", `04c00000 00000000 00000000 00000000 00000001` + rest,
			pdu.RejectInvalidField, "F and C both set"},
		{"tag", `04800000 00000000 00000000 00000000 ffffffff` + rest,
			pdu.RejectInvalidField, "reserved task tag"},
	})
}

func TestTextResponse(t *testing.T) {
	testGolden(t, pdu.ParseTextResponse, []golden[pdu.TextResponse]{{
		name: "every field",
		msg: pdu.TextResponse{
			Continue: true, LUN: lun, ITT: 0x10111213, TTT: 0x20212223, StatSN: 0x30313233,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253, DataLen: 16,
		},
		wire: `24400000 00000010 40010203 04050607 10111213 20212223
			30313233 40414243 50515253 00000000 00000000 00000000`,
		ignored: `c03fffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 ffffffff ffffffff ffffffff`,
	}, {
		name: "the end",
		msg:  pdu.TextResponse{Final: true, ITT: 1, TTT: pdu.ReservedTag},
		wire: `24800000 00000000 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	testRefused(t, pdu.ParseTextResponse, []refused{{
		"F and C", `24c00000 00000000 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
		pdu.RejectInvalidField, "F and C both set",
	}})
}
