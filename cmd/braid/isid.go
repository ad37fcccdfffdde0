package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ISID gives the initiator session ID of a device's slot: RFC 7143 section
// 11.12.5. It is a function of the initiator's name, the device's name and the
// slot, so that a session made after a restart reinstates the one before.
//
//	byte 0   1    2    3   4    5
//	   10|0  hash          hash + slot
//
// T is 10b, "random"; A is reserved and 0; B and C hold 24 bits of the hash of
// the two names; the qualifier D holds 16 more, to which the slot is added, so
// that the slots of a device never share one.
func ISID(initiator, name string, slot int) [6]byte {
	sum := sha256.Sum256([]byte(initiator + "\x00" + name))
	var isid [6]byte
	isid[0] = 0x80
	copy(isid[1:4], sum[:3])
	qualifier := binary.BigEndian.Uint16(sum[3:5]) + uint16(slot)
	binary.BigEndian.PutUint16(isid[4:6], qualifier)
	return isid
}

func hexISID(isid [6]byte) string { return hex.EncodeToString(isid[:]) }
