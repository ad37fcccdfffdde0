//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// upALUA starts a daemon over a target's groups; only the first one's path is active.
func upALUA(t *testing.T, e *embedded, states string, flags ...string) *daemon {
	t.Helper()
	d := newDaemon(t, flags...)
	d.launch(t, e.urls()...)
	d.awaitReady()
	d.awaitStates(states)
	return d
}

func (d *daemon) awaitStates(want string) *status {
	d.t.Helper()
	return d.awaitStatus("paths "+want, func(s *status) bool { return s.states() == want })
}

// Under verified load the access states of the target's ports change again and again:
// nobody but the status notices.
func TestALUA(t *testing.T) {
	for _, mode := range []string{"drain", "hold", "epoch"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, 3, "--alua", "implicit", "--write-cache", "nexus")
			e.fault("access 2 nonoptimized")
			e.fault("access 3 standby")
			d := upALUA(t, e, "active ghost ghost", "--barrier", mode)
			load := faultLoad(t, d)
			s := d.moreWrites(200)
			if n := s.Paths[1].Writes + s.Paths[2].Writes; n > 0 {
				t.Errorf("%d writes on ghosts", n)
			}
			if p := s.Paths[0]; p.ALUA != "active/optimized" || p.ALUAGroup != 1 {
				t.Errorf("%+v", p)
			}

			e.fault("access 1 standby")
			d.awaitStates("ghost active ghost")
			d.moreWrites(100)
			e.fault("access 2 unavailable")
			e.fault("access 3 optimized")
			d.awaitStates("ghost ghost active")
			d.moreWrites(100)
			e.fault("access 3 transitioning")
			d.awaitStates("ghost ghost ghost")
			time.Sleep(500 * time.Millisecond)
			e.fault("access 3 standby")
			e.fault("access 1 optimized")
			d.awaitStates("active ghost ghost")
			s = d.moreWrites(100)
			load.finish()
			if s.Flushes.Failed != 0 || s.failovers() != 0 || s.GroupSwitches != 3 {
				t.Errorf("%d flushes failed, %d failovers, %d switches", s.Flushes.Failed,
					s.failovers(), s.GroupSwitches)
			}
			contains(t, d.must("status", d.control), "status=active", "status=enabled",
				"ghost", "active/optimized", "standby", "unavailable")
			d.stop()
		})
	}
}

// The cache that a session fills is lost with the group that it belongs to: what was
// not flushed is written again through the group that takes over.
func TestALUALosesCache(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 2, "--alua", "implicit", "--write-cache", "nexus")
	e.fault("access 2 standby")
	d := upALUA(t, e, "active ghost")
	sh := openShell(t, d.uri())
	sh.must("write -P 1 0 256k")
	e.fault("access 1 standby")
	e.fault("access 2 optimized")
	sh.must("flush")
	e.fault("lose-cache")
	sh.must("read -P 1 0 256k")
	d.stop()
}

// Only standby is left, and the target leaves it to its initiators to change that.
func TestALUAExplicit(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 2, "--alua", "explicit")
	contains(t, runInquire(t, e.urls()[0]), "explicit")
	e.fault("access 2 standby")
	d := upALUA(t, e, "active ghost")
	load := faultLoad(t, d)
	d.moreWrites(200)
	e.fault("access 1 unavailable")
	d.awaitStates("ghost active")
	s := d.moreWrites(100)
	load.finish()
	if s.ExplicitSwitches != 1 {
		t.Errorf("%d requests to the target", s.ExplicitSwitches)
	}
	d.stop()
}

func runInquire(t *testing.T, url string) string {
	t.Helper()
	code, out, said := braid(t, "inquire", url)
	if code != 0 {
		t.Fatalf("braid inquire: %d, %s", code, said)
	}
	return out
}

// With failback = manual I/O stays where it is until somebody asks for more.
func TestFailbackManual(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 2, "--alua", "implicit")
	e.fault("access 2 nonoptimized")
	d := upALUA(t, e, "active ghost", "--failback", "manual")
	qemuIO(t, d.uri(), "write -P 1 0 64k")
	e.fault("cut portal 1")
	qemuIO(t, d.uri(), "write -P 2 0 64k", "flush")
	e.fault("cut portal 1 off")
	d.awaitStates("ghost active")
	time.Sleep(2 * time.Second)
	d.awaitStates("ghost active")
	contains(t, d.must("path", "reinstate", d.control, e.urls()[0]), "path 0 in service, active")
	d.awaitStates("active ghost")
	qemuIO(t, d.uri(), "read -P 2 0 64k")
	d.stop()
}

// A path that is cut again and again is kept in reserve; the load does not notice.
func TestFlappingPath(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 2, failing...)
	d := up(t, e.urls(), quick...)
	load := faultLoad(t, d)
	for i := range 3 {
		d.moreWrites(50)
		e.fault("cut portal 2")
		d.awaitStatus("the path lost", func(s *status) bool {
			return s.Paths[1].Failovers == uint64(i+1)
		})
		e.fault("cut portal 2 off")
		if i < 2 {
			d.awaitStates("active active")
		}
	}
	s := d.awaitStatus("the path in reserve", func(s *status) bool {
		return s.Paths[1].State == "recovering" && s.Paths[1].Marginal &&
			len(s.Paths[1].Connections) == 1
	})
	contains(t, d.must("status", d.control), "in reserve: lost too often")
	before := s.Paths[1].Writes
	if s = d.moreWrites(100); s.Paths[1].Writes != before {
		t.Errorf("%d writes on it", s.Paths[1].Writes-before)
	}
	e.fault("cut portal 1")
	d.awaitStatus("the path in use, as the only one", func(s *status) bool {
		return s.Paths[1].State == "active" && s.Paths[1].Writes > before
	})
	e.fault("cut portal 1 off")
	d.awaitStates("active recovering")
	contains(t, d.must("path", "reinstate", d.control, "1"), "path 1 in service, active")
	load.finish()
	d.stop()
}

// Paths come and go under verified load.
func TestPathsComeAndGo(t *testing.T) {
	for _, kind := range []string{"tgtd", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var urls []string
			if kind == "tgtd" {
				urls = startTgtd(t, tgtConfig{portals: 3}).urls()
			} else {
				urls = startEmbedded(t, 3, "--write-cache", "nexus").urls()
			}
			d := up(t, urls[:2])
			load := faultLoad(t, d)
			d.moreWrites(100)
			contains(t, d.must("path", "add", d.control, urls[2]), "path 2 added, active",
				"not in the configuration")
			d.awaitStates("active active active")
			contains(t, d.must("status", d.control), "added, not in the configuration")
			d.awaitStatus("writes on it", func(s *status) bool { return s.Paths[2].Writes > 20 })

			contains(t, d.must("path", "remove", d.control, urls[0]), "path 0 removed")
			s := d.moreWrites(50)
			if len(s.Paths) != 2 || s.Paths[0].URL != urls[1] {
				t.Errorf("%+v", s.Paths)
			}
			contains(t, d.must("path", "fail", d.control, "1"), "path 1 out of service")
			s = d.moreWrites(50)
			if s.states() != "faulty active" || len(s.Paths[0].Connections) != 0 {
				t.Errorf("%+v", s.Paths)
			}
			contains(t, d.must("status", d.control), "taken out of service")
			contains(t, d.must("path", "reinstate", d.control, urls[1]), "path 1 in service, active")
			contains(t, d.must("path", "add", d.control, urls[0]), "path 0 added, active")
			s = d.moreWrites(100)
			load.finish()
			if s.Flushes.Failed != 0 || s.failovers() != 0 || s.states() != "active active active" {
				t.Errorf("%d flushes failed, %d failovers, %s", s.Flushes.Failed, s.failovers(), s.states())
			}
			d.stop()
		})
	}
}

// What cannot be done is said, with exit code 1, and changes nothing.
func TestPathRefusals(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 1, "--lun", "2=ram:8MiB")
	d := up(t, e.urls())
	other := fmt.Sprintf("iscsi://%s/%s/2", e.portals[0], embeddedIQN)
	for _, test := range []struct {
		want string
		args []string
	}{
		{"different LUNs", []string{"path", "add", d.control, other}},
		{"only path", []string{"path", "remove", d.control, "0"}},
		{"no such path", []string{"path", "fail", d.control, other}},
		{"no such path", []string{"path", "reinstate", d.control, "7"}},
		{"is not running", []string{"path", "fail", "nobody", "7"}},
	} {
		code, out, said := braidIn(t, d.folder, test.args...)
		if code != 1 || out != "" {
			t.Errorf("%v: exit code %d, %s", test.args, code, out)
		}
		contains(t, said, test.want)
	}
	s := d.awaitStates("active")
	if len(s.Paths) != 1 {
		t.Errorf("%+v", s.Paths)
	}
	contains(t, d.must("resize", d.control), "as before")
	d.stop()
}

// I/O that waits for a path fails when somebody says that it need not.
func TestQueueOff(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 1)
	d := up(t, e.urls())
	sh := openShell(t, d.uri())
	e.fault("cut all")
	d.awaitStatus("no path", func(s *status) bool { return s.State == "queueing" })
	sh.begin("write -P 1 0 64k")
	if !sh.pending(500 * time.Millisecond) {
		t.Error("it did not wait")
	}
	contains(t, d.must("queue", d.control, "off"), "no_path is fail")
	contains(t, sh.answer(patience), "Input/output error")
	contains(t, d.must("queue", d.control, "on"), "no_path is queue")
	sh.begin("write -P 2 0 64k")
	if !sh.pending(500 * time.Millisecond) {
		t.Error("it did not wait")
	}
	e.fault("cut all off")
	sh.answer(patience)
	sh.must("read -P 2 0 64k")
	d.stop()
}

// The LUN grows under load: once every path was told, and once nobody is told but by
// `braid resize`. Clients that come then see the new size.
func TestLUNGrows(t *testing.T) {
	t.Parallel()
	const blocks = lunBytes / 512
	e := startEmbedded(t, 2)
	e.fault("capacity 1 %d", blocks/2)
	d := up(t, e.urls(), quick...)
	if s := d.mustStatus(); s.SizeBytes != lunBytes/2 {
		t.Fatalf("%d bytes", s.SizeBytes)
	}
	load := faultLoad(t, d)
	d.moreWrites(100)
	e.fault("capacity 1 %d", blocks*3/4)
	d.awaitStatus("the new size", func(s *status) bool { return s.SizeBytes == lunBytes*3/4 })
	e.fault("blackhole portal 2")
	e.fault("capacity 1 %d", blocks)
	code, _, said := braidIn(t, d.folder, "resize", d.control)
	if code != 1 || d.mustStatus().SizeBytes != lunBytes*3/4 {
		t.Errorf("with a path that is away: exit code %d, %s, %d bytes", code, said,
			d.mustStatus().SizeBytes)
	}
	e.fault("blackhole portal 2 off")
	d.awaitStatus("both paths active", func(s *status) bool { return s.all("active") })
	contains(t, d.must("resize", d.control), "bytes")
	d.awaitStatus("the whole size", func(s *status) bool { return s.SizeBytes == lunBytes })
	load.finish()
	qemuIO(t, d.uri(), fmt.Sprintf("write -P 9 %d 64k", lunBytes-64<<10), "flush",
		fmt.Sprintf("read -P 9 %d 64k", lunBytes-64<<10))
	d.stop()
}
