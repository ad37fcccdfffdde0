//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopTime is how long the orderly end may take.
const stopTime = 10 * time.Second

// A signal under load ends the daemon in good order and in time.
func TestStopUnderLoad(t *testing.T) {
	for _, s := range []shape{shapes[0], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			d := s.up(t, g)
			if got := g.nexuses(); got != s.paths {
				t.Errorf("the target counts %d sessions, not %d", got, s.paths)
			}
			sh := openShell(t, d.uri())
			sh.must("write -P 0x77 48M 1M")
			load := fioLoad{uri: d.uri(), size: "32m", iops: 1000, depth: 32}.begin(t)
			d.moreWrites(200)
			if _, err := os.Stat(d.stateFile()); err != nil {
				t.Errorf("no state file while sessions are up: %v", err)
			}
			d.signal(syscall.SIGTERM)
			if code := d.code(stopTime + slack); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if _, err := os.Stat(d.stateFile()); err == nil {
				t.Error("the state file is left")
			}
			if got := g.nexuses(); got != 0 {
				t.Errorf("the target still counts %d sessions", got)
			}
			load.code(patience) // what it says is its own affair: its device is gone
			g.holds(48<<20, 1<<20, 0x77)
		})
	}
}

// Without a path the end comes in time too. What waits is answered.
func TestStopWithoutPath(t *testing.T) {
	t.Parallel()
	g, px, d := upBehindProxies(t)
	sh := openShell(t, d.uri())
	sh.must("write -P 0x10 0 64k")
	cutAll(d, px, "queueing")
	sh.begin("write -P 0x20 0 64k")
	d.awaitStatus("the write waits", func(*status) bool { return !sh.prompted(sh.all.text()) })
	d.signal(syscall.SIGTERM)
	if got := sh.answer(stopTime + slack); !strings.Contains(got, "write failed") {
		t.Errorf("the write that waited: %s", got)
	}
	if code := d.code(stopTime + slack); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(d.stateFile()); err != nil {
		t.Errorf("no state file, although sessions were not ended: %v", err)
	}
	for _, p := range px {
		p.heal()
	}
	again := d.again(t, sessionURLs(proxyAddresses(px), tgtIQN, 1))
	qemuIO(t, again.uri(), "write -P 0x30 0 64k", "flush", "read -P 0x30 0 64k")
	again.stop()
	g.holds(0, 64<<10, 0x30)
}

// again starts a daemon of the same name and arguments, after the end of d.
func (d *daemon) again(t *testing.T, urls []string) *daemon {
	t.Helper()
	next := *d
	next.launch(t, urls...)
	next.awaitReady()
	next.awaitStatus("all paths active", func(s *status) bool { return s.all("active") })
	return &next
}

// The daemon is killed under a client that comes back, and started again: the
// same sessions are reinstated, and the client sees no error.
func TestKilledUnderClient(t *testing.T) {
	for _, s := range []shape{shapes[0], shapes[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			const requests, pattern = 30000, 90 // more than one for each block, in turn
			g := startTgtd(t, tgtConfig{portals: s.portals})
			d := s.up(t, g)
			before := d.mustStatus()
			client := start(t, "qemu-img bench", command(t, tool(t, "qemu-img"), "bench", "-w", "-d", "4",
				"-s", "4096", "-c", fmt.Sprint(requests), "--flush-interval", "4", "-t", "none",
				"--pattern", fmt.Sprint(pattern), "--image-opts",
				"driver=nbd,server.type=unix,reconnect-delay=60,server.path="+d.socket), false)
			for range 2 {
				d.moreWrites(500)
				d.kill()
				checkStateFile(t, d, before)
				if !client.running() {
					t.Fatal("the client ended too early: nothing is proved")
				}
				d = d.again(t, s.urls(g.portals))
				after := d.awaitStatus("all connections up", s.complete)
				for i, p := range after.Paths {
					if p.ISID != before.Paths[i].ISID {
						t.Errorf("path %d has ISID %s, before it was %s", i, p.ISID, before.Paths[i].ISID)
					}
				}
				if got := g.nexuses(); got != s.paths {
					t.Errorf("the target counts %d sessions, not %d: one was not reinstated", got, s.paths)
				}
			}
			if code := client.code(longest); code != 0 {
				t.Errorf("qemu-img bench: exit code %d", code)
			}
			qemuIO(t, d.uri(), "flush", fmt.Sprintf("read -P %d 0 %d", pattern, lunBytes))
			d.stop()
			g.holds(0, lunBytes, pattern)
		})
	}
}

// checkStateFile looks for the sessions of a killed daemon in its state file.
func checkStateFile(t *testing.T, d *daemon, want *status) {
	t.Helper()
	text, err := os.ReadFile(d.stateFile())
	if err != nil {
		t.Error(err)
		return
	}
	if !json.Valid(text) {
		t.Errorf("the state file is no JSON: %s", text)
	}
	for _, p := range want.Paths {
		if !strings.Contains(string(text), p.ISID) {
			t.Errorf("ISID %s does not stand in the state file: %s", p.ISID, text)
		}
	}
}

// A target that is not there yet is waited for, and the daemon is ready then.
func TestStartBeforeTarget(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 2})
	g.kill()
	d := newDaemon(t, "--start-timeout", "0")
	d.launch(t, g.urls()...)
	d.awaitStatus("both paths tried in vain", func(s *status) bool { return s.all("faulty") })
	if out := d.stdout.text(); out != "" {
		t.Errorf("without a path it says %q", out)
	}
	g.start()
	d.awaitReady()
	d.awaitStatus("all paths active", func(s *status) bool { return s.all("active") })
	d.stop()
}
