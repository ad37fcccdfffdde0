//go:build guest

package vmtest

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"braid/iscsi"
)

// newRecovering sets up LIO with an error recovery level, and a meddler before each of its
// portals.
func newRecovering(t *testing.T, links, level int, settings ...string) (urls []string, list []*meddler) {
	t.Helper()
	l := newLIO(t, links, diskSize)
	n := strconv.Itoa(level)
	group := filepath.Join(targetTree, "tpgt_1")
	l.set(group, append(settings, "attrib/default_erl="+n, "param/ErrorRecoveryLevel="+n)...)
	var portals []string
	for i := range links {
		m := newMeddler(t, l.portal(i))
		list = append(list, m)
		portals = append(portals, m.address())
	}
	return []string{"iscsi://" + strings.Join(portals, ",") + "/" + targetName + "/0"}, list
}

func (d *daemon) recovery() (r iscsi.Counters, failovers uint64) {
	d.t.Helper()
	p := d.status().Paths[0]
	return p.Recovery, p.Failovers
}

// PDUs of each kind are lost or damaged on the way to and from the kernel's target, at level
// 1: the session lives on, and what is read is what was written.
func TestRecoveryWithin(t *testing.T) { testWithin(t, "InitialR2T=No", "ImmediateData=Yes") }

// The same with all data asked for by R2Ts.
func TestRecoverySolicited(t *testing.T) { testWithin(t, "InitialR2T=Yes", "ImmediateData=No") }

func testWithin(t *testing.T, settings ...string) {
	settings = append(settings, "FirstBurstLength=16384", "MaxBurstLength=65536",
		"MaxRecvDataSegmentLength=8192")
	for i := range settings {
		settings[i] = "param/" + settings[i]
	}
	urls, list := newRecovering(t, 1, 1, settings...)
	m := list[0]
	d := up(t, urls, "--header-digest=crc32c", "--data-digest=crc32c", "--error-recovery-level=1")
	d.awaitPaths(1, 1)
	for _, c := range []struct {
		name string
		rule
	}{
		{"nothing", rule{}},
		{"Data-In spoilt", rule{0x25, 40, spoilData}},
		{"Data-In lost", rule{0x25, 40, lose}},
		{"SCSI Response lost", rule{0x21, 40, lose}},
		{"command lost", rule{0x01, 40, lose}},
		{"command spoilt", rule{0x01, 40, spoilData}},
		{"Data-Out lost", rule{0x05, 80, lose}},
		{"Data-Out spoilt", rule{0x05, 80, spoilData}},
		{"R2T lost", rule{0x31, 40, lose}},
	} {
		before, lost := d.recovery()
		m.meddle(c.rule)
		l := loadDevice(t, 6*time.Second)
		err := l.cmd.Wait()
		hits := m.meddle(rule{})
		after, lostNow := d.recovery()
		t.Logf("%s: %d hits; before %+v, after %+v; sessions lost %d; load: %v", c.name, hits,
			before, after, lostNow-lost, err)
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, l.out.Bytes())
		}
		if lostNow != lost {
			t.Errorf("%s: the session was lost", c.name)
		}
		d.awaitPaths(1, 1)
	}
	d.stop()
}

// loadDevice has fio write, read and compare on the device itself.
func loadDevice(t *testing.T, dur time.Duration) *load {
	t.Helper()
	return startLoad(t, "", dur)
}

// Connections are lost under load, one of them after it was silent, of a target that grants
// level 2. Its kernel does not survive recovery at that level (docs/targets.md): the daemon
// leaves it at level 1, where a session ends with its connection, and nothing is lost by that.
func TestRecoveryOfConnections(t *testing.T) { testLost(t, 2) }

// The same with the only connection of a session.
func TestRecoveryOfOne(t *testing.T) { testLost(t, 1) }

func testLost(t *testing.T, connections int) {
	urls, list := newRecovering(t, connections, 2)
	d := up(t, urls, "--header-digest=crc32c", "--data-digest=crc32c")
	d.awaitPaths(1, connections)
	l := loadDevice(t, 60*time.Second)
	for i := range 5 {
		time.Sleep(3 * time.Second)
		before, _ := d.recovery()
		m := list[i%len(list)]
		if i == 3 {
			m.swallow(true)
			time.Sleep(3 * time.Second)
			m.cut()
			m.swallow(false)
		} else {
			m.cut()
		}
		d.awaitPaths(1, connections)
		after, lost := d.recovery()
		t.Logf("cut %d: before %+v, after %+v; sessions lost %d", i, before, after, lost)
	}
	l.wait()
	r, lost := d.recovery()
	if lost < 5 || r.Connections+r.Reassigned+r.Fallbacks > 0 {
		t.Errorf("%+v, sessions lost %d", r, lost)
	}
	d.stop()
}
