package scsi

import (
	"slices"
	"strings"
	"testing"
)

func TestParseDeviceIDTgt(t *testing.T) {
	b := unhex(t, tgtDeviceID)
	id, err := ParseDeviceID(b)
	noError(t, err)
	equal(t, id, DeviceID{
		{CodeSet: ASCII, Type: T10VendorID, Value: append([]byte("IET     00010001"),
			make([]byte, 20)...)},
		{CodeSet: Binary, Type: NAA, Value: unhex(t, "3000000100000001")},
		{CodeSet: Binary, Type: NAA, Value: unhex(t, "60000000000000000e00000000010001")},
	})
	equal(t, id.Identity(), "naa.60000000000000000e00000000010001")
	equalBytes(t, id.Append(nil), b)
	_, ok := id.RelativeTargetPort()
	equal(t, ok, false)

	equal(t, id[:2].Identity(), "naa.3000000100000001")
	equal(t, id[:1].Identity(), "t10.IET_____00010001")
}

func TestParseDeviceIDLinux(t *testing.T) {
	b := unhex(t, lioDeviceID)
	id, err := ParseDeviceID(b)
	noError(t, err)
	equal(t, len(id), 7)
	equal(t, id.Identity(), "naa.600140588b1f5e00d3c4b6f8f8e1d2f3")
	equal(t, id[1:].Identity(), "t10.LIO-ORG_ram0:88b1f5e0-0d3c-4b6f-8f8e-1d2f3a4b5c6d")
	equal(t, id[2:].Identity(), "") // ports and the target are not the unit
	equal(t, id[5].Protocol, ProtocolISCSI)
	equal(t, id[5].ProtocolValid, true)
	equal(t, strings.TrimRight(string(id[5].Value), "\x00"), "iqn.2026-01.test:t,t,0x0001")
	equal(t, id[6].Association, OfTarget)

	port, ok := id.RelativeTargetPort()
	equal(t, ok, true)
	equal(t, port, uint16(2))
	group, ok := id.TargetPortGroup()
	equal(t, ok, true)
	equal(t, group, uint16(0x10))
	equalBytes(t, id.Append(nil), b)

	// Cut anywhere, what is whole is read.
	for n := 4; n < len(b); n++ {
		part, err := ParseDeviceID(b[:n])
		noError(t, err)
		if len(part) >= len(id) {
			t.Errorf("%d bytes give %d designators", n, len(part))
		}
		equal(t, append(DeviceID{}, part...), append(DeviceID{}, id[:len(part)]...))
	}
}

// The values stay although the buffer is used again.
func TestDeviceIDCopies(t *testing.T) {
	b := unhex(t, lioDeviceID)
	id, err := ParseDeviceID(b)
	noError(t, err)
	clear(b)
	equal(t, id.Identity(), "naa.600140588b1f5e00d3c4b6f8f8e1d2f3")
}

func TestIdentityRank(t *testing.T) {
	lu := func(c CodeSet, typ DesignatorType, value string) Designator {
		return Designator{CodeSet: c, Type: typ, Value: []byte(value)}
	}
	naa := func(digits string) Designator { return lu(Binary, NAA, string(unhex(t, digits))) }
	eui := func(digits string) Designator { return lu(Binary, EUI64, string(unhex(t, digits))) }
	port := naa("5001405000000001")
	port.Association = OfTargetPort

	// Best first. Whatever begins with a dash does not count at all.
	order := []struct {
		name string
		d    Designator
	}{
		{"naa.60014050000000000000000000000001", naa("60014050000000000000000000000001")},
		{"naa.60014050000000000000000000000002", naa("60014050000000000000000000000002")},
		{"naa.5001405000000009", naa("5001405000000009")},
		{"naa.2001405000000009", naa("2001405000000009")},
		{"naa.3001405000000009", naa("3001405000000009")},
		{"eui.00000000000000010014050000000001", eui("00000000000000010014050000000001")},
		{"eui.001405000000000100000001", eui("001405000000000100000001")},
		{"eui.0014050000000001", eui("0014050000000001")},
		{"iqn.2026-01.test:lu,L,0x1", lu(UTF8, SCSINameString, "iqn.2026-01.test:lu,L,0x1\x00\x00\x00")},
		{"t10.ACME____a%2fb%0a%25_c", lu(ASCII, T10VendorID, "ACME    a/b\n% c   ")},
		{"-", lu(Binary, VendorSpecificID, "12345678")},
		{"-", lu(Binary, MD5ID, "1234567812345678")},
		{"-", port},
		{"-", naa("6001405000000000")}, // too short for its kind
		{"-", naa("7001405000000000")}, // no such format
		{"-", naa("")},
		{"-", lu(ASCII, NAA, "naa.5001")}, // NAA is binary
		{"-", eui("0000000000000000")},    // nobody filled it in
		{"-", eui("001405")},
		{"-", lu(ASCII, T10VendorID, "      ")},
	}
	for i := range order {
		var id DeviceID
		for _, x := range order[i:] {
			id = append(id, x.d)
		}
		want := order[i].name
		if want == "-" {
			want = ""
		}
		equal(t, id.Identity(), want)
		slices.Reverse(id)
		equal(t, id.Identity(), want)
	}
}

func TestDesignatorTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a designator of 256 bytes was written")
		}
	}()
	DeviceID{{Value: make([]byte, 256)}}.Append(nil)
}
