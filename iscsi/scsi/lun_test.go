package scsi

import "testing"

func TestLUN(t *testing.T) {
	for _, c := range []struct {
		n     uint16
		bytes string
	}{
		{0, "0000000000000000"},
		{1, "0001000000000000"},
		{255, "00ff000000000000"},
		{256, "4100000000000000"},
		{16383, "7fff000000000000"},
		{16384, "d200400000000000"},
		{65535, "d200ffff00000000"},
	} {
		l := EncodeLUN(c.n)
		equalBytes(t, l[:], unhex(t, c.bytes))
		n, ok := l.Number()
		equal(t, ok, true)
		equal(t, n, uint32(c.n))
	}
	n, ok := LUN(unhex(t, "012c000000000000")).Number()
	equal(t, ok, true)
	equal(t, n, uint32(300)) // as the Linux target writes it
	equal(t, EncodeLUN(300).String(), "300")

	for _, s := range []string{
		"0001000100000000", // two levels
		"8001000000000000", // logical unit addressing
		"c101000000000000", // a well known logical unit
		"d200400000000001",
	} {
		l := LUN(unhex(t, s))
		_, ok := l.Number()
		equal(t, ok, false)
		equal(t, l.String(), s)
	}
}

func TestLUNs(t *testing.T) {
	list, need, err := ParseLUNs(unhex(t, tgtLUNs))
	noError(t, err)
	equal(t, need, uint64(24))
	equal(t, list, []LUN{EncodeLUN(0), EncodeLUN(1)})
	equalBytes(t, AppendLUNs(nil, list), unhex(t, tgtLUNs))

	b := unhex(t, lioLUNs)
	list, need, err = ParseLUNs(b[:20]) // cut by the allocation length
	noError(t, err)
	equal(t, need, uint64(32))
	equal(t, list, []LUN{EncodeLUN(0)})
	list, _, err = ParseLUNs(b)
	noError(t, err)
	equal(t, list[2].String(), "300")

	list, need, err = ParseLUNs(unhex(t, "ffffffff 00000000"))
	noError(t, err)
	equal(t, need, uint64(1<<32+7))
	equal(t, len(list), 0)
	_, _, err = ParseLUNs(make([]byte, 7))
	wantFormatError(t, err)
}
