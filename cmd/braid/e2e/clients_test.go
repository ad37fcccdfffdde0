//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fioLoad is a load that checks every byte it wrote.
type fioLoad struct {
	uri        string
	rw         string // randwrite unless said
	block      string // 4k unless said
	size       string // of each job
	offset     string
	jobs       int // NBD connections; 1 unless said
	depth      int // 16 unless said
	fsync      int // writes between flushes; none unless said
	iops       int // at most, of each job; not limited unless said
	engineOnly []string
}

func (l fioLoad) args() []string {
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	args := []string{"--name=load", "--ioengine=nbd", "--uri=" + l.uri,
		"--rw=" + def(l.rw, "randwrite"), "--bs=" + def(l.block, "4k"), "--size=" + l.size,
		"--offset=" + def(l.offset, "0"), "--offset_increment=" + l.size,
		fmt.Sprintf("--numjobs=%d", max(l.jobs, 1)), "--group_reporting",
		"--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0",
		"--randrepeat=0"}
	depth := l.depth
	if depth == 0 {
		depth = 16
	}
	args = append(args, fmt.Sprintf("--iodepth=%d", depth))
	if l.fsync > 0 {
		args = append(args, fmt.Sprintf("--fsync=%d", l.fsync))
	}
	if l.iops > 0 {
		args = append(args, fmt.Sprintf("--rate_iops=,%d", l.iops))
	}
	return append(args, l.engineOnly...)
}

// begin starts the load.
func (l fioLoad) begin(t *testing.T) *child {
	t.Helper()
	return start(t, "fio", command(t, tool(t, "fio"), l.args()...), false)
}

// run runs the load to its end.
func (l fioLoad) run(t *testing.T) {
	t.Helper()
	finishFio(t, l.begin(t))
}

// An endless load is one load after the other until it is told to finish: what is done to
// it meanwhile may take as long as it takes.
type endless struct {
	stop atomic.Bool
	gone chan struct{}
}

func (l fioLoad) endless(t *testing.T) *endless {
	t.Helper()
	tool(t, "fio")
	e := &endless{gone: make(chan struct{})}
	go func() {
		defer close(e.gone)
		for !e.stop.Load() && l.clean(t) {
		}
	}()
	t.Cleanup(e.finish)
	return e
}

// clean runs the load once, and reports whether it went well.
func (l fioLoad) clean(t *testing.T) bool {
	c := l.begin(t)
	select {
	case <-c.exited:
	case <-time.After(longest):
		t.Errorf("fio has not ended within %v", longest)
		return false
	}
	good := c.cmd.ProcessState.Success() && strings.Contains(c.all.text(), "err= 0")
	if !good && !t.Failed() {
		t.Errorf("fio: %v", c.cmd.ProcessState)
	}
	return good
}

// finish waits for the end of what is under way. None of it may have seen an error.
func (e *endless) finish() {
	e.stop.Store(true)
	<-e.gone
}

// finishFio waits for the end of a load, which must have seen no error.
func finishFio(t *testing.T, c *child) {
	t.Helper()
	if code := c.code(longest); code != 0 {
		t.Fatalf("fio: exit code %d", code)
	}
	if out := c.all.text(); !strings.Contains(out, "err= 0") {
		t.Fatal("fio does not say that there was no error")
	}
}

// qemuIO runs commands of qemu-io; none may fail.
func qemuIO(t *testing.T, uri string, commands ...string) string {
	t.Helper()
	args := []string{"-f", "raw", "-t", "writeback", "-d", "unmap"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out := runTool(t, "qemu-io", append(args, uri)...)
	for _, bad := range []string{"failed", "error", "Invalid", "not supported"} {
		if strings.Contains(out, bad) {
			t.Fatalf("qemu-io: %s", out)
		}
	}
	return out
}

// A shell is a qemu-io that is told one command after the other.
type shell struct {
	*child
	seen int
}

const prompt = "qemu-io> "

// openShell opens a device. A write is not flushed unless it is asked for.
func openShell(t *testing.T, uri string) *shell {
	t.Helper()
	cmd := command(t, tool(t, "qemu-io"), "-f", "raw", "-t", "writeback", uri)
	s := &shell{child: start(t, "qemu-io", cmd, true)}
	s.answer(patience)
	return s
}

// do gives a command and waits for its answer.
func (s *shell) do(command string, within time.Duration) string {
	s.t.Helper()
	s.begin(command)
	return s.answer(within)
}

// must does what may not fail.
func (s *shell) must(command string) {
	s.t.Helper()
	if got := s.do(command, patience); strings.Contains(got, "fail") || strings.Contains(got, "error") {
		s.t.Errorf("%s: %s", command, got)
	}
}

func (s *shell) begin(command string) {
	s.t.Helper()
	s.seen = len(s.all.text())
	s.say(command)
}

// pending reports whether the command that was given last is still not answered
// after a while.
func (s *shell) pending(after time.Duration) bool {
	return s.all.await(after, s.prompted) != nil && s.running()
}

func (s *shell) prompted(text string) bool {
	return len(text) > s.seen && strings.HasSuffix(text, prompt)
}

// answer waits for the answer to the command that was given last: what stands
// before the next prompt.
func (s *shell) answer(within time.Duration) string {
	s.t.Helper()
	if err := s.all.await(within, s.prompted); err != nil {
		s.t.Fatalf("qemu-io does not answer: %v", err)
	}
	return strings.TrimSpace(strings.TrimSuffix(s.all.text()[s.seen:], prompt))
}

// An export is what nbdinfo tells of one.
type export struct {
	Name       string `json:"export-name"`
	Size       uint64 `json:"export-size"`
	ReadOnly   bool   `json:"is_read_only"`
	Rotational bool   `json:"is_rotational"`
	MultiConn  bool   `json:"can_multi_conn"`
	Flush      bool   `json:"can_flush"`
	FUA        bool   `json:"can_fua"`
	Trim       bool   `json:"can_trim"`
	Zero       bool   `json:"can_zero"`
	Cache      bool   `json:"can_cache"`
	Minimum    uint32 `json:"block_size_minimum"`
	Preferred  uint32 `json:"block_size_preferred"`
	Maximum    uint32 `json:"block_size_maximum"`
}

// nbdinfo describes the one export.
func nbdinfo(t *testing.T, uri string) export {
	t.Helper()
	var info struct {
		Exports []export `json:"exports"`
	}
	out := runTool(t, "nbdinfo", "--json", uri)
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("nbdinfo: %v in %s", err, out)
	}
	if len(info.Exports) != 1 {
		t.Fatalf("nbdinfo shows %d exports, not one", len(info.Exports))
	}
	return info.Exports[0]
}
