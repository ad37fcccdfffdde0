package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
)

// reserveKeys gives what the reservation keys of a process begin with: 24 bits that follow from
// the initiator's and the device's name, so that people can tell whose a key is, and 16 random
// ones, so that no two processes have a key in common. The rest is the device's.
func reserveKeys(initiator, name string, random uint16) uint64 {
	sum := sha256.Sum256([]byte("reservation key\x00" + initiator + "\x00" + name))
	keys := binary.BigEndian.Uint64(sum[:8])&^(1<<40-1) | uint64(random)<<24
	return keys | 1<<63 // never zero
}

// hexKey is a reservation key as sg_persist prints it, 0x and hexadecimal digits. JSON numbers
// of 64 bits are not safe with every reader.
type hexKey uint64

// MarshalText writes it.
func (k hexKey) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%#x", uint64(k)), nil }

// UnmarshalText reads it.
func (k *hexKey) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 0, 64)
	if err != nil {
		return fmt.Errorf("%q is no reservation key", b)
	}
	*k = hexKey(n)
	return nil
}
