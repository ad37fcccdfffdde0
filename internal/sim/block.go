package sim

import (
	"encoding/binary"
	"fmt"
)

// What a write puts into a block tells the request and the block: no two are alike.
//
//	0  magic  4  request  8  block  16..  words that follow from both
const stampMagic = 0x42524944

func stampWord(op uint32, lba uint64) uint64 {
	return (uint64(op)+1)*0x9e3779b97f4a7c15 ^ (lba+1)*0xc2b2ae3d27d4eb4f
}

// stamp fills a block.
func stamp(b []byte, op uint32, lba uint64) {
	binary.BigEndian.PutUint32(b, stampMagic)
	binary.BigEndian.PutUint32(b[4:], op)
	binary.BigEndian.PutUint64(b[8:], lba)
	x := stampWord(op, lba)
	for i := 16; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
}

// zeroOp is the request that a block of zeroes is read as.
const zeroOp = 0

// readStamp tells which request wrote a block, zeroOp if it is all zeroes. With whole all
// of the block is looked at, else its beginning and its end.
func readStamp(b []byte, lba uint64, whole bool) (op uint32, err error) {
	magic := binary.BigEndian.Uint32(b)
	switch magic {
	case 0:
		for i, x := range b {
			if x != 0 {
				return 0, fmt.Errorf("zeroes up to byte %d, then %#02x", i, x)
			}
		}
		return zeroOp, nil
	case poison<<24 | poison<<16 | poison<<8 | poison:
		return 0, fmt.Errorf("memory that was given back")
	case stampMagic:
	default:
		return 0, fmt.Errorf("content that nobody wrote: % x", b[:16])
	}
	op = binary.BigEndian.Uint32(b[4:])
	if at := binary.BigEndian.Uint64(b[8:]); at != lba {
		return 0, fmt.Errorf("content of block %d, by request %d", at, op)
	}
	if !whole {
		return op, nil
	}
	x := stampWord(op, lba)
	for i := 16; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		if binary.LittleEndian.Uint64(b[i:]) != x {
			return 0, fmt.Errorf("content of request %d up to byte %d, then something else", op, i)
		}
	}
	return op, nil
}
