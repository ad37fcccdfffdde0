//go:build e2e

package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A shape is a way to make one device out of the portals of a target.
type shape struct {
	name        string
	portals     int
	mcs         bool
	paths       int
	connections int // of each path
}

var shapes = []shape{
	{"two sessions", 2, false, 2, 1},
	{"four sessions", 4, false, 4, 1},
	{"one session of two connections", 2, true, 1, 2},
	{"one session of four connections", 4, true, 1, 4},
}

// urls leads to LUN 1 of a tgtd through these portals.
func (s shape) urls(portals []string) []string {
	if s.mcs {
		return []string{mcsURL(portals)}
	}
	return sessionURLs(portals, tgtIQN, 1)
}

// up starts a daemon and waits until all its connections are there.
func (s shape) up(t *testing.T, g *tgtd, flags ...string) *daemon {
	t.Helper()
	d := up(t, s.urls(g.portals), flags...)
	d.awaitStatus("all connections up", s.complete)
	return d
}

func (s shape) complete(st *status) bool {
	if len(st.Paths) != s.paths || !st.all("active") {
		return false
	}
	for _, p := range st.Paths {
		if len(p.Connections) != s.connections {
			return false
		}
		for _, c := range p.Connections {
			if c.State != "up" {
				return false
			}
		}
	}
	return true
}

// Every client of ours on every shape, and the file behind the LUN afterwards.
func TestClientsOnShapes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			g := startTgtd(t, tgtConfig{portals: s.portals})
			d := s.up(t, g)
			checkNbdinfo(t, d)
			checkQemuIO(t, d, g)
			checkFio(t, d, s)
			checkNbdcopy(t, d, g)
			d.stop()
		})
	}
}

func checkNbdinfo(t *testing.T, d *daemon) {
	t.Helper()
	got := nbdinfo(t, d.uri())
	want := export{Name: got.Name, Size: lunBytes, MultiConn: true, Flush: true, FUA: true,
		Trim: true, Zero: true, Cache: true, Minimum: 512, Preferred: got.Preferred,
		Maximum: got.Maximum, Rotational: got.Rotational}
	if got != want {
		t.Errorf("nbdinfo: %+v, not %+v", got, want)
	}
	if got.Preferred < 4096 || got.Maximum < 1<<20 || got.Maximum > 64<<20 {
		t.Errorf("block sizes: preferred %d, maximum %d", got.Preferred, got.Maximum)
	}
}

func checkFio(t *testing.T, d *daemon, s shape) {
	t.Helper()
	before := d.mustStatus()
	fioLoad{uri: d.uri(), size: "8m", fsync: 32}.run(t)
	fioLoad{uri: d.uri(), rw: "write", block: "384k", size: "24m", depth: 4, fsync: 8}.run(t)
	after := d.mustStatus()
	if n := after.Flushes.Requested - before.Flushes.Requested; n < 64 {
		t.Errorf("%d flushes were counted, fio asked for 64 at least", n)
	}
	for i, p := range after.Paths {
		if p.Writes == before.Paths[i].Writes || p.Reads == before.Paths[i].Reads {
			t.Errorf("path %d took no part: %+v", i, p)
		}
	}
	if after.UnstableBytes != 0 && after.RetainedBytes == 0 {
		t.Errorf("%d bytes are unstable, of which no copy is kept", after.UnstableBytes)
	}
}

func checkQemuIO(t *testing.T, d *daemon, g *tgtd) {
	t.Helper()
	const k, m = 1 << 10, 1 << 20
	qemuIO(t, d.uri(),
		"write -P 0x5a 0 4M", "flush", "read -P 0x5a 0 4M",
		"write -f -P 0x11 1M 64k", "read -P 0x11 1M 64k",
		"write -z 2M 128k", "read -P 0 2M 128k",
		"write -z -f 2M 192k",
		"discard 3M 512k",
		"write -P 0x33 1536 512", "read -P 0x33 1536 512",
		"aio_write -P 0x44 4M 64k", "aio_write -P 0x45 4160k 64k", "aio_flush",
		"flush", "read -P 0x44 4M 64k", "read -P 0x45 4160k 64k")
	g.holds(0, 1536, 0x5a)
	g.holds(1536, 512, 0x33)
	g.holds(2048, m-2048, 0x5a)
	g.holds(m, 64*k, 0x11)
	g.holds(m+64*k, m-64*k, 0x5a)
	g.holds(2*m, 192*k, 0)
	g.holds(2*m+192*k, m-192*k, 0x5a)
	g.holds(3*m+512*k, 512*k, 0x5a)
	g.holds(4*m, 64*k, 0x44)
	g.holds(4*m+64*k, 64*k, 0x45)
}

// checkNbdcopy writes the whole LUN over several NBD connections, and reads it
// back.
func checkNbdcopy(t *testing.T, d *daemon, g *tgtd) {
	t.Helper()
	folder := tempDir(t)
	source, back := filepath.Join(folder, "source"), filepath.Join(folder, "back")
	data := make([]byte, lunBytes)
	rand.NewChaCha8([32]byte{1}).Read(data[:24<<20]) // the rest is zeroes
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "nbdcopy", "--flush", source, d.uri())
	if !bytes.Equal(g.image(0, lunBytes), data) {
		t.Error("nbdcopy: the file behind the LUN is not what was copied to the device")
	}
	runTool(t, "nbdcopy", d.uri(), back)
	got, err := os.ReadFile(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("nbdcopy: what comes back is not what was copied to the device")
	}
}
