package pdu_test

import (
	"testing"

	"braid/iscsi/pdu"
)

func TestSerial(t *testing.T) {
	const half = 1 << 31
	for _, row := range []struct {
		a, b         uint32
		less, lessEq bool
		max          uint32
	}{
		{0, 0, false, true, 0},
		{0, 1, true, true, 1},
		{1, 0, false, false, 1},
		{0xffffffff, 0, true, true, 0},
		{0, 0xffffffff, false, false, 0},
		{0xfffffff0, 0x10, true, true, 0x10},
		{0, half - 1, true, true, half - 1},
		{half - 1, 0, false, false, half - 1},
		{0, half, false, false, 0},
		{half, 0, false, false, half},
		{0, half + 1, false, false, 0},
		{half + 1, 0, true, true, 0},
	} {
		if got := pdu.Less(row.a, row.b); got != row.less {
			t.Errorf("Less(%#x, %#x) is %v", row.a, row.b, got)
		}
		if got := pdu.LessEq(row.a, row.b); got != row.lessEq {
			t.Errorf("LessEq(%#x, %#x) is %v", row.a, row.b, got)
		}
		if got := pdu.Max(row.a, row.b); got != row.max {
			t.Errorf("Max(%#x, %#x) is %#x", row.a, row.b, got)
		}
	}
}
