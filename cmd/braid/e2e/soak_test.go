//go:build e2e && soak

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These run for minutes each, and are started by scripts/soak. What they have in common:
// a load that checks every byte and flushes now and then sees no error, and the daemon
// does not grow.

// soakLoad writes, reads and flushes for so long, and checks what it reads.
func soakLoad(t *testing.T, d *daemon, length time.Duration) *child {
	t.Helper()
	seconds := strconv.Itoa(int(length.Seconds()))
	return start(t, "fio", command(t, tool(t, "fio"), "--name=soak", "--ioengine=nbd",
		"--uri="+d.uri(), "--rw=randrw", "--bsrange=4k-64k", "--size=48m", "--iodepth=16",
		"--rate_iops=250,250", "--fsync=32", "--verify=crc32c", "--verify_fatal=1",
		"--verify_backlog=256", "--verify_state_save=0", "--randrepeat=0", "--time_based",
		"--runtime="+seconds), false)
}

func finishSoak(t *testing.T, c *child) {
	t.Helper()
	if code := c.code(5 * time.Minute); code != 0 {
		t.Fatalf("fio: exit code %d", code)
	}
	if !strings.Contains(c.all.text(), "err= 0") {
		t.Fatal("fio does not say that there was no error")
	}
}

// resident is how much memory a process has, in bytes.
func resident(t *testing.T, c *child) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// growth is what a daemon may take more of after its first minute.
const growth = 8 << 20

func flat(t *testing.T, d *daemon, from int) {
	t.Helper()
	now := resident(t, d.child)
	t.Logf("resident: %d KiB, then %d KiB", from>>10, now>>10)
	if now > from+growth {
		t.Errorf("the daemon grew from %d to %d bytes", from, now)
	}
}

// report shows what a soak consisted of.
func report(t *testing.T, d *daemon) {
	t.Helper()
	// A copy that was written again when the target went away is settled by the fence.
	s := d.awaitStatus("no doubtful writes", func(s *status) bool { return s.DoubtfulWrites == 0 })
	t.Logf("%d writes, %d failovers, %d fences, %d flushes in %d rounds, %d failed",
		s.writes(), s.failovers(), s.fences(), s.Flushes.Requested, s.Flushes.Rounds, s.Flushes.Failed)
	if s.Flushes.Failed != 0 {
		t.Errorf("%d failed flushes", s.Flushes.Failed)
	}
}

// A path goes a hundred times in ten minutes, in turn the one and the other, in turn
// reset, refused and blackholed.
func TestSoakFlaps(t *testing.T) {
	t.Parallel()
	const flaps, every = 100, 6 * time.Second
	for _, s := range []shape{shapes[1], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			px := proxies(t, g.portals)
			d := up(t, s.urls(proxyAddresses(px)), append([]string{"--retain", "16MiB"}, quick...)...)
			load := soakLoad(t, d, flaps*every+30*time.Second)
			var early int
			for i := range flaps {
				p := px[i%len(px)]
				switch i % 3 {
				case 0:
					p.reset()
				case 1:
					p.refuse()
				default:
					p.blackhole()
				}
				time.Sleep(every / 2)
				p.heal()
				time.Sleep(every / 2)
				if i == 10 {
					early = resident(t, d.child)
				}
				if !load.running() {
					t.Fatalf("the load ended at flap %d", i)
				}
			}
			finishSoak(t, load)
			d.awaitStatus("all connections up", s.complete)
			report(t, d)
			flat(t, d, early)
			d.stop()
		})
	}
}

// Both portals are gone for five minutes and come back.
func TestSoakNoPath(t *testing.T) {
	t.Parallel()
	const gone = 5 * time.Minute
	s := shapes[1]
	g := startTgtd(t, tgtConfig{portals: s.portals})
	px := proxies(t, g.portals)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), append([]string{"--retain", "16MiB"}, quick...)...)
	load := soakLoad(t, d, gone+time.Minute)
	d.moreWrites(500)
	for _, p := range px {
		p.blackhole()
	}
	d.awaitStatus("no path left", func(s *status) bool { return s.State == "queueing" })
	for _, p := range px {
		p.refuse()
	}
	early := resident(t, d.child)
	time.Sleep(gone)
	flat(t, d, early)
	if st := d.mustStatus(); st.State != "queueing" || st.NoPathSince == nil {
		t.Errorf("the device is %s", st.State)
	}
	back := time.Now()
	for _, p := range px {
		p.heal()
	}
	d.awaitStatus("a path", func(s *status) bool { return s.State != "queueing" })
	t.Logf("the first path was back after %v", time.Since(back).Round(100*time.Millisecond))
	d.moreWrites(500)
	finishSoak(t, load)
	d.awaitStatus("all paths", func(s *status) bool { return s.all("active") })
	report(t, d)
	d.stop()
}

// tgtd is killed and started again every 20 s for ten minutes.
func TestSoakTargetKilled(t *testing.T) {
	t.Parallel()
	const kills, every = 30, 20 * time.Second
	for _, s := range []shape{shapes[1], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			d := s.up(t, g, append([]string{"--retain", "16MiB"}, quick...)...)
			load := soakLoad(t, d, kills*every+30*time.Second)
			var early int
			for i := range kills {
				time.Sleep(every)
				g.kill()
				d.awaitStatus("no path left", func(st *status) bool { return st.State == "queueing" })
				g.start()
				d.awaitStatus("all connections up", s.complete)
				if i == 3 {
					early = resident(t, d.child)
				}
				if !load.running() {
					t.Logf("the load ended after %d kills", i+1)
					break
				}
			}
			finishSoak(t, load)
			report(t, d)
			flat(t, d, early)
			d.stop()
		})
	}
}
