package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestDataOut(t *testing.T) {
	testGolden(t, pdu.ParseDataOut, []golden[pdu.DataOut]{{
		name: "every field",
		msg: pdu.DataOut{
			Final: true, LUN: lun, ITT: 0x10111213, TTT: 0x20212223, ExpStatSN: 0x40414243,
			DataSN: 0x60616263, Offset: 0x70717273, DataLen: 0x040000,
		},
		wire: `05800000 00040000 40010203 04050607 10111213 20212223
			00000000 40414243 00000000 60616263 70717273 00000000`,
		ignored: `c07fffff ff000000 00000000 00000000 00000000 00000000
			ffffffff 00000000 ffffffff 00000000 00000000 ffffffff`,
	}, {
		name: "unsolicited, not the last",
		msg:  pdu.DataOut{ITT: 1, TTT: pdu.ReservedTag, DataLen: 1},
		wire: `05000000 00000001 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
}

func TestDataIn(t *testing.T) {
	testGolden(t, pdu.ParseDataIn, []golden[pdu.DataIn]{{
		name: "with status",
		msg: pdu.DataIn{
			Final: true, Underflow: true, HasStatus: true, Status: 4, LUN: lun,
			ITT: 0x10111213, TTT: 0x20212223, StatSN: 0x30313233, ExpCmdSN: 0x40414243,
			MaxCmdSN: 0x50515253, DataSN: 0x60616263, Offset: 0x70717273,
			Residual: 0x80818283, DataLen: 0x001000,
		},
		wire: `25830004 00001000 40010203 04050607 10111213 20212223
			30313233 40414243 50515253 60616263 70717273 80818283`,
		ignored: `c038ff00 ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}, {
		name: "without status",
		msg: pdu.DataIn{
			Acknowledge: true, LUN: lun, ITT: 0x10111213, TTT: 0x20212223,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253, DataSN: 0x60616263,
			Offset: 0x70717273, DataLen: 0x001000,
		},
		wire: `25400000 00001000 40010203 04050607 10111213 20212223
			00000000 40414243 50515253 60616263 70717273 00000000`,
	}, {
		name: "the last, overflow",
		msg: pdu.DataIn{
			Final: true, HasStatus: true, Overflow: true, ITT: 1, TTT: pdu.ReservedTag,
		},
		wire: `25850000 00000000 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const rest = ` 00000000 00000000 00000000 00000001 00000000
		00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseDataIn, []refused{
		{"status, not final", `25010000` + rest, pdu.RejectInvalidField, "status without F"},
		{"O and U", `25870000` + rest, pdu.RejectInvalidField, "overflow and underflow at once"},
	})
}

// What only goes with a status is not taken for one without, nor sent.
func TestDataInWithoutStatus(t *testing.T) {
	h := header(t, `25860008 00000000 00000000 00000000 00000001 ffffffff
		11111111 00000000 00000000 00000000 00000000 22222222`)
	d, err := pdu.ParseDataIn(&h)
	want := pdu.DataIn{Final: true, ITT: 1, TTT: pdu.ReservedTag}
	if err != nil || d != want {
		t.Fatalf("%+v, %v", d, err)
	}
	d.Overflow, d.Underflow, d.Status, d.StatSN, d.Residual = true, true, 8, 1, 2
	d.Marshal(&h)
	if got, _ := pdu.ParseDataIn(&h); got != want || h[1] != 0x80 {
		t.Fatalf("%+v, flags 0x%02x", got, h[1])
	}
}
