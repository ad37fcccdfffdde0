package scsi

import "testing"

func TestBlockLimits(t *testing.T) {
	l, err := ParseBlockLimits(unhex(t, tgtLimits))
	noError(t, err)
	equal(t, l, BlockLimits{
		MaxCompareWrite: 128, MaxUnmapLBAs: 0xffffffff, MaxUnmapDescriptors: 0xffffffff,
	})
	equalBytes(t, l.Append(nil), unhex(t, tgtLimits))

	l, err = ParseBlockLimits(unhex(t, lioLimits))
	noError(t, err)
	equal(t, l, BlockLimits{
		WSNZ: true, MaxCompareWrite: 1, OptGranularity: 1, MaxTransfer: 256, OptTransfer: 256,
		MaxUnmapLBAs: 32768, MaxUnmapDescriptors: 1, UnmapGranularity: 1, MaxWriteSame: 4096,
	})
	equalBytes(t, l.Append(nil), unhex(t, lioLimits))

	// The page ends before the limits of UNMAP: what lies behind is not its.
	l, err = ParseBlockLimits(unhex(t, lioLimitsShort))
	noError(t, err)
	equal(t, l, BlockLimits{
		WSNZ: true, MaxCompareWrite: 1, OptGranularity: 1, MaxTransfer: 256, OptTransfer: 256,
	})

	l = BlockLimits{
		WSNZ: true, MaxCompareWrite: 1, OptGranularity: 2, MaxTransfer: 3, OptTransfer: 4,
		MaxPrefetch: 5, MaxUnmapLBAs: 6, MaxUnmapDescriptors: 7, UnmapGranularity: 8,
		UnmapAlignment: 0, UnmapAlignmentValid: true, MaxWriteSame: 1 << 40,
	}
	got, err := ParseBlockLimits(l.Append(nil))
	noError(t, err)
	equal(t, got, l)
}

func TestBlockCharacteristics(t *testing.T) {
	c, err := ParseBlockCharacteristics(unhex(t, tgtCharacteristics))
	noError(t, err)
	equal(t, c, BlockCharacteristics{})
	for _, x := range []struct {
		rate uint16
		want bool
	}{{0, false}, {NonRotating, false}, {7200, true}, {15000, true}, {0xffff, false}} {
		want := BlockCharacteristics{Rotation: x.rate, FormFactor: 3, Zoned: 1, FUAB: true}
		got, err := ParseBlockCharacteristics(want.Append(nil))
		noError(t, err)
		equal(t, got, want)
		equal(t, got.Rotational(), x.want)
	}
	equal(t, len(c.Append(nil)), 64)
}

func TestLogicalProvisioning(t *testing.T) {
	p, err := ParseLogicalProvisioning(unhex(t, tgtProvisioning))
	noError(t, err)
	equal(t, p, LogicalProvisioning{
		LBPU: true, LBPWS: true, LBPWS10: true, LBPRZ: true, Type: ProvisioningThin,
	})
	equalBytes(t, p.Append(nil), unhex(t, tgtProvisioning))

	p, err = ParseLogicalProvisioning(unhex(t, lioProvisioning))
	noError(t, err)
	equal(t, p, LogicalProvisioning{LBPU: true, LBPWS: true, LBPWS10: true})

	// The vendor's pattern of SBC-4 is not zeroes.
	p, err = ParseLogicalProvisioning(unhex(t, "00b20004 00 88 02 00"))
	noError(t, err)
	equal(t, p.LBPRZ, false)
	equal(t, p.LBPU, true)

	p, err = ParseLogicalProvisioning(unhex(t, "00b20004 07"))
	noError(t, err)
	equal(t, p, LogicalProvisioning{ThresholdExponent: 7})
}
