//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// outage is how long all portals are gone.
const outage = 8 * time.Second

// cutAll takes all portals away and waits until the daemon knows.
func cutAll(d *daemon, px []*proxy, state string) {
	d.t.Helper()
	for _, p := range px {
		p.refuse()
	}
	d.awaitStatus("no path left", func(s *status) bool {
		return s.State == state && s.NoPathSince != nil
	})
}

func healAll(d *daemon, px []*proxy) {
	d.t.Helper()
	for _, p := range px {
		p.heal()
	}
	s := d.awaitStatus("all paths active", func(s *status) bool { return s.all("active") })
	if s.NoPathSince != nil {
		d.t.Errorf("no_path_since is %s with all paths active", *s.NoPathSince)
	}
}

func upBehindProxies(t *testing.T, flags ...string) (*tgtd, []*proxy, *daemon) {
	t.Helper()
	g := startTgtd(t, tgtConfig{portals: 2})
	px := proxies(t, g.portals)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), append(flags, quick...)...)
	return g, px, d
}

// By default I/O waits for as long as there is no path.
func TestNoPathQueue(t *testing.T) {
	t.Parallel()
	g, px, d := upBehindProxies(t)
	load := faultLoad(t, d)
	d.moreWrites(100)
	cutAll(d, px, "queueing")
	sh := openShell(t, d.uri())
	sh.begin("write -P 0x42 32M 64k")
	if !sh.pending(outage) {
		t.Error("a write was answered without a path")
	}
	if s := d.mustStatus(); s.State != "queueing" || s.NoPathSince == nil {
		t.Errorf("the device is %s, no path since %v", s.State, s.NoPathSince)
	}
	healAll(d, px)
	if got := sh.answer(patience); !strings.Contains(got, "wrote 65536/65536") {
		t.Errorf("the write that waited: %s", got)
	}
	sh.must("flush")
	load.finish()
	qemuIO(t, d.uri(), "read -P 0x42 32M 64k", "flush")
	g.holds(32<<20, 64<<10, 0x42)
	d.stop()
}

// Where the policy says so, I/O is refused at once, or after a time.
func TestNoPathFail(t *testing.T) {
	tests := []struct {
		policy string
		state  string
		least  time.Duration
	}{
		{"fail", "failed", 0},
		{"3s", "queueing", 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.policy, func(t *testing.T) {
			t.Parallel()
			_, px, d := upBehindProxies(t, "--no-path", test.policy)
			sh := openShell(t, d.uri())
			if got := sh.do("write -P 1 0 64k", patience); !strings.Contains(got, "wrote 65536/65536") {
				t.Fatalf("a write with all paths: %s", got)
			}
			began := time.Now() // it is counted from the loss
			cutAll(d, px, test.state)
			if got := sh.do("write -P 2 0 64k", patience); !strings.Contains(got, "Input/output error") {
				t.Errorf("a write without a path: %s", got)
			}
			if took := time.Since(began); took < test.least || took > test.least+2*slack {
				t.Errorf("it was refused after %v", took)
			}
			if got := sh.do("read 0 64k", patience); !strings.Contains(got, "Input/output error") {
				t.Errorf("a read without a path: %s", got)
			}
			if s := d.mustStatus(); s.State != "failed" {
				t.Errorf("the device is %s", s.State)
			}
			healAll(d, px)
			if got := sh.do("write -P 3 0 64k", patience); !strings.Contains(got, "wrote 65536/65536") {
				t.Errorf("a write with all paths again: %s", got)
			}
			qemuIO(t, d.uri(), "flush", "read -P 3 0 64k")
			d.stop()
		})
	}
}

// A last flush that fails is an error of `braid down`, also where no copies are kept of what
// was not flushed before.
func TestDownCannotFlush(t *testing.T) {
	t.Parallel()
	for _, retain := range []string{"0", "64MiB"} {
		t.Run("retain "+retain, func(t *testing.T) {
			e := startEmbedded(t, 2)
			d := newDaemon(t, "--retain", retain)
			d.launch(t, e.urls()...)
			d.awaitReady()
			c := dialRaw(t, d.socket)
			c.write(0, 64<<10, 7)
			e.fault("refuse 99 flushes medium-error")
			code, _, said := braidIn(t, d.folder, "down", d.control)
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			contains(t, oneLine(t, said), "stopped", "flush", "could not be made stable")
			if code := d.code(patience); code != 0 {
				t.Errorf("exit code of the daemon %d", code)
			}
			contains(t, d.all.text(), "the last flush failed", "stopped, but")
		})
	}
}
