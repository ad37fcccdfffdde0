//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// status is the part of the status that is promised to stay.
type status struct {
	Name      string   `json:"name"`
	WWID      string   `json:"wwid"`
	SizeBytes uint64   `json:"size_bytes"`
	BlockSize uint32   `json:"block_size"`
	ReadOnly  bool     `json:"read_only"`
	State     string   `json:"state"`
	Exports   []string `json:"exports"`
	Paths     []path   `json:"paths"`
	Flushes   struct {
		Requested uint64  `json:"requested"`
		Rounds    uint64  `json:"rounds"`
		Failed    uint64  `json:"failed"`
		Seconds   float64 `json:"seconds_sum"`
	} `json:"flushes"`
	UnstableBytes  uint64 `json:"unstable_bytes"`
	RetainedBytes  uint64 `json:"retained_bytes"`
	DoubtfulWrites uint64 `json:"doubtful_writes"`
	Fences         []struct {
		Kind  string `json:"kind"`
		Count uint64 `json:"count"`
	} `json:"fences"`
	NoPathSince *string `json:"no_path_since"`

	GroupSwitches    uint64 `json:"group_switches"`
	ExplicitSwitches uint64 `json:"explicit_switches"`
}

type path struct {
	URL         string `json:"url"`
	ISID        string `json:"isid"`
	TSIH        uint16 `json:"tsih"`
	State       string `json:"state"`
	TPG         uint16 `json:"tpg"`
	ALUA        string `json:"alua"`
	ALUAGroup   int    `json:"alua_group"`
	Marginal    bool   `json:"marginal"`
	Connections []struct {
		Portal string `json:"portal"`
		CID    uint16 `json:"cid"`
		State  string `json:"state"`
	} `json:"connections"`
	InFlight      int     `json:"in_flight"`
	Reads         uint64  `json:"reads"`
	Writes        uint64  `json:"writes"`
	ReadBytes     uint64  `json:"read_bytes"`
	WriteBytes    uint64  `json:"write_bytes"`
	Retries       uint64  `json:"retries"`
	Failovers     uint64  `json:"failovers"`
	ServiceTimeUS float64 `json:"service_time_us"`
	Recovery      struct {
		DataSNACKs   uint64 `json:"data_snacks"`
		StatusSNACKs uint64 `json:"status_snacks"`
		Retries      uint64 `json:"retried_commands"`
		Reassigned   uint64 `json:"reassigned_tasks"`
		Connections  uint64 `json:"recovered_connections"`
		Fallbacks    uint64 `json:"fallbacks"`
	} `json:"recovery"`
}

func (s *status) states() string {
	var list []string
	for _, p := range s.Paths {
		list = append(list, p.State)
	}
	return strings.Join(list, " ")
}

// all reports whether every path is in that state.
func (s *status) all(state string) bool {
	for _, p := range s.Paths {
		if p.State != state {
			return false
		}
	}
	return len(s.Paths) > 0
}

func (s *status) writes() (n uint64) {
	for _, p := range s.Paths {
		n += p.Writes
	}
	return n
}

func (s *status) fences() (n uint64) {
	for _, f := range s.Fences {
		n += f.Count
	}
	return n
}

func (s *status) failovers() (n uint64) {
	for _, p := range s.Paths {
		n += p.Failovers
	}
	return n
}

// daemons counts the devices, to give each a name of its own.
var daemons atomic.Int32

// A daemon is one `braid up`.
type daemon struct {
	*child
	name    string
	folder  string
	socket  string // NBD
	control string
	args    []string // without the URLs
	client  *http.Client
}

// newDaemon prepares a daemon that is not started.
func newDaemon(t *testing.T, flags ...string) *daemon {
	folder := tempDir(t)
	d := &daemon{
		name:    fmt.Sprintf("e2e-%d-%d", os.Getpid(), daemons.Add(1)),
		folder:  folder,
		socket:  filepath.Join(folder, "nbd"),
		control: filepath.Join(folder, "control"),
	}
	d.args = append([]string{"--name", d.name, "--nbd", "unix:" + d.socket, "--control",
		"unix:" + d.control, "--initiator-name", "iqn.2026-01.net.example:" + d.name}, flags...)
	d.client = &http.Client{
		Timeout: patience,
		Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", d.control)
			}},
	}
	return d
}

// stateFile is where the daemon writes down its sessions.
func (d *daemon) stateFile() string { return filepath.Join(d.folder, d.name+".json") }

// inFolder gives a command of braid's a folder of its own for state, sockets and
// locks.
func inFolder(folder string) []string {
	return append(os.Environ(), "STATE_DIRECTORY="+folder, "RUNTIME_DIRECTORY="+folder)
}

// launch starts the daemon and waits for nothing.
func (d *daemon) launch(t *testing.T, urls ...string) {
	t.Helper()
	cmd := command(t, braidBinary, append(append([]string{"up"}, urls...), d.args...)...)
	cmd.Env = inFolder(d.folder)
	d.child = start(t, d.name, cmd, false)
}

// awaitReady waits for the line that says so, and checks it.
func (d *daemon) awaitReady() {
	d.t.Helper()
	err := d.stdout.await(patience, func(text string) bool { return strings.Contains(text, "\n") })
	if err != nil {
		d.t.Fatalf("braid up: no line on standard output: %v", err)
	}
	want := fmt.Sprintf("ready %s unix:%s\n", d.name, d.socket)
	if got := d.stdout.text(); got != want {
		d.t.Fatalf("braid up said %q, not %q", got, want)
	}
}

// up starts a daemon, waits until it is ready and all its paths are up.
func up(t *testing.T, urls []string, flags ...string) *daemon {
	t.Helper()
	d := newDaemon(t, flags...)
	d.launch(t, urls...)
	d.awaitReady()
	d.awaitStatus("all paths active", func(s *status) bool { return s.all("active") })
	return d
}

// status asks the control socket.
func (d *daemon) status() (*status, error) {
	resp, err := d.client.Get("http://braid/v1/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status: %s", resp.Status)
	}
	s := new(status)
	return s, json.NewDecoder(resp.Body).Decode(s)
}

func (d *daemon) mustStatus() *status {
	d.t.Helper()
	s, err := d.status()
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// awaitStatus waits until the status is as wanted, and returns it.
func (d *daemon) awaitStatus(what string, cond func(s *status) bool) *status {
	d.t.Helper()
	return d.awaitStatusFor(patience, what, cond)
}

func (d *daemon) awaitStatusFor(within time.Duration, what string,
	cond func(s *status) bool) *status {
	d.t.Helper()
	late := time.Now().Add(within)
	for {
		s, err := d.status()
		if err == nil && cond(s) {
			return s
		}
		if !d.running() {
			d.t.Fatalf("braid has ended while this was waited for: %s", what)
		}
		if time.Now().After(late) {
			text, _ := json.Marshal(s)
			d.t.Fatalf("not within %v: %s; the status is (%v) %s", within, what, err, text)
		}
		time.Sleep(tick)
	}
}

// uri names the NBD socket to clients.
func (d *daemon) uri() string { return "nbd+unix:///?socket=" + d.socket }

// stop ends the daemon by SIGTERM, which must go well and in time.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(os.Interrupt)
	if code := d.code(stopTime + slack); code != 0 {
		d.t.Errorf("braid up ended with exit code %d after a signal", code)
	}
	if _, err := os.Stat(d.stateFile()); err == nil {
		d.t.Errorf("the state file is left after a clean end: %s", d.stateFile())
	}
}

// braid runs another subcommand to its end and gives its exit code and output.
func braid(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return braidIn(t, tempDir(t), args...)
}

// braidIn does that with the state and sockets of a folder.
func braidIn(t *testing.T, folder string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, braidBinary, args...)
	cmd.Env = inFolder(folder)
	c := start(t, "braid "+args[0], cmd, false)
	code = c.code(patience)
	return code, c.stdout.text(), strings.TrimPrefix(c.all.text(), c.stdout.text())
}

// must runs another subcommand, which must succeed, and gives its output.
func (d *daemon) must(args ...string) string {
	d.t.Helper()
	code, out, said := braidIn(d.t, d.folder, args...)
	if code != 0 || said != "" {
		d.t.Errorf("braid %s: exit code %d, %s", strings.Join(args, " "), code, said)
	}
	return out
}
