package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestTaskRequest(t *testing.T) {
	testGolden(t, pdu.ParseTaskRequest, []golden[pdu.TaskRequest]{{
		name: "every field",
		msg: pdu.TaskRequest{
			Immediate: true, Function: pdu.TaskReassign, LUN: lun, ITT: 0x10111213,
			RefTag: 0x20212223, CmdSN: 0x30313233, ExpStatSN: 0x40414243,
			RefCmdSN: 0x50515253, ExpDataSN: 0x60616263,
		},
		wire: `42880000 00000000 40010203 04050607 10111213 20212223
			30313233 40414243 50515253 60616263 00000000 00000000`,
		ignored: `8080ffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 00000000 ffffffff ffffffff`,
	}, {
		name: "a function not known",
		msg:  pdu.TaskRequest{Function: 0x7f, ITT: 1, RefTag: pdu.ReservedTag},
		wire: `02ff0000 00000000 00000000 00000000 00000001 ffffffff
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const rest = ` 00000001 00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseTaskRequest, []refused{
		{"with data", `02810000 00000001 00000000 00000000 00000001` + rest,
			pdu.RejectInvalidField, "data segment in a PDU that has none"},
		{"tag", `02810000 00000000 00000000 00000000 ffffffff` + rest,
			pdu.RejectInvalidField, "reserved task tag"},
	})
}

func TestTaskResponse(t *testing.T) {
	testGolden(t, pdu.ParseTaskResponse, []golden[pdu.TaskResponse]{{
		name: "every field",
		msg: pdu.TaskResponse{
			Response: pdu.TaskFunctionRejected, ITT: 0x10111213, StatSN: 0x30313233,
			ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253,
		},
		wire: `2280ff00 00000000 00000000 00000000 10111213 00000000
			30313233 40414243 50515253 00000000 00000000 00000000`,
		ignored: `c0ff00ff ff000000 ffffffff ffffffff 00000000 ffffffff
			00000000 00000000 00000000 ffffffff ffffffff ffffffff`,
	}})
}

// The numbers of the functions as the RFC has them.
func TestTaskFunctions(t *testing.T) {
	for i, f := range []uint8{
		pdu.AbortTask, pdu.AbortTaskSet, pdu.ClearACA, pdu.ClearTaskSet,
		pdu.LUNReset, pdu.TargetWarmReset, pdu.TargetColdReset, pdu.TaskReassign,
	} {
		if int(f) != i+1 {
			t.Errorf("function %d is %d", i+1, f)
		}
	}
}
