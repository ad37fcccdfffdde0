package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeDevice is a device that only shows what it was given.
type fakeDevice struct {
	status Status
	err    error
	downs  int
}

func (f *fakeDevice) Status() (Status, error) { return f.status, f.err }
func (f *fakeDevice) Down(context.Context) error {
	f.downs++
	return f.err
}

func (f *fakeDevice) act(format string, args ...any) (string, error) {
	return fmt.Sprintf(format, args...), f.err
}

func (f *fakeDevice) AddPath(_ context.Context, u URL) (string, error) { return f.act("add %v", u) }
func (f *fakeDevice) ChangePath(_ context.Context, a PathAction, which string) (string, error) {
	return f.act("%s %s", a, which)
}
func (f *fakeDevice) Queue(on bool) (string, error)          { return f.act("queue %v", on) }
func (f *fakeDevice) Resize(context.Context) (string, error) { return f.act("resize") }

func testStatus() Status {
	since := "2026-01-02T03:04:05Z"
	return Status{
		Name: "disk", WWID: "naa.6001405aabbccdd", Vendor: "BRAID", Product: "ram disk",
		SizeBytes: 10 << 30, BlockSize: 512, State: "draining",
		Policy:  Policy{"drain", "service-time", "queue", "auto", 256 << 20, "immediate"},
		Exports: []string{"unix:/run/braid/disk.nbd"}, Clients: 2,
		Paths: []PathStatus{
			{URL: "iscsi://10.0.0.1/iqn.a:d/1", ISID: "80a3c5c2ce72", TSIH: 7, State: "active", TPG: 1,
				ALUA: "active/optimized", InFlight: 12, Reads: 100, Writes: 50, ReadBytes: 409600,
				WriteBytes: 5 << 20, ServiceTimeUS: 141.4,
				Connections: []ConnectionStatus{{"10.0.0.1:3260", 0, "up"}, {"10.0.0.2:3261", 1, "login"}}},
			{Slot: 1, URL: "iscsi://10.0.1.1/iqn.a:d/1", ISID: "80a3c5c2ce73", State: "recovering",
				Retries: 3, Failovers: 1, Error: "connection refused"},
		},
		Flushes:       FlushStatus{20, 10, 1, 0.123},
		UnstableBytes: 1536, RetainedBytes: 1536, DoubtfulWrites: 1,
		Fences:      []FenceStatus{{"reinstate", 2}},
		NoPathSince: &since, Initiator: "iqn.h:1", PID: 42, Version: "devel", UptimeSeconds: 61,
	}
}

func TestStatusTable(t *testing.T) {
	for _, tt := range []struct {
		wide bool
		want string
	}{
		{false, `
disk (naa.6001405aabbccdd) unix:/run/braid/disk.nbd BRAID,ram disk
size=10G block=512 state=draining no_path=queue fence=auto wp=rw
` + "`" + `-+- policy='service-time' barrier='drain' status=active
  |- 0 10.0.0.1,10.0.0.2:3261     active     active/optimized 1/2 conn 12 in flight
  ` + "`" + `- 1 iscsi://10.0.1.1/iqn.a:d/1 recovering -                0/0 conn 0 in flight connection refused
  no path since 2026-01-02T03:04:05Z
`},
		{true, `
disk (naa.6001405aabbccdd) unix:/run/braid/disk.nbd BRAID,ram disk
size=10G block=512 state=draining no_path=queue fence=auto wp=rw
` + "`" + `-+- policy='service-time' barrier='drain' status=active
  |- 0 10.0.0.1,10.0.0.2:3261     active     active/optimized 1/2 conn 12 in flight isid 80a3c5c2ce72 ` +
			`tsih 7 tpg 1 r 100 (400K) w 50 (5M) 0 retries 141 us
  ` + "`" + `- 1 iscsi://10.0.1.1/iqn.a:d/1 recovering -                0/0 conn 0 in flight  isid 80a3c5c2ce73 ` +
			`tsih 0 tpg 0 r 0 (0)      w 0 (0)   3 retries 0 us connection refused
  flushes: 20 in 10 rounds of 12.3ms, 1 failed
  writes: 1.5K unstable, 1.5K retained of 256M, 1 doubtful
  fences: 2 by reinstate
  2 clients, pid 42, up 1m1s, initiator iqn.h:1
  no path since 2026-01-02T03:04:05Z
`},
	} {
		var b bytes.Buffer
		if err := renderTable(&b, testStatus(), tt.wide); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + b.String(); got != tt.want {
			t.Errorf("wide=%v gave%s\nwant%s", tt.wide, got, tt.want)
		}
	}
}

// TestStatusJSON pins the names down that others rely on.
func TestStatusJSON(t *testing.T) {
	data, err := json.Marshal(Status{Paths: []PathStatus{{}}}.normalized())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("name wwid size_bytes block_size read_only state exports " +
		"paths flushes unstable_bytes retained_bytes doubtful_writes fences no_path_since") {
		if _, ok := got[key]; !ok {
			t.Errorf("no %q in %s", key, data)
		}
	}
	path := got["paths"].([]any)[0].(map[string]any)
	for _, key := range strings.Fields("url isid tsih state tpg alua connections in_flight reads " +
		"writes read_bytes write_bytes retries failovers service_time_us") {
		if _, ok := path[key]; !ok {
			t.Errorf("no %q in a path: %s", key, data)
		}
	}
	if strings.Contains(strings.ReplaceAll(string(data), `"no_path_since":null`, ""), "null") {
		t.Errorf("a list is null: %s", data)
	}
}

func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "disk.sock")
	device := &fakeDevice{status: testStatus()}
	silent := func(slog.Level, string, ...any) {}
	c, err := ServeControl(path, device, silent)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := ServeControl(path, device, silent); err == nil ||
		!strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("a second one: %v", err)
	}

	var out, errs bytes.Buffer
	if code := run([]string{"status", path, "-o", "json"}, &out, &errs); code != exitOK {
		t.Fatalf("status: exit %d, %s", code, errs.String())
	}
	var got Status
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Paths[0].InFlight != 12 {
		t.Errorf("status gave %s, %v", out.String(), err)
	}
	out.Reset()
	if code := run([]string{"status", path}, &out, &errs); code != exitOK ||
		!strings.HasPrefix(out.String(), "disk (naa.6001405aabbccdd) ") {
		t.Errorf("status: exit %d, %s", code, out.String())
	}

	metrics, err := newControlClient("disk", path).do(t.Context(), http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`braid_flushes_total{device="disk"} 20`,
		`braid_state{device="disk",state="draining"} 1`,
		`braid_path_writes_total{device="disk",path="0",url="iscsi://10.0.0.1/iqn.a:d/1"} 50`,
		`braid_path_connections{device="disk",path="0",url="iscsi://10.0.0.1/iqn.a:d/1"} 1`,
		`braid_fences_total{device="disk",kind="reinstate"} 2`,
	} {
		if !strings.Contains(string(metrics), want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}

	if code := run([]string{"down", path}, &out, &errs); code != exitOK || device.downs != 1 {
		t.Errorf("down: exit %d, %d times", code, device.downs)
	}
	device.err = errors.New("the flush failed")
	errs.Reset()
	if code := run([]string{"down", path}, &out, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "the flush failed") {
		t.Errorf("failing down: exit %d, %s", code, errs.String())
	}

	c.Close()
	errs.Reset()
	if code := run([]string{"status", path}, &out, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "is not running: nobody listens on "+path) {
		t.Errorf("status after the end: exit %d, %s", code, errs.String())
	}
}

// TestActions: what the commands ask of a device, and what becomes of its answers.
func TestActions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.sock")
	device := &fakeDevice{}
	c, err := ServeControl(path, device, func(slog.Level, string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const url = "iscsi://10.0.0.1/iqn.2001-04.com.example:d/1"
	for _, tt := range []struct {
		args string
		err  error
		code int
		want string
	}{
		{"path add NAME " + url, nil, exitOK, "add " + url},
		{"path remove NAME iscsi://10.0.0.1:3260/iqn.2001-04.com.example:d/1", nil, exitOK,
			"remove " + url},
		{"path fail NAME 3", nil, exitOK, "fail 3"},
		{"path reinstate NAME " + url, nil, exitOK, "reinstate " + url},
		{"queue NAME off", nil, exitOK, "queue false"},
		{"queue NAME on", nil, exitOK, "queue true"},
		{"resize NAME", nil, exitOK, "resize"},
		{"path remove NAME 3", &ActionError{true, errors.New("no such path")}, exitFailed,
			"braid: device NAME: no such path"},
		{"resize NAME", errEnded, exitFailed, "braid: device NAME: the daemon has ended"},
		{"path", nil, exitUsage, "braid: braid path takes add, remove, fail or reinstate"},
		{"path shoot NAME 1", nil, exitUsage, "braid: braid path takes add, remove, fail or"},
		{"path add NAME 3", nil, exitUsage, `braid: URL "3": `},
		{"path fail NAME", nil, exitUsage, "braid: braid path fail takes a NAME and a URL"},
		{"path fail NAME x", nil, exitUsage, `braid: URL "x": `},
		{"queue NAME maybe", nil, exitUsage, `braid: "maybe" is neither on nor off`},
	} {
		device.err = tt.err
		var out, errs bytes.Buffer
		code := run(strings.Fields(strings.ReplaceAll(tt.args, "NAME", path)), &out, &errs)
		got := strings.ReplaceAll(out.String()+errs.String(), path, "NAME")
		if code != tt.code || !strings.HasPrefix(got, tt.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("braid %s: exit %d, %s", tt.args, code, got)
		}
	}
	for body, want := range map[string]string{
		"{": "400", `{"url":"x"}`: "400", `{"mode":"x"}`: "400",
	} {
		client := newControlClient("disk", path)
		resp, err := client.http.Post("http://braid/v1/path/fail", "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !strings.HasPrefix(resp.Status, want) {
			t.Errorf("%s: %s", body, resp.Status)
		}
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("on a file: %v", err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := listenUnix(stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	l.Close()
	if l, err = listenUnix(stale); err != nil {
		t.Fatalf("on a stale socket: %v", err)
	}
	l.Close()
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"upp", `braid: unknown command "upp"; did you mean "up"?`},
		{"frobnicate", `braid: unknown command "frobnicate": braid --help lists them`},
		{"up", "braid: braid up takes a NAME or URLs (see braid up --help)"},
		{"up --barier=drain x", "braid: unknown flag: --barier"},
		{"up no-such-device-here", "braid: /etc/braid/no-such-device-here.toml does not exist: write it"},
		{"up ../x", "braid: ../x does not exist"},
		{"up a b", "braid: braid up takes one NAME, or URLs that begin with iscsi://"},
		{"up iscsi://h/disk/1", `braid: URL "iscsi://h/disk/1": target name "disk" does not begin`},
		{"up iscsi://h/iqn.2001-04.a:b/1 --nbd=auto --nbd=/dev/nbd0",
			"braid: --nbd: auto and /dev/nbd0: one kernel device is enough"},
		{"up iscsi://h/iqn.2001-04.a:b/1 --nbd=unix:/x --fence=kill", `braid: --fence: "kill" is none of`},
		{"status -o yaml", `braid: --output: "yaml" is none of table, wide, json`},
		{"status a b", "braid: braid status takes at most one NAME"},
		{"status .x", `braid: name ".x": it begins with`},
		{"down", "braid: braid down takes one NAME"},
	} {
		var out, errs bytes.Buffer
		code := run(strings.Fields(tt.args), &out, &errs)
		if code != exitUsage || !strings.HasPrefix(errs.String(), tt.want) ||
			strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("braid %s: exit %d, output %q, errors\n%swant\n%s", tt.args, code, out.String(),
				errs.String(), tt.want)
		}
	}
}

// TestStatusGroups: the table shows paths by target port group, the one in use first.
func TestStatusGroups(t *testing.T) {
	path := func(slot int, state, alua string, group int) PathStatus {
		return PathStatus{Slot: slot, URL: fmt.Sprintf("iscsi://p%d/iqn.a:d/1", slot), State: state,
			ALUA: alua, ALUAGroup: group}
	}
	s := Status{Name: "disk", State: "striped", BlockSize: 512, Policy: Policy{NoPath: "queue"},
		Paths: []PathStatus{path(0, "ghost", "standby", 1), path(1, "active", "active/optimized", 2),
			path(2, "faulty", "", 1), path(3, "recovering", "active/optimized", 2)}}
	s.Paths[3].Marginal, s.Paths[3].Added = true, true
	var b bytes.Buffer
	if err := renderTable(&b, s, false); err != nil {
		t.Fatal(err)
	}
	want := `
disk (-)  -
size=0 block=512 state=striped no_path=queue fence= wp=rw
|-+- policy='' barrier='' status=active
| |- 1 iscsi://p1/iqn.a:d/1 active     active/optimized 0/0 conn 0 in flight
| ` + "`" + `- 3 iscsi://p3/iqn.a:d/1 recovering active/optimized 0/0 conn 0 in flight ` +
		`in reserve: lost too often; added, not in the configuration
` + "`" + `-+- policy='' barrier='' status=enabled
  |- 0 iscsi://p0/iqn.a:d/1 ghost  standby 0/0 conn 0 in flight
  ` + "`" + `- 2 iscsi://p2/iqn.a:d/1 faulty -       0/0 conn 0 in flight
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("%s\nwant%s", got, want)
	}
}
