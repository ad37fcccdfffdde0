package pdu_test

import (
	"bytes"
	"testing"

	"braid/iscsi/pdu"
)

// The examples of RFC 3720 appendix B.4, bytes as they stand on the wire.
func TestDigestExamples(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range up {
		up[i], down[31-i] = byte(i), byte(i)
	}
	read := header(t, `01c00000 00000000 00000000 00000000 14000000 00000400
		00000014 00000018 28000000 00000000 02000000 00000000`)
	for _, row := range []struct {
		name string
		in   []byte
		want [4]byte
	}{
		{"32 zeroes", make([]byte, 32), [4]byte{0xaa, 0x36, 0x91, 0x8a}},
		{"32 ones", bytes.Repeat([]byte{0xff}, 32), [4]byte{0x43, 0xab, 0xa8, 0x62}},
		{"counting up", up, [4]byte{0x4e, 0x79, 0xdd, 0x46}},
		{"counting down", down, [4]byte{0x5c, 0xdb, 0x3f, 0x11}},
		{"a READ(10)", read[:], [4]byte{0x56, 0x3a, 0x96, 0xd9}},
	} {
		var got [4]byte
		pdu.PutDigest(got[:], pdu.Digest(row.in))
		if got != row.want {
			t.Errorf("%s: % x, want % x", row.name, got, row.want)
		}
		if pdu.GetDigest(row.want[:]) != pdu.Digest(row.in) {
			t.Errorf("%s: read back otherwise", row.name)
		}
		crc := pdu.UpdateDigest(pdu.Digest(row.in[:5]), row.in[5:])
		if crc != pdu.Digest(row.in) {
			t.Errorf("%s: in two pieces it differs", row.name)
		}
	}
}

func TestPadLen(t *testing.T) {
	for n, want := range []int{0, 3, 2, 1, 0, 3} {
		if got := pdu.PadLen(n); got != want {
			t.Errorf("PadLen(%d) is %d", n, got)
		}
	}
}
