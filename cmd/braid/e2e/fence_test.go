//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each way of fencing, at the embedded target and at tgt: a write whose path fell silent is
// acknowledged, what it wrote stays when the silence ends, and the status names what did it.
func TestFences(t *testing.T) {
	for _, c := range []struct {
		fence, target string
		by            string // one of these kinds
		says          string // in the log
	}{
		{"auto", "embedded", "reinstate", ""},
		// A command to another session runs against a login, and either may be first.
		{"reserve", "embedded", "reserve reinstate", "reservation key preempted"},
		{"reset", "embedded", "reinstate reset", "logical unit reset"},
		{"reserve", "tgt", "reinstate", "cannot be fenced by a command"},
		{"reset", "tgt", "reset reinstate", "logical unit reset"},
	} {
		t.Run(c.fence+", "+c.target, func(t *testing.T) {
			t.Parallel()
			var portals []string
			iqn := embeddedIQN
			if c.target == "tgt" {
				portals, iqn = startTgtd(t, tgtConfig{portals: 2}).portals, tgtIQN
			} else {
				portals = startEmbedded(t, 2).portals
			}
			px := proxies(t, portals)
			flags := append([]string{"--path-selector", "round-robin", "--fence", c.fence}, quick...)
			d := up(t, sessionURLs(proxyAddresses(px), iqn, 1), flags...)
			sh := openShell(t, d.uri())
			sh.must("write -P 1 0 256k")
			px[1].blackhole()
			for i := range 4 {
				sh.do(fmt.Sprintf("aio_write -P %d %dk 64k", 2+i, i*64), patience)
			}
			s := d.awaitStatus("a fence", func(s *status) bool { return s.fences() > 0 })
			px[1].refuse()
			sh.must("aio_flush")
			if s.fences() != 1 {
				t.Errorf("%d fences", s.fences())
			}
			for _, f := range s.Fences {
				if f.Count > 0 && !slices.Contains(strings.Fields(c.by), f.Kind) {
					t.Errorf("a fence by %s", f.Kind)
				}
			}
			says := func(log string) bool { return strings.Contains(log, c.says) }
			if err := d.all.await(patience, says); err != nil {
				t.Errorf("the log does not say %q: %v", c.says, err)
			}
			sh.must("flush")
			px[1].heal()
			d.awaitStatus("both paths active", func(s *status) bool { return s.all("active") })
			for i := range 4 {
				sh.must(fmt.Sprintf("read -P %d %dk 64k", 2+i, i*64))
			}
			d.stop()
		})
	}
}

// A daemon that registers keys is killed under load and started again: what the first left
// is fenced.
func TestKeysOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 2)
	d := up(t, e.urls(), "--fence", "reserve")
	openShell(t, d.uri()).must("write -P 1 0 256k")
	d.kill()
	text := readState(t, d)
	if strings.Count(text, `"key": "0x`) != 2 {
		t.Errorf("the state file names no keys: %s", text)
	}
	d = d.again(t, e.urls())
	if again := readState(t, d); again == text {
		t.Error("the second daemon has the keys of the first")
	}
	openShell(t, d.uri()).must("read -P 1 0 256k")
	d.stop()
}

func readState(t *testing.T, d *daemon) string {
	t.Helper()
	text, err := os.ReadFile(d.stateFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The longest that a write waits when one of two paths falls silent is Time2Wait (2 s at
// tgt), counted from the last sign of life, and fence_settle (1 s, as tgt is). A machine that
// is busy adds to that: of a few tries one is undisturbed.
func TestSilenceIsPartOfTime2Wait(t *testing.T) {
	g := startTgtd(t, tgtConfig{portals: 2})
	px := proxies(t, g.portals)
	d := up(t, sessionURLs(proxyAddresses(px), tgtIQN, 1), "--path-selector", "round-robin")
	c := dialRaw(t, d.socket)
	const most, tries = 4 * time.Second, 3 // 4.25 s where the silence comes on top
	for try := 1; ; try++ {
		longest := longestWrite(c, px[1].blackhole)
		t.Logf("the longest write took %v", longest)
		if longest < time.Second {
			t.Errorf("the longest write took %v: it did not wait for the lost path", longest)
		}
		px[1].heal()
		if longest <= most {
			break
		}
		if try == tries {
			t.Fatalf("the longest write took more than %v each time, not about 3 s", most)
		}
		d.awaitStatus("both paths active", func(s *status) bool { return s.all("active") })
	}
	d.stop()
}

// longestWrite writes for a while, with a fault in the middle.
func longestWrite(c *rawClient, fault func()) (longest time.Duration) {
	c.t.Helper()
	block := make([]byte, 4096)
	for i := range 400 {
		if i == 100 {
			fault()
		}
		began := time.Now()
		if _, errno := c.do(nbdWrite, 0, uint64(i%64)*4096, len(block), block); errno != 0 {
			c.t.Fatalf("write %d: %v", i, errno)
		}
		longest = max(longest, time.Since(began))
	}
	return longest
}
