package mpath

import (
	"testing"

	"braid/iscsi/scsi"
)

// TestLookedAgainAndResting: a path that was looked at again while another group took over rests,
// for flushes too: none of them drains to it.
func TestLookedAgainAndResting(t *testing.T) {
	r := aluaRig(t, []fakePort{{group: 1}, {group: 2}}, func(c *Config) { c.Failback = FailbackManual })
	r.wantStates("active ghost")
	r.want(r.write(0, 4096, 1), OK)
	r.path(0).hold = holding(scsi.OpInquiry)
	r.path(0).heard = []scsi.Attention{scsi.ModeChanged}
	r.run()
	if err := r.d.ReinstatePath(r.now, 1); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.path(0).hold = nil
	r.run()
	r.wantStates("ghost active")
	for range 2 {
		r.path(1).hold = holding(scsi.OpSynchronizeCache16)
		f := r.flush()
		r.want(r.write(0, 4096, 2), OK)
		r.wantHeld(f)
		r.path(1).hold = nil
		r.want(f, OK)
	}
}
