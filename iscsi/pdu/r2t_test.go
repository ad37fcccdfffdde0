package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestR2T(t *testing.T) {
	testGolden(t, pdu.ParseR2T, []golden[pdu.R2T]{{
		name: "every field",
		msg: pdu.R2T{
			LUN: lun, ITT: 0x10111213, TTT: 0x20212223, StatSN: 0x30313233,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253, R2TSN: 0x60616263,
			Offset: 0x70717273, DesiredLen: 0x00818283,
		},
		wire: `31800000 00000000 40010203 04050607 10111213 20212223
			30313233 40414243 50515253 60616263 70717273 00818283`,
		ignored: `c0ffffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const head = ` 00000000 00000000 00000000 00000001 `
	const mid = ` 00000000 00000000 00000000 00000000 `
	testRefused(t, pdu.ParseR2T, []refused{
		{"nothing desired", `31800000` + head + `00000001` + mid + `00000000 00000000`,
			pdu.RejectInvalidField, "no data desired"},
		{"tag", `31800000` + head + `ffffffff` + mid + `00000000 00000001`,
			pdu.RejectInvalidField, "reserved target transfer tag"},
		{"wraps round", `31800000` + head + `00000001` + mid + `fffffff0 00000010`,
			pdu.RejectInvalidField, "data desired beyond any command's end"},
		{"with data", `31800000 00000004 00000000 00000000 00000001 00000001` + mid +
			`00000000 00000001`, pdu.RejectInvalidField, "data segment in a PDU that has none"},
	})
}
