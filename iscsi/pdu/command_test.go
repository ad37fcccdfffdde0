package pdu_test

import (
	"bytes"
	"testing"

	"braid/iscsi/pdu"
)

func TestSCSICommand(t *testing.T) {
	testGolden(t, pdu.ParseSCSICommand, []golden[pdu.SCSICommand]{{
		// RFC 3720 appendix B.4: the example of a PDU with its CRC.
		name: "read10 of the RFC",
		msg: pdu.SCSICommand{
			Final: true, Read: true, ITT: 0x14000000, ExpectedLen: 1024, CmdSN: 20,
			ExpStatSN: 24, CDB: [16]byte{0: 0x28, 8: 2},
		},
		wire: `01c00000 00000000 00000000 00000000 14000000 00000400
			00000014 00000018 28000000 00000000 02000000 00000000`,
	}, {
		name: "write with immediate data",
		msg: pdu.SCSICommand{
			Immediate: true, Write: true, Attr: pdu.AttrOrdered, LUN: lun, ITT: 0x10111213,
			ExpectedLen: 0x20212223, CmdSN: 0x30313233, ExpStatSN: 0x40414243,
			CDB:     [16]byte{0x8a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
			DataLen: 0x010203,
		},
		wire: `41220000 00010203 40010203 04050607 10111213 20212223
			30313233 40414243 8a010203 04050607 08090a0b 0c0d0e0f`,
		ignored: `8018ffff ff000000 00000000 00000000 00000000 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}, {
		name: "no data",
		msg:  pdu.SCSICommand{Final: true, Attr: pdu.AttrSimple, ITT: 1, CDB: [16]byte{0x35}},
		wire: `01810000 00000000 00000000 00000000 00000001 00000000
			00000000 00000000 35000000 00000000 00000000 00000000`,
	}})
}

func TestSCSICommandRefused(t *testing.T) {
	const rest = ` 00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseSCSICommand, []refused{
		{"opcode", `02c00000 00000000 00000000 00000000 00000001 00000200` + rest,
			pdu.RejectProtocolError, "not the PDU that was expected: SCSI Command"},
		{"tag", `01c00000 00000000 00000000 00000000 ffffffff 00000200` + rest,
			pdu.RejectInvalidField, "reserved task tag"},
		{"attribute", `01c50000 00000000 00000000 00000000 00000001 00000200` + rest,
			pdu.RejectInvalidField, "reserved task attribute"},
		{"neither W nor F", `01400000 00000000 00000000 00000000 00000001 00000200` + rest,
			pdu.RejectInvalidField, "neither W nor F set"},
		{"neither W nor R", `01800000 00000000 00000000 00000000 00000001 00000200` + rest,
			pdu.RejectInvalidField, "data expected, but neither R nor W set"},
		{"immediate data of a read", `01c00000 00000200 00000000 00000000 00000001 00000200` + rest,
			pdu.RejectInvalidField, "immediate data without W"},
	})
}

func TestSCSIResponse(t *testing.T) {
	testGolden(t, pdu.ParseSCSIResponse, []golden[pdu.SCSIResponse]{{
		name: "underflow with sense",
		msg: pdu.SCSIResponse{
			Underflow: true, Response: 1, Status: 2, ITT: 0x10111213, SNACKTag: 0x20212223,
			StatSN: 0x30313233, ExpCmdSN: 0x40414243, MaxCmdSN: 0x50515253,
			ExpDataSN: 0x60616263, BidiResidual: 0x70717273, Residual: 0x80818283, DataLen: 20,
		},
		wire: `21820102 00000014 00000000 00000000 10111213 20212223
			30313233 40414243 50515253 60616263 70717273 80818283`,
		ignored: `c0e10000 ff000000 ffffffff ffffffff 00000000 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}, {
		name: "overflow, both ways",
		msg:  pdu.SCSIResponse{Overflow: true, BidiUnderflow: true, ITT: 1},
		wire: `218c0000 00000000 00000000 00000000 00000001 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}, {
		name: "bidirectional overflow",
		msg:  pdu.SCSIResponse{BidiOverflow: true, ITT: 1},
		wire: `21900000 00000000 00000000 00000000 00000001 00000000
			00000000 00000000 00000000 00000000 00000000 00000000`,
	}})
	const rest = ` 00000000 00000000 00000000 00000001 00000000
		00000000 00000000 00000000 00000000 00000000 00000000`
	testRefused(t, pdu.ParseSCSIResponse, []refused{
		{"O and U", `21860000` + rest,
			pdu.RejectInvalidField, "overflow and underflow at once"},
		{"o and u", `21980000` + rest,
			pdu.RejectInvalidField, "overflow and underflow at once"},
	})
}

func TestSenseData(t *testing.T) {
	sense := []byte{0x70, 0, 6, 0, 0, 0, 0, 10}
	segment := pdu.AppendSense([]byte{0xee}, sense)[1:]
	if want := append([]byte{0, 8}, sense...); !bytes.Equal(segment, want) {
		t.Fatalf("AppendSense: % x", segment)
	}
	for _, row := range []struct {
		name     string
		in, want []byte
	}{
		{"whole", segment, sense},
		{"bytes behind it", append(segment[:10:10], 1, 2), sense},
		{"cut short", segment[:5], sense[:3]},
		{"length alone", segment[:2], nil},
		{"half a length", segment[:1], nil},
		{"length zero", []byte{0, 0, 1}, nil},
		{"nothing", nil, nil},
	} {
		if got := pdu.SenseData(row.in); !bytes.Equal(got, row.want) {
			t.Errorf("%s: % x, want % x", row.name, got, row.want)
		}
	}
}

func TestAppendSenseTooLong(t *testing.T) {
	if got := pdu.AppendSense(nil, make([]byte, 0xffff)); len(got) != 2+0xffff {
		t.Errorf("%d bytes", len(got))
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	pdu.AppendSense(nil, make([]byte, 0x10000))
}
