package pdu_test

import (
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

func TestHeaderFields(t *testing.T) {
	h := header(t, `41800000 ff800102 40010203 04050607 10111213 20212223
		30313233 40414243 50515253 60616263 70717273 80818283`)
	if h.Opcode() != pdu.OpSCSICommand || !h.Immediate() || !h.Final() {
		t.Errorf("opcode %v, I %v, F %v", h.Opcode(), h.Immediate(), h.Final())
	}
	if h.AHSLen() != pdu.MaxAHSLen || h.DataLen() != 0x800102 || h.LUN() != lun {
		t.Errorf("AHS %d, data %#x, LUN %x", h.AHSLen(), h.DataLen(), h.LUN())
	}
	for i, got := range []uint32{
		h.ITT(), h.TTT(), h.CmdSN(), h.StatSN(), h.ExpStatSN(), h.ExpCmdSN(), h.MaxCmdSN(),
	} {
		want := []uint32{
			0x10111213, 0x20212223, 0x30313233, 0x30313233, 0x40414243, 0x40414243, 0x50515253,
		}[i]
		if got != want {
			t.Errorf("field %d: %#x, want %#x", i, got, want)
		}
	}
	var none pdu.Header
	if none.Immediate() || none.Final() {
		t.Error("flags in an empty header")
	}
}

func TestOpcodes(t *testing.T) {
	known := map[pdu.Opcode]bool{
		0x00: true, 0x01: true, 0x02: true, 0x03: true, 0x04: true, 0x05: true, 0x06: true,
		0x10: true, 0x20: true, 0x21: true, 0x22: true, 0x23: true, 0x24: true, 0x25: true,
		0x26: true, 0x31: true, 0x32: true, 0x3f: true,
	}
	seen := map[string]bool{}
	for o := range pdu.Opcode(0x40) {
		s := o.String()
		if named := !strings.HasPrefix(s, "opcode 0x"); named != known[o] || seen[s] {
			t.Errorf("opcode 0x%02x is %q", uint8(o), s)
		}
		seen[s] = true
	}
}

func TestMarshalLengthRange(t *testing.T) {
	for _, n := range []int{-1, pdu.MaxDataLen + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a data segment of %d bytes was marshalled", n)
				}
			}()
			var h pdu.Header
			pdu.DataOut{DataLen: n}.Marshal(&h)
		}()
	}
	var h pdu.Header
	pdu.DataOut{DataLen: pdu.MaxDataLen}.Marshal(&h)
	if h.DataLen() != pdu.MaxDataLen || h.AHSLen() != 0 {
		t.Errorf("data %d, AHS %d", h.DataLen(), h.AHSLen())
	}
}

func TestProtocolErrorText(t *testing.T) {
	h := header(t, `21860000 00000000 00000000 00000000 0000002a 00000000
		00000000 00000000 00000000 00000000 00000000 00000000`)
	_, err := pdu.ParseSCSIResponse(&h)
	const want = "iscsi: SCSI Response: invalid PDU (tag 0x0000002a): " +
		"overflow and underflow at once"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
