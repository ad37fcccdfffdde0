//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// quick are flags that make a silent path noticed soon: within noticed.
var quick = []string{"--nop-interval", "1s", "--nop-timeout", "1s"}

const noticed = 2 * time.Second

// slack is what a busy machine may add to a time that is promised. Without the flags above
// silence is noticed later still.
const slack = 5 * time.Second

// faultLoad writes, flushes and checks as long as the test wants.
func faultLoad(t *testing.T, d *daemon) *endless {
	t.Helper()
	return fioLoad{uri: d.uri(), size: "8m", fsync: 8, iops: 400}.endless(t)
}

// moreWrites waits until the load has had so many more writes answered.
func (d *daemon) moreWrites(n uint64) *status {
	d.t.Helper()
	from := d.mustStatus().writes()
	return d.awaitStatus(fmt.Sprintf("%d more writes", n),
		func(s *status) bool { return s.writes() >= from+n })
}

// cuts are the ways in which a portal is lost. All leave commands without an
// answer behind.
var cuts = []struct {
	name string
	cut  func(d *daemon, path int, p *proxy)
}{
	{"refused", func(d *daemon, path int, p *proxy) {
		p.blackhole()
		d.awaitStatus("commands on the wire", func(s *status) bool {
			return s.Paths[path].InFlight > 0 || s.Paths[path].State != "active"
		})
		p.refuse()
	}},
	{"blackhole", func(_ *daemon, _ int, p *proxy) { p.blackhole() }},
}

// A portal is cut under load and put back: nobody but the status notices.
func TestPathCut(t *testing.T) {
	for _, s := range []shape{shapes[0], shapes[1]} {
		for _, c := range cuts {
			t.Run(s.name+", "+c.name, func(t *testing.T) {
				t.Parallel()
				g := startTgtd(t, tgtConfig{portals: s.portals})
				px := proxies(t, g.portals)
				d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), quick...)
				load := faultLoad(t, d)
				d.moreWrites(200)

				began := time.Now()
				c.cut(d, 1, px[1])
				d.awaitStatus("the path faulty", func(st *status) bool {
					return st.Paths[1].State != "active"
				})
				if took := time.Since(began); took > noticed+slack {
					t.Errorf("it was noticed after %v, not within %v", took, noticed)
				}
				st := d.moreWrites(300)
				for i, p := range st.Paths {
					if (i == 1) == (p.State == "active") {
						t.Errorf("path %d is %s", i, p.State)
					}
				}
				if st.State != "striped" && st.State != "draining" {
					t.Errorf("the device is %s with one path cut", st.State)
				}
				px[1].heal()
				d.awaitStatus("all paths active again", func(st *status) bool { return st.all("active") })
				before := d.mustStatus().Paths[1].Writes
				d.awaitStatus("writes on the path again", func(st *status) bool {
					return st.Paths[1].Writes > before+50
				})
				load.finish()
				st = d.mustStatus()
				if n := st.Paths[1].Failovers; n != 1 || st.failovers() != 1 {
					t.Errorf("%d failovers of the path were counted, %d in all", n, st.failovers())
				}
				if st.DoubtfulWrites != 0 || st.Flushes.Failed != 0 {
					t.Errorf("%d doubtful writes, %d failed flushes", st.DoubtfulWrites, st.Flushes.Failed)
				}
				d.stop()
			})
		}
	}
}

// A connection of an MC/S session is cut: the session is recovered over what is
// left, and gets its connection back.
func TestConnectionCut(t *testing.T) {
	for _, c := range cuts {
		for _, which := range []int{0, 1} {
			t.Run(fmt.Sprintf("connection %d %s", which, c.name), func(t *testing.T) {
				t.Parallel()
				s := shapes[2]
				g := startTgtd(t, tgtConfig{portals: s.portals})
				px := proxies(t, g.portals)
				d := up(t, s.urls(proxyAddresses(px)), quick...)
				d.awaitStatus("all connections up", s.complete)
				load := faultLoad(t, d)
				d.moreWrites(200)
				before := d.mustStatus()

				c.cut(d, 0, px[which])
				d.awaitStatus("the session made anew", func(st *status) bool {
					return st.all("active") && st.failovers() > before.failovers()
				})
				st := d.moreWrites(200)
				if s.complete(st) {
					t.Error("all connections are up, although one portal is gone")
				}
				px[which].heal()
				d.awaitStatus("all connections up again", s.complete)
				load.finish()
				d.stop()
			})
		}
	}
}

// Connections are reset again and again under load, now of one path and now of the
// other. The portals stay.
func TestResets(t *testing.T) {
	for _, s := range []shape{shapes[0], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			px := proxies(t, g.portals)
			d := up(t, s.urls(proxyAddresses(px)), quick...)
			load := faultLoad(t, d)
			for i := range 4 {
				before := d.awaitStatus("all connections up", s.complete).failovers()
				d.moreWrites(100)
				px[i%2].reset()
				d.awaitStatus("the session lost", func(st *status) bool { return st.failovers() > before })
			}
			load.finish()
			d.awaitStatus("all connections up", s.complete)
			d.stop()
		})
	}
}

// A target that ends the only session again and again, in good order and soon after
// it was made, does so for somebody else who uses the same names: the daemon ends.
func TestStranger(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 1})
	px := proxies(t, g.portals)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1))
	for i := range 3 {
		before := d.awaitStatus("the path active", func(s *status) bool { return s.all("active") })
		px[0].finish()
		if i < 2 {
			d.awaitStatus("the path lost", func(s *status) bool { return s.failovers() > before.failovers() })
		}
	}
	contains(t, d.refused(1), "initiator name", "3 times")
}

// A write whose path is lost before the answer is doubtful until the lost session
// is fenced, which takes its reinstatement through the other portal.
func TestDoubtfulWrite(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 2})
	px := proxies(t, g.portals)
	flags := append([]string{"--path-selector", "round-robin"}, quick...)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), flags...)
	sh := openShell(t, d.uri())
	sh.must("write -P 1 0 256k")
	px[1].blackhole()
	for i := range 4 {
		sh.do(fmt.Sprintf("aio_write -P %d %dk 64k", 2+i, i*64), patience)
	}
	d.awaitStatus("doubtful writes", func(s *status) bool { return s.DoubtfulWrites > 0 })
	px[1].refuse()
	sh.must("aio_flush")
	s := d.awaitStatus("no doubtful writes", func(s *status) bool { return s.DoubtfulWrites == 0 })
	if s.fences() != 1 || s.Paths[1].State == "active" {
		t.Errorf("%d fences, the lost path is %s", s.fences(), s.Paths[1].State)
	}
	for i := range 4 {
		sh.must(fmt.Sprintf("read -P %d %dk 64k", 2+i, i*64))
	}
	sh.must("flush")
	px[1].heal() // and what was held is delivered, to a session that is no more
	d.awaitStatus("both paths active", func(s *status) bool { return s.all("active") })
	for i := range 4 {
		g.holds(i*64<<10, 64<<10, byte(2+i))
	}
	d.stop()
}

// One path only and nothing to do: silence is found by NOPs alone.
func TestBlackholeWhenIdle(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 1})
	px := proxies(t, g.portals)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), quick...)
	px[0].blackhole()
	began := time.Now()
	d.awaitStatus("the path faulty", func(s *status) bool { return s.Paths[0].State != "active" })
	if took := time.Since(began); took > noticed+slack {
		t.Errorf("it was noticed after %v, not within %v", took, noticed)
	}
	px[0].heal()
	d.awaitStatus("the path active", func(s *status) bool { return s.all("active") })
	qemuIO(t, d.uri(), "write -P 7 0 64k", "flush", "read -P 7 0 64k")
	d.stop()
}

// tgtd is killed and started again under load with fsync. What it had taken is
// in the page cache; what it had not answered is sent again.
func TestTargetKilled(t *testing.T) {
	for _, s := range []shape{shapes[0], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			d := s.up(t, g, quick...)
			load := faultLoad(t, d)
			for range 2 {
				d.moreWrites(200)
				g.kill()
				d.awaitStatus("no path left", func(st *status) bool {
					return st.State == "queueing" && st.NoPathSince != nil
				})
				g.start()
				d.awaitStatus("all connections up again", s.complete)
			}
			load.finish()
			st := d.mustStatus()
			if st.State != "striped" || st.NoPathSince != nil || st.Flushes.Failed != 0 {
				t.Errorf("the device is %s since %v, %d flushes failed", st.State, st.NoPathSince,
					st.Flushes.Failed)
			}
			d.stop()
		})
	}
}
