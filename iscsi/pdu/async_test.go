package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestAsync(t *testing.T) {
	testGolden(t, pdu.ParseAsync, []golden[pdu.Async]{{
		name: "every field",
		msg: pdu.Async{
			Event: pdu.AsyncDropConnection, VendorCode: 0x61, Param1: 0x6263, Param2: 0x7071,
			Param3: 0x7273, LUN: lun, StatSN: 0x30313233, ExpCmdSN: 0x40414243,
			MaxCmdSN: 0x50515253, DataLen: 0x24,
		},
		wire: `32800000 00000024 40010203 04050607 ffffffff 00000000
			30313233 40414243 50515253 02616263 70717273 00000000`,
		ignored: `c0ffffff ff000000 00000000 00000000 ffffffff ffffffff
			00000000 00000000 00000000 00000000 00000000 ffffffff`,
	}})
}
