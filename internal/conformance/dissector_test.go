package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A field is one that the dissector names, where RFC 7143 draws it.
type field struct {
	name  string
	at, n int  // bytes of the header
	mask  byte // of a single byte; 0: all of it
}

// fields that the dissector tells of each PDU of an initiator.
var fields = map[byte][]field{
	NopOut: {{"iscsi.initiatortasktag", 16, 4, 0}, {"iscsi.targettransfertag", 20, 4, 0},
		{"iscsi.cmdsn", 24, 4, 0}, {"iscsi.expstatsn", 28, 4, 0}},
	SCSI: {{"iscsi.scsicommand.F", 1, 1, 0x80}, {"iscsi.scsicommand.R", 1, 1, 0x40},
		{"iscsi.scsicommand.W", 1, 1, 0x20}, {"iscsi.scsicommand.attr", 1, 1, 7},
		{"iscsi.datasegmentlength", 5, 3, 0}, {"iscsi.initiatortasktag", 16, 4, 0},
		{"iscsi.scsicommand.expecteddatatransferlength", 20, 4, 0}, {"iscsi.cmdsn", 24, 4, 0},
		{"iscsi.expstatsn", 28, 4, 0}},
	TaskReq: {{"iscsi.taskmanfun.function", 1, 1, 0x7f}, {"iscsi.initiatortasktag", 16, 4, 0},
		{"iscsi.taskmanfun.referencedtasktag", 20, 4, 0}, {"iscsi.cmdsn", 24, 4, 0},
		{"iscsi.expstatsn", 28, 4, 0}, {"iscsi.refcmdsn", 32, 4, 0}}, // it does not tell ExpDataSN
	LoginReq: {{"iscsi.login.T", 1, 1, 0x80}, {"iscsi.login.C", 1, 1, 0x40},
		{"iscsi.login.csg", 1, 1, 0x0c}, {"iscsi.tsih", 14, 2, 0}, {"iscsi.cid", 20, 2, 0},
		{"iscsi.versionmax", 2, 1, 0}, {"iscsi.versionmin", 3, 1, 0},
		{"iscsi.initiatortasktag", 16, 4, 0}, {"iscsi.cmdsn", 24, 4, 0},
		{"iscsi.expstatsn", 28, 4, 0}},
	TextReq: {{"iscsi.text.F", 1, 1, 0x80}, {"iscsi.text.C", 1, 1, 0x40},
		{"iscsi.initiatortasktag", 16, 4, 0}, {"iscsi.targettransfertag", 20, 4, 0},
		{"iscsi.cmdsn", 24, 4, 0}, {"iscsi.expstatsn", 28, 4, 0}},
	DataOut: {{"iscsi.datasegmentlength", 5, 3, 0}, {"iscsi.initiatortasktag", 16, 4, 0},
		{"iscsi.targettransfertag", 20, 4, 0}, {"iscsi.expstatsn", 28, 4, 0},
		{"iscsi.datasn", 36, 4, 0}, {"iscsi.bufferOffset", 40, 4, 0}},
	LogoutReq: {{"iscsi.logout.reason", 1, 1, 0x7f}, {"iscsi.initiatortasktag", 16, 4, 0},
		{"iscsi.cid", 20, 2, 0}, {"iscsi.cmdsn", 24, 4, 0}, {"iscsi.expstatsn", 28, 4, 0}},
	SNACK: {{"iscsi.snack.type", 1, 1, 0x0f}, {"iscsi.initiatortasktag", 16, 4, 0},
		{"iscsi.expstatsn", 28, 4, 0}, {"iscsi.snack.begrun", 40, 4, 0},
		{"iscsi.snack.runlength", 44, 4, 0}},
}

func (f field) of(p *PDU) uint64 {
	var v uint64
	for _, b := range p.H[f.at : f.at+f.n] {
		v = v<<8 | uint64(b)
	}
	if f.mask == 0 {
		return v
	}
	v &= uint64(f.mask)
	for m := f.mask; m&1 == 0; m >>= 1 {
		v >>= 1
	}
	return v
}

// Severities of the dissector's remarks.
const severityWarn = 6291456

// The dissector of Wireshark, which nobody here has written, reads all bytes that
// the other tests exchanged. It finds each PDU of the initiator where the Judge
// found it, with the same values in the same fields, and has no remark on it. The
// test is parallel so that it begins when the others have ended.
func TestDissector(t *testing.T) {
	t.Parallel()
	if len(captured.sent) == 0 {
		t.Skip("nothing was captured: run it with the other tests")
	}
	if err := captured.file.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed: scripts/test installs it for root")
	}
	rows := dissect(t)
	kinds := map[byte]int{}
	at := map[int]int{} // by stream: the next PDU of the initiator
	for _, row := range rows {
		n := row.stream
		where := fmt.Sprintf("%s, frame %d", captured.tests[n], row.frame)
		if row.malformed && (row.fromInitiator || !captured.tainted[n]) {
			t.Errorf("%s: malformed", where)
		}
		if row.severity >= severityWarn && (row.fromInitiator || !captured.tainted[n]) &&
			!(moved(n) && strings.HasPrefix(row.remark, "Unknown SCSI exchange")) {
			t.Errorf("%s: %s", where, row.remark)
		}
		if !row.fromInitiator || row.value["iscsi.opcode"] == "" {
			continue
		}
		if at[n] >= len(captured.sent[n]) {
			t.Errorf("%s: more PDUs than were sent", where)
			continue
		}
		p := captured.sent[n][at[n]]
		at[n]++
		kinds[p.Op()]++
		compare(t, where, p, row.value)
	}
	for n, list := range captured.sent {
		if at[n] != len(list) {
			t.Errorf("%s: the dissector found %d PDUs, %d were sent", captured.tests[n], at[n], len(list))
		}
	}
	for op := range section {
		t.Logf("%-24s %6d seen by the dissector", opNames[op], kinds[op])
	}
}

// moved says whether a task was reassigned to the connection of a stream, of which
// the dissector, which looks at one connection at a time, then knows no command.
func moved(stream int) bool {
	return slices.ContainsFunc(captured.sent[stream], func(p *PDU) bool {
		return p.Op() == TaskReq && p.H[1] == 0x80|TaskReassign
	})
}

// compare holds the dissector's values against those at the Judge's offsets.
func compare(t *testing.T, where string, p *PDU, value map[string]string) {
	t.Helper()
	if op := number64(value["iscsi.opcode"]); op != uint64(p.Op()) {
		t.Errorf("%s: opcode 0x%02x, the dissector says 0x%02x", where, p.Op(), op)
		return
	}
	for _, f := range fields[p.Op()] {
		if got, want := number64(value[f.name]), f.of(p); value[f.name] == "" || got != want {
			t.Errorf("%s: %s of %s is %d, the dissector says %q", where, f.name, opNames[p.Op()],
				want, value[f.name])
		}
	}
}

// number64 reads what the dissector prints: decimal, hexadecimal, or a truth.
func number64(s string) uint64 {
	switch s {
	case "True":
		return 1
	case "False":
		return 0
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 1 << 63
	}
	return v
}

// A dissected is one packet.
type dissected struct {
	stream, frame int
	fromInitiator bool
	malformed     bool
	severity      uint64
	remark        string
	value         map[string]string
}

func dissect(t *testing.T) (rows []dissected) {
	t.Helper()
	var wanted []string
	for _, list := range fields {
		for _, f := range list {
			if !slices.Contains(wanted, f.name) {
				wanted = append(wanted, f.name)
			}
		}
	}
	slices.Sort(wanted)
	columns := append([]string{"tcp.stream", "frame.number", "tcp.dstport", "_ws.malformed",
		"_ws.expert.severity", "_ws.expert.message", "iscsi.opcode"}, wanted...)
	args := []string{"-r", captured.path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a",
		"-o", "iscsi.bogus_pdu_max_data_len:16777215", "-o", "tcp.check_checksum:FALSE"}
	for _, c := range columns {
		args = append(args, "-e", c)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		col := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(col) != len(columns) {
			t.Fatalf("tshark says %q", line)
		}
		row := dissected{fromInitiator: col[2] == "3260", malformed: col[3] != "", remark: col[5],
			value: map[string]string{}}
		row.stream, _ = strconv.Atoi(col[0])
		row.frame, _ = strconv.Atoi(col[1])
		for _, s := range strings.Split(col[4], ",") {
			if s != "" {
				row.severity = max(row.severity, number64(s))
			}
		}
		for i, c := range columns[6:] {
			row.value[c], _, _ = strings.Cut(col[6+i], ",")
		}
		rows = append(rows, row)
	}
	return rows
}
