package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestSNACK(t *testing.T) {
	testGolden(t, pdu.ParseSNACK, []golden[pdu.SNACK]{{
		name: "every field",
		msg: pdu.SNACK{
			Type: pdu.SNACKStatus, LUN: lun, ITT: 0x10111213, TTT: 0x20212223,
			ExpStatSN: 0x40414243, BegRun: 0x70717273, RunLength: 0x80818283,
		},
		wire: `10810000 00000000 40010203 04050607 10111213 20212223
			00000000 40414243 00000000 00000000 70717273 80818283`,
		ignored: `c0f0ffff ff000000 00000000 00000000 00000000 00000000
			ffffffff 00000000 ffffffff ffffffff 00000000 00000000`,
	}, {
		name: "DataACK",
		msg: pdu.SNACK{
			Type: pdu.SNACKDataACK, LUN: lun, ITT: pdu.ReservedTag, TTT: 7, BegRun: 9,
		},
		wire: `10820000 00000000 40010203 04050607 ffffffff 00000007
			00000000 00000000 00000000 00000000 00000009 00000000`,
	}, {
		name: "R-Data",
		msg:  pdu.SNACK{Type: pdu.SNACKRData, ITT: 1, TTT: 2},
		wire: `10830000 00000000 00000000 00000000 00000001 00000002
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const rest = ` 00000000 00000000 00000000 00000001 00000001
		00000000 00000000 00000000 00000000 00000001 `
	testRefused(t, pdu.ParseSNACK, []refused{
		{"type", `10840000` + rest + `00000000`, pdu.RejectInvalidField, "reserved SNACK type"},
		{"DataACK", `10820000` + rest + `00000001`,
			pdu.RejectInvalidDataACK, "DataACK with a run length"},
		{"R-Data", `10830000` + rest + `00000001`,
			pdu.RejectInvalidField, "R-Data SNACK with a run length"},
	})
}
