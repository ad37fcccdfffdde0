//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// failing are flags of a target for tests in which the loss of a connection is the
// loss of its session, which error recovery would prevent.
var failing = []string{"--error-recovery-level", "0"}

// PDUs of every kind are lost: it costs time, and no session.
func TestLostPDUs(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 1, "--error-recovery-level", "1")
	d := up(t, e.urls(), "--data-digest", "crc32c")
	load := fioLoad{uri: d.uri(), block: "64k", size: "48m", fsync: 16, iops: 150}.begin(t)
	for _, kind := range []string{"data-in", "status", "command", "data-out", "r2t", "snack"} {
		e.fault("lose 2%% %s", kind)
	}
	e.fault("damage 2%% data-out")
	e.fault("damage 2%% data-in")
	qemuIO(t, d.uri(), "write -P 1 56M 4M", "read -P 1 56M 4M", "write -P 2 57M 2M", "read -P 2 57M 2M")
	finishFio(t, load)
	p := d.mustStatus().Paths[0]
	r := &p.Recovery
	if p.Failovers != 0 || r.DataSNACKs == 0 || r.StatusSNACKs == 0 || r.Retries == 0 {
		t.Errorf("%d failovers, %+v", p.Failovers, r)
	}
	e.fault("lose off")
	e.fault("damage off")
	d.stop()
}

// A connection is reset again and again: its tasks go on over another one, or over
// a new one where it was the only one, and the session never ends.
func TestConnectionRecovery(t *testing.T) {
	for _, portals := range []int{1, 2} {
		t.Run(fmt.Sprintf("connections %d", portals), func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, portals)
			url := e.urls()[0]
			if portals == 2 {
				url = fmt.Sprintf("iscsi://%s,%s/%s/1", e.portals[0], e.portals[1], embeddedIQN)
			}
			e.fault("delay all 5ms..20ms") // so that tasks are under way
			d := up(t, []string{url})
			load := faultLoad(t, d)
			for i := range 6 {
				d.moreWrites(50)
				p := &d.mustStatus().Paths[0]
				before := p.Recovery.Connections
				e.fault("reset cid %d", p.Connections[i%portals].CID)
				d.awaitStatus("a connection recovered", func(s *status) bool {
					p := &s.Paths[0]
					up := 0
					for _, c := range p.Connections {
						if c.State == "up" {
							up++
						}
					}
					return p.Recovery.Connections > before && up == portals
				})
			}
			load.finish()
			s := d.mustStatus()
			r := &s.Paths[0].Recovery
			if s.failovers() != 0 || r.Fallbacks != 0 || r.Reassigned+r.Retries == 0 {
				t.Errorf("%d failovers, %+v", s.failovers(), r)
			}
			d.stop()
		})
	}
}
