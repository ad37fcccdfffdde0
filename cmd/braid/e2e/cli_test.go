//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// discover asks a portal, which must answer.
func discover(t *testing.T, args ...string) string {
	t.Helper()
	code, out, said := braid(t, append([]string{"discover"}, args...)...)
	if code != 0 || said != "" {
		t.Errorf("braid discover %s: exit code %d: %s", strings.Join(args, " "), code, said)
	}
	return out
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, 3)
	table := discover(t, e.portals[1])
	contains(t, table, append(e.portals, "PORTAL", "TARGET", embeddedIQN)...)
	if n := strings.Count(table, "\n"); n != 4 {
		t.Errorf("%d lines in the table, not a head and three portals:\n%s", n, table)
	}
	urls := strings.Fields(discover(t, e.portals[0], "-o", "url"))
	if want := sessionURLs(e.portals, embeddedIQN, 0); !slices.Equal(urls, want) {
		t.Errorf("URLs are %q, not %q", urls, want)
	}
	checkDiscovered(t, e.portals[0], embeddedIQN, e.portals)
	code, _, said := braid(t, "discover", strings.Replace(e.portals[0], "13260", "13261", 1))
	if code != 1 {
		t.Errorf("exit code %d where nobody listens", code)
	}
	contains(t, oneLine(t, said), "refused", "13261")

	g := startTgtd(t, tgtConfig{portals: 2}) // it tells of the portal that is asked only
	checkDiscovered(t, g.portals[1], tgtIQN, g.portals[1:])
}

func checkDiscovered(t *testing.T, portal, target string, portals []string) {
	t.Helper()
	var list []struct {
		Target  string
		Portals []struct {
			Portal string
			TPG    *int
		}
	}
	text := discover(t, portal, "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 ||
		list[0].Target != target || len(list[0].Portals) != len(portals) {
		t.Fatalf("%v: %s", err, text)
	}
	for i, p := range list[0].Portals {
		if p.Portal != portals[i] || p.TPG == nil || *p.TPG != 1 {
			t.Errorf("portal %d: %s", i, text)
		}
	}
}

func TestInquire(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 1})
	code, table, said := braid(t, "inquire", g.urls()[0])
	if code != 0 || said != "" {
		t.Fatalf("exit code %d: %s", code, said)
	}
	contains(t, table, "identity", "naa.6", "64M", fmt.Sprint(lunBytes), "512", "WCE=1", "FUA", "UNMAP",
		"alua", "portal group 1", "digests", "luns")
	_, text, _ := braid(t, "inquire", g.urls()[0], "-o", "json")
	var report map[string]any
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for key, want := range map[string]any{"size_bytes": float64(lunBytes), "block_size": 512.0,
		"vendor": "IET", "read_only": false, "write_cache": true, "fua": true, "thin": true,
		"unmap": true} {
		if report[key] != want {
			t.Errorf("%s is %v, not %v", key, report[key], want)
		}
	}
	code, _, said = braid(t, "inquire", sessionURLs(g.portals, tgtIQN, 7)[0])
	if code != 1 {
		t.Errorf("exit code %d for a LUN that is not there", code)
	}
	contains(t, oneLine(t, said), "LUN", "1")
}

// promised are the keys of the status that are promised to stay, and of what
// kind they are.
var promised = map[string]string{
	"name": "s", "wwid": "s", "size_bytes": "n", "block_size": "n", "read_only": "b", "state": "s",
	"exports": "l", "paths": "l", "flushes": "o", "unstable_bytes": "n", "retained_bytes": "n",
	"doubtful_writes": "n", "fences": "l", "no_path_since": "?",
	"exports[]": "s", "paths[]": "o", "fences[]": "o",
	"flushes.requested": "n", "flushes.rounds": "n", "flushes.failed": "n",
	"flushes.seconds_sum": "n", "fences[].kind": "s", "fences[].count": "n",
	"paths[].url": "s", "paths[].isid": "s", "paths[].tsih": "n", "paths[].state": "s",
	"paths[].tpg": "n", "paths[].alua": "s", "paths[].connections": "l", "paths[].in_flight": "n",
	"paths[].reads": "n", "paths[].writes": "n", "paths[].read_bytes": "n",
	"paths[].write_bytes": "n", "paths[].retries": "n", "paths[].failovers": "n",
	"paths[].service_time_us": "n", "paths[].connections[]": "o",
	"paths[].connections[].portal": "s", "paths[].connections[].cid": "n",
	"paths[].connections[].state": "s",
}

// kinds lists every key of a JSON value and what kind it is.
func kinds(v any, key string, into map[string]string) {
	switch v := v.(type) {
	case string:
		into[key] = "s"
	case float64:
		into[key] = "n"
	case bool:
		into[key] = "b"
	case nil:
		into[key] = "?"
	case []any:
		into[key] = "l"
		for _, e := range v {
			kinds(e, key+"[]", into)
		}
	case map[string]any:
		into[key] = "o"
		for k, e := range v {
			kinds(e, strings.TrimPrefix(key+"."+k, "."), into)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 3})
	d := newDaemon(t)
	url := fmt.Sprintf("iscsi://%s,%s/%s/1", g.portals[1], g.portals[2], tgtIQN)
	for i, a := range d.args { // the control socket in its usual place
		if a == "--control" {
			d.args = append(d.args[:i:i], d.args[i+2:]...)
			break
		}
	}
	d.control = filepath.Join(d.folder, d.name+".sock")
	d.launch(t, g.urls()[0], url)
	d.awaitReady()
	d.awaitStatus("all connections up", func(s *status) bool {
		return s.all("active") && len(s.Paths[1].Connections) == 2 &&
			s.Paths[1].Connections[1].State == "up"
	})
	fioLoad{uri: d.uri(), size: "4m", fsync: 16}.run(t)

	t.Run("json", func(t *testing.T) {
		var v any
		text := d.must("status", d.name, "-o", "json")
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		got := make(map[string]string)
		kinds(v, "", got)
		for key, kind := range promised {
			if got[key] != kind {
				t.Errorf("%s is of kind %q, not %q", key, got[key], kind)
			}
		}
		checkStatusValues(t, d, g, text)
		checkAll(t, d)
	})
	t.Run("table", func(t *testing.T) {
		table := d.must("status", d.name)
		contains(t, table, append(g.portals, d.name, "naa.", "size=64M", "policy='service-time'",
			"barrier='drain'", "active", "no_path=queue")...)
		if same := d.must("status"); same != table {
			t.Errorf("without a name:\n%s with:\n%s", same, table)
		}
		if same := d.must("status", d.control); same != table {
			t.Errorf("by the socket:\n%s by the name:\n%s", same, table)
		}
		wide := d.must("status", d.name, "-o", "wide")
		contains(t, wide, append(g.portals, "isid", "flushes", "retained")...)
	})
	t.Run("metrics", func(t *testing.T) {
		resp, err := d.client.Get("http://braid/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s", resp.Status)
		}
	})
	t.Run("mode of the control socket", func(t *testing.T) {
		info, err := os.Stat(d.control)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
	t.Run("down", func(t *testing.T) {
		d.must("down", d.name)
		if code := d.code(patience); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if n := g.nexuses(); n != 0 {
			t.Errorf("the target still counts %d sessions", n)
		}
		for _, command := range []string{"status", "down"} {
			code, _, said := braidIn(t, d.folder, command, d.name)
			if code != 1 {
				t.Errorf("braid %s of what does not run: exit code %d", command, code)
			}
			contains(t, oneLine(t, said), d.name, "not running")
		}
	})
}

func checkStatusValues(t *testing.T, d *daemon, g *tgtd, text string) {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if s.Name != d.name || s.SizeBytes != lunBytes || s.BlockSize != 512 || s.ReadOnly ||
		s.State != "striped" || len(s.Paths) != 2 || !slices.Equal(s.Exports, []string{"unix:" + d.socket}) {
		t.Errorf("%+v", s)
	}
	if s.writes() < 1024 || s.Flushes.Requested < 64 || s.Flushes.Rounds == 0 || s.Flushes.Seconds <= 0 {
		t.Errorf("%d writes, flushes %+v", s.writes(), s.Flushes)
	}
	for i, p := range s.Paths {
		if len(p.ISID) != 12 || p.TSIH == 0 || p.TPG != 1 || p.State != "active" || p.ServiceTimeUS <= 0 ||
			p.WriteBytes != p.Writes*4096 || p.ReadBytes == 0 {
			t.Errorf("path %d: %+v", i, p)
		}
	}
	c := s.Paths[1].Connections
	if len(c) != 2 || c[0].Portal != g.portals[1] || c[1].Portal != g.portals[2] || c[0].CID == c[1].CID {
		t.Errorf("connections %+v", c)
	}
	if s.Paths[0].ISID == s.Paths[1].ISID {
		t.Error("two sessions of one ISID")
	}
}

// checkAll asks for all devices: a list.
func checkAll(t *testing.T, d *daemon) {
	t.Helper()
	var list []status
	text := d.must("status", "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || list[0].Name != d.name {
		t.Errorf("without a name: %v: %s", err, text)
	}
}

// The demonstration ends well.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := command(t, braidBinary, "demo")
	cmd.Env = inFolder(tempDir(t))
	c := start(t, "braid demo", cmd, false)
	if code := c.code(longest); code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, c.stdout.text(), "NOTHING WAS LOST", "0 wrong")
}

// A device from a file, with a flag laid over it.
func TestUpFromFile(t *testing.T) {
	t.Parallel()
	g := startTgtd(t, tgtConfig{portals: 2})
	d := newDaemon(t)
	file := filepath.Join(d.folder, d.name+".toml")
	text := fmt.Sprintf("urls = [%q, %q]\nnbd = \"unix:%s\"\ncontrol = \"unix:%s\"\nbarrier = \"hold\"\n"+
		"read_only = true\nretain = \"64MiB\"\ninitiator_name = \"iqn.2026-01.net.example:%s\"\n",
		g.urls()[0], g.urls()[1], d.socket, d.control, d.name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = []string{"--barrier", "epoch"}
	d.launch(t, file)
	d.awaitReady()
	contains(t, d.must("status", d.control), "barrier='epoch'", "wp=ro")
	if e := nbdinfo(t, d.uri()); !e.ReadOnly {
		t.Errorf("--read-only, but nbdinfo says %+v", e)
	}
	out := runShell(t, d.uri(), "read 0 4k", "flush")
	contains(t, out, "read 4096/4096")
	d.stop()
}
