package conformance

import (
	"encoding/hex"
	"strings"
)

// reserved has the bits that the figures of RFC 7143 section 11 leave reserved,
// four bytes to a group; they MUST be zero. Byte 4 counts the words of additional
// header segments, which only a SCSI Command may have (sections 11.2.2, 11.3).
var reserved = masks(map[byte]string{
	//        op F        AHS DSL  LUN               ITT      TTT      CmdSN    ExpStat
	NopOut:    "807fffff ff000000 0000000000000000 00000000 00000000 00000000 00000000" + rest16,
	SCSI:      "8018ffff 00000000 0000000000000000 00000000 00000000 00000000 00000000" + free16,
	TaskReq:   "8000ffff ffffffff 0000000000000000 00000000 00000000 00000000 00000000" + task16,
	LoginReq:  "80300000 ff000000 0000000000000000 00000000 0000ffff 00000000 00000000" + rest16,
	TextReq:   "803fffff ff000000 0000000000000000 00000000 00000000 00000000 00000000" + rest16,
	DataOut:   "c07fffff ff000000 0000000000000000 00000000 00000000 ffffffff 00000000" + data16,
	LogoutReq: "8000ffff ffffffff ffffffffffffffff 00000000 0000ffff 00000000 00000000" + rest16,
	SNACK:     "c070ffff ffffffff 0000000000000000 00000000 00000000 ffffffff 00000000" + nack16,
})

const (
	rest16 = "ffffffff ffffffff ffffffff ffffffff"
	free16 = "00000000 00000000 00000000 00000000"
	task16 = "00000000 00000000 ffffffff ffffffff"
	data16 = "ffffffff 00000000 00000000 ffffffff"
	nack16 = "ffffffff ffffffff 00000000 00000000"
)

func masks(in map[byte]string) map[byte][48]byte {
	out := map[byte][48]byte{}
	for op, s := range in {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil || len(b) != 48 {
			panic("conformance: mask of " + opNames[op])
		}
		out[op] = [48]byte(b)
	}
	return out
}

// section is where RFC 7143 describes what an initiator sends.
var section = map[byte]string{
	NopOut: "11.18", SCSI: "11.3", TaskReq: "11.5", LoginReq: "11.12", TextReq: "11.10",
	DataOut: "11.7", LogoutReq: "11.14", SNACK: "11.16",
}
