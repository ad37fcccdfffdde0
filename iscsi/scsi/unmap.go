package scsi

// A Range is a run of blocks.
type Range struct {
	LBA    uint64
	Blocks uint32
}

const (
	unmapHeader     = 8
	unmapDescriptor = 16

	// MaxUnmapRanges is how many ranges one UNMAP parameter list can hold, by
	// its 16-bit length (SBC-3 section 5.30.2).
	MaxUnmapRanges = (0xffff - unmapHeader) / unmapDescriptor
)

// UnmapParameters appends the parameter list of UNMAP (SBC-3 section 5.30.2).
// No more than MaxUnmapRanges may be asked for.
func UnmapParameters(dst []byte, ranges []Range) []byte {
	if len(ranges) > MaxUnmapRanges {
		panic("scsi: more ranges than one UNMAP can hold")
	}
	n := len(ranges) * unmapDescriptor
	dst = be.AppendUint16(dst, uint16(n+unmapHeader-2))
	dst = be.AppendUint16(dst, uint16(n))
	dst = append(dst, 0, 0, 0, 0)
	for _, r := range ranges {
		dst = be.AppendUint64(dst, r.LBA)
		dst = be.AppendUint32(dst, r.Blocks)
		dst = append(dst, 0, 0, 0, 0)
	}
	return dst
}

// ParseUnmapParameters appends the ranges of a parameter list to dst. A last
// descriptor that is not whole does not count, as SBC-3 wants it. An error
// means PARAMETER LIST LENGTH ERROR or INVALID FIELD IN PARAMETER LIST.
func ParseUnmapParameters(dst []Range, b []byte) ([]Range, error) {
	const what = "UNMAP parameter list"
	if len(b) < unmapHeader {
		return dst, tooShort(what, len(b), unmapHeader)
	}
	whole := int(be.Uint16(b)) + 2
	descriptors := int(be.Uint16(b[2:]))
	switch {
	case whole > len(b):
		return dst, tooShort(what, len(b), whole)
	case descriptors > whole-unmapHeader:
		return dst, &FormatError{what, "descriptors are longer than the list"}
	}
	b = b[unmapHeader : unmapHeader+descriptors]
	for ; len(b) >= unmapDescriptor; b = b[unmapDescriptor:] {
		dst = append(dst, Range{LBA: be.Uint64(b), Blocks: be.Uint32(b[8:])})
	}
	return dst, nil
}
