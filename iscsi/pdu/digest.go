package pdu

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestLen is the length of a header or data digest in bytes.
const DigestLen = 4

// castagnoli is the polynomial 0x11edc6f41 of RFC 7143 section 13.1, in the
// reflected form; hash/crc32 uses the processor's instruction for it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var zeroPad [3]byte

// Digest is the CRC32C of p.
func Digest(p []byte) uint32 { return crc32.Update(0, castagnoli, p) }

// UpdateDigest is the CRC32C of what crc is the CRC32C of, followed by p.
func UpdateDigest(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// PutDigest writes a digest as it goes over the wire: the reflected CRC with its
// low byte first.
func PutDigest(b []byte, crc uint32) { binary.LittleEndian.PutUint32(b, crc) }

// GetDigest reads a digest from the wire.
func GetDigest(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// PadLen is how many padding bytes follow a segment of n bytes.
func PadLen(n int) int { return -n & 3 }
