package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestLoginRequest(t *testing.T) {
	testGolden(t, pdu.ParseLoginRequest, []golden[pdu.LoginRequest]{{
		name: "security to operational",
		msg: pdu.LoginRequest{
			Transit: true, NSG: pdu.StageOperational, VersionMax: 1, VersionMin: 2,
			ISID: [6]byte{0x80, 1, 2, 3, 4, 5}, TSIH: 0x0607, ITT: 0x10111213, CID: 0x2021,
			CmdSN: 0x30313233, ExpStatSN: 0x40414243, DataLen: 0x000123,
		},
		wire: `43810102 00000123 80010203 04050607 10111213 20210000
			30313233 40414243 00000000 00000000 00000000 00000000`,
	}, {
		name: "operational to full feature",
		msg: pdu.LoginRequest{
			Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature,
			ISID: [6]byte{0x80}, ITT: 0x10111213,
		},
		wire: `43870000 00000000 80000000 00000000 10111213 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
		ignored: `c0300000 ff000000 00000000 00000000 00000000 0000ffff
			00000000 00000000 ffffffff ffffffff ffffffff ffffffff`,
	}, {
		name: "the text goes on",
		msg:  pdu.LoginRequest{Continue: true, CSG: pdu.StageOperational, DataLen: 8192},
		wire: `43440000 00002000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
		ignored: `c0330000 ff000000 00000000 00000000 00000000 0000ffff
			00000000 00000000 ffffffff ffffffff ffffffff ffffffff`,
	}})
	testRefused(t, pdu.ParseLoginRequest, badStages("43", " 00000000"))
}

func TestLoginResponse(t *testing.T) {
	testGolden(t, pdu.ParseLoginResponse, []golden[pdu.LoginResponse]{{
		name: "every field",
		msg: pdu.LoginResponse{
			Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature,
			VersionMax: 1, VersionActive: 2, ISID: [6]byte{0x80, 1, 2, 3, 4, 5}, TSIH: 0x0607,
			ITT: 0x10111213, StatSN: 0x30313233, ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253,
			DataLen: 0x000123,
		},
		wire: `23870102 00000123 80010203 04050607 10111213 00000000
			30313233 40414243 50515253 00000000 00000000 00000000`,
		ignored: `c0300000 ff000000 00000000 00000000 00000000 ffffffff
			00000000 00000000 00000000 0000ffff ffffffff ffffffff`,
	}, {
		name: "moved",
		msg:  pdu.LoginResponse{StatusClass: 1, StatusDetail: 2},
		wire: `23000000 00000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 01020000 00000000 00000000`,
	}})
	testRefused(t, pdu.ParseLoginResponse, badStages("23", " 00000000"))
}

// A target that refuses a login may leave the stages as they come.
func TestLoginRefusedStages(t *testing.T) {
	h := header(t, `23ff0000 00000000 00000000 00000000 00000000 00000000
		00000000 00000000 00000000 02010000 00000000 00000000`)
	l, err := pdu.ParseLoginResponse(&h)
	if err != nil || l.StatusClass != 2 || l.StatusDetail != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
}

func badStages(op, last string) []refused {
	const rest = `0000 00000000 00000000 00000000 00000000 00000000
		00000000 00000000 00000000 00000000 00000000`
	row := func(name, flags, detail string) refused {
		return refused{name, op + flags + rest + last, pdu.RejectInvalidField, detail}
	}
	return []refused{
		row("reserved stage", "08", "no such login stage"),
		row("logged in already", "0c", "no such login stage"),
		row("T and C", "c1", "T and C both set"),
		row("to the reserved stage", "82", "no such transition of login stages"),
		row("to the same stage", "85", "no such transition of login stages"),
		row("security to itself", "80", "no such transition of login stages"),
		row("back", "84", "no such transition of login stages"),
	}
}
