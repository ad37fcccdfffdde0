package scsi

// senseText says in words what an additional sense code means (SPC-4 annex
// F.2). Where only the code is known, and not the qualifier, the code's own
// meaning is given; it is empty for unknown codes.
func senseText(asc, ascq uint8) string {
	code := uint16(asc)<<8 | uint16(ascq)
	general := ""
	for i := range senseTexts {
		switch t := &senseTexts[i]; t.code {
		case code:
			return t.text
		case code &^ 0xff:
			general = t.text
		}
	}
	if asc == 0 {
		return ""
	}
	return general
}

var senseTexts = [...]struct {
	code uint16
	text string
}{
	{0x0000, "nothing to add"},
}
