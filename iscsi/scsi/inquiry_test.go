package scsi

import "testing"

func TestParseInquiry(t *testing.T) {
	d, err := ParseInquiry(unhex(t, tgtInquiry))
	noError(t, err)
	equal(t, d, InquiryData{
		Version: 5, HiSup: true, CommandQueuing: true,
		Vendor: "IET", Product: "VIRTUAL-DISK", Revision: "0001",
		Descriptors: [8]uint16{0x04c0, 0x0960, 0x0300},
	})
	equal(t, d.Present(), true)

	d, err = ParseInquiry(unhex(t, tgtNoUnit))
	noError(t, err)
	equal(t, d.PeripheralQualifier, QualifierNone)
	equal(t, d.DeviceType, UnknownType)
	equal(t, d.Present(), false)

	d, err = ParseInquiry(unhex(t, lioInquiry))
	noError(t, err)
	equal(t, d, InquiryData{
		Version: 6, TPGS: TPGSBoth, CommandQueuing: true,
		Vendor: "LIO-ORG", Product: "ram0", Revision: "4.0",
		Descriptors: [8]uint16{0x00a0, 0x0960, 0x0460, 0x04c0},
	})
}

func TestInquiryRoundTrip(t *testing.T) {
	want := InquiryData{
		DeviceType: DiskType, Removable: true, Version: 6, HiSup: true, TPGS: TPGSImplicit,
		ThirdPartyCopy: true, Protect: true, MultiPort: true, CommandQueuing: true,
		Vendor: "BRAID", Product: "RAM", Revision: "1",
		Descriptors: [8]uint16{1, 2, 3, 4, 5, 6, 7, 8},
	}
	b := want.Append([]byte("before"))
	equal(t, string(b[:6]), "before")
	equal(t, len(b), 6+96)
	got, err := ParseInquiry(b[6:])
	noError(t, err)
	equal(t, got, want)
}

func TestInquiryShort(t *testing.T) {
	whole := unhex(t, lioInquiry)
	for n := range whole {
		_, err := ParseInquiry(whole[:n])
		if (err != nil) != (n < 5) {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
	d, err := ParseInquiry(whole[:20])
	noError(t, err)
	equal(t, d.Vendor, "LIO-ORG")
	equal(t, d.Product, "ram0")
	equal(t, d.Revision, "")

	// An additional length that leaves the names out is not believed; one
	// that ends before the version descriptors is.
	old := append([]byte(nil), whole...)
	old[4] = 0
	d, err = ParseInquiry(old)
	noError(t, err)
	equal(t, d.Revision, "4.0")
	equal(t, d.Descriptors, [8]uint16{})
}

func TestInquiryHostileText(t *testing.T) {
	hostile := InquiryData{Vendor: "a\x1b[2J\x00z", Product: "\xff\xfe", Revision: "much too long"}
	b := hostile.Append(nil)
	d, err := ParseInquiry(b)
	noError(t, err)
	equal(t, d.Vendor, "a?[2J z")
	equal(t, d.Product, "??")
	equal(t, d.Revision, "much")
}

func TestUnitSerial(t *testing.T) {
	for _, c := range []struct{ page, want string }{
		{tgtSerial, "beaf11"},
		{lioSerial, "88b1f5e0-0d3c-4b6f-8f8e-1d2f3a4b5c6d"},
		{"00800000", ""},
		{"0080000441424344454647", "ABCD"},
		{"0080000841424344", "ABCD"},
	} {
		s, err := ParseUnitSerial(unhex(t, c.page))
		noError(t, err)
		equal(t, string(s), c.want)
	}
	equalBytes(t, UnitSerial("ABCD").Append(nil), unhex(t, "0080000441424344"))
}

func TestSupportedPages(t *testing.T) {
	p, err := ParseSupportedPages(unhex(t, tgtPages))
	noError(t, err)
	equal(t, p, SupportedPages{0, 0x80, 0x83, 0xb0, 0xb1, 0xb2})
	equal(t, p.Has(PageDeviceID), true)
	equal(t, p.Has(0x86), false)
	equalBytes(t, p.Append(nil), unhex(t, tgtPages))

	huge := append([]byte{0, 0, 0xff, 0xff}, make([]byte, 0xffff)...)
	p, err = ParseSupportedPages(huge)
	noError(t, err)
	equal(t, len(p), 256)
}

// A page that is another one than asked for, as some bridges send, is no page.
func TestWrongPage(t *testing.T) {
	b := unhex(t, tgtInquiry)
	for name, parse := range vpdParsers {
		for _, short := range [][]byte{nil, {0}, {0, 0x7f, 0, 0}, b} {
			if parse(short) == nil {
				t.Errorf("%s takes %x", name, short)
			}
		}
	}
}

var vpdParsers = map[string]func([]byte) error{
	"00": func(b []byte) error {
		if len(b) > 4 {
			b = append([]byte{0, 1}, b[2:]...)
		}
		_, err := ParseSupportedPages(b)
		return err
	},
	"80": func(b []byte) error { _, err := ParseUnitSerial(b); return err },
	"83": func(b []byte) error { _, err := ParseDeviceID(b); return err },
	"b0": func(b []byte) error { _, err := ParseBlockLimits(b); return err },
	"b1": func(b []byte) error { _, err := ParseBlockCharacteristics(b); return err },
	"b2": func(b []byte) error { _, err := ParseLogicalProvisioning(b); return err },
}
