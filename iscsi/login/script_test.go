package login

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

// The scripts in testdata are transcripts. What the peer says ("<" blocks) and
// the line with the settings are the input; what the stepper says (">" blocks)
// and the verdict ("!" lines) are what is expected. With -update they are
// written anew, to be read before they are committed.
//
//	case NAME
//	# prose
//	= user=joe secret=...
//	> security, T operational
//	    InitiatorName=iqn.2001-04.com.example:host
//	< security, T operational
//	    AuthMethod=None
//	! done ErrorRecoveryLevel=2
var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// A block is one PDU of a script, or a line of another kind.
type block struct {
	head string
	keys []string
}

func TestInitiatorScripts(t *testing.T) { runScripts(t, "initiator_*.txt", playInitiator) }
func TestTargetScripts(t *testing.T)    { runScripts(t, "target_*.txt", playTarget) }

func runScripts(t *testing.T, pattern string, play func(set map[string]string, in []block) string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, cases := splitCases(string(old))
			out := head
			for _, c := range cases {
				out += replay(c, play)
			}
			if *update {
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if out != string(old) {
				t.Errorf("the transcript differs:\n%s", firstDifference(string(old), out))
			}
		})
	}
}

// splitCases cuts a script at its "case" lines.
func splitCases(s string) (head string, cases []string) {
	parts := regexp.MustCompile(`(?m)^case `).Split(s, -1)
	for _, c := range parts[1:] {
		cases = append(cases, "case "+c)
	}
	return parts[0], cases
}

// replay gives the case as it is now.
func replay(c string, play func(map[string]string, []block) string) string {
	var out strings.Builder
	set := map[string]string{}
	var in []block
	keep := false // within a block of input
	for line := range strings.Lines(c) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "case "), strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "= "):
			fmt.Fprintln(&out, line)
			for _, f := range strings.Fields(line[2:]) {
				k, v, _ := strings.Cut(f, "=")
				set[k] = v
			}
		case strings.HasPrefix(line, "< "):
			in = append(in, block{head: line[2:]})
			keep = true
		case strings.HasPrefix(line, "    ") && keep:
			b := &in[len(in)-1]
			b.keys = append(b.keys, line[4:])
		default:
			keep = false
		}
	}
	out.WriteString(play(set, in))
	out.WriteString("\n")
	return out.String()
}

func firstDifference(old, now string) string {
	a, b := strings.Split(old, "\n"), strings.Split(now, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1,
				strings.Join(a[i:min(i+4, len(a))], "\n      "),
				strings.Join(b[min(i, len(b)):min(i+4, len(b))], "\n      "))
		}
	}
	return fmt.Sprintf("there is more: %q", b[len(a):])
}

func playInitiator(set map[string]string, in []block) string {
	var out strings.Builder
	n := NewInitiator(scriptOffer(set), set["leading"] != "no", &counter{})
	send := func() {
		r, data := n.Next()
		out.WriteString(showPDU(">", r.CSG, r.NSG, r.Transit, r.Continue, 0, data))
	}
	send()
	for i, b := range in {
		csg, nsg, t, c, status := parseHead(b.head)
		data := encode(b.keys)
		out.WriteString(showPDU("<", csg, nsg, t, c, status, data))
		done, err := n.Receive(pdu.LoginResponse{
			CSG: csg, NSG: nsg, Transit: t, Continue: c,
			StatusClass: uint8(status >> 8), StatusDetail: uint8(status),
		}, data)
		switch {
		case err != nil:
			fmt.Fprintf(&out, "! %s: %v\n", kindOf(err), err)
			if n.Fallback() {
				out.WriteString("! MD5 alone is worth a try\n")
			}
		case done:
			fmt.Fprintf(&out, "! done%s\n", showParams(n.Params()))
		default:
			send()
			continue
		}
		if rest := len(in) - i - 1; rest > 0 {
			fmt.Fprintf(&out, "! %d blocks of the script are left over\n", rest)
		}
		return out.String()
	}
	out.WriteString("! the script ends here\n")
	return out.String()
}

func playTarget(set map[string]string, in []block) string {
	var out strings.Builder
	t := NewTarget(scriptTarget(set), set["leading"] != "no")
	for _, b := range in {
		csg, nsg, transit, c, _ := parseHead(b.head)
		data := encode(b.keys)
		out.WriteString(showPDU("<", csg, nsg, transit, c, 0, data))
		resp, text, done, err := t.Receive(pdu.LoginRequest{
			CSG: csg, NSG: nsg, Transit: transit, Continue: c}, data)
		status := uint16(resp.StatusClass)<<8 | uint16(resp.StatusDetail)
		out.WriteString(showPDU(">", resp.CSG, resp.NSG, resp.Transit, resp.Continue, status, text))
		switch {
		case err != nil:
			fmt.Fprintf(&out, "! %s: %v\n", kindOf(err), err)
		case done:
			fmt.Fprintf(&out, "! done%s\n", showParams(t.Params()))
		}
	}
	return out.String()
}

func kindOf(err error) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", err), "*login.")
	if Permanent(err) {
		return kind + ", permanent"
	}
	return kind
}

// A counter is a source of "randomness" that repeats no byte soon.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}

const (
	testInitiator = "iqn.2001-04.com.example:host"
	testTarget    = "iqn.2001-04.com.example:disk"
)

func scriptOffer(set map[string]string) Offer {
	o := DefaultOffer()
	o.InitiatorName, o.TargetName = testInitiator, testTarget
	o.InitiatorAlias = set["alias"]
	if _, ok := set["discovery"]; ok {
		o.Discovery, o.TargetName = true, ""
	}
	if v, ok := set["target"]; ok {
		o.TargetName = v
	}
	o.Auth.User, o.Auth.Secret = set["user"], []byte(set["secret"])
	o.Auth.MutualUser, o.Auth.MutualSecret = set["mutual-user"], []byte(set["mutual-secret"])
	_, o.Auth.AllowNone = set["allow-none"]
	o.Auth.Algorithms = scriptAlgorithms(set["algorithms"])
	o.HeaderDigest, o.DataDigest = scriptDigest(set["header"]), scriptDigest(set["data"])
	scriptNumber(set, "max-connections", &o.MaxConnections)
	scriptNumber(set, "first-burst", &o.FirstBurstLength)
	scriptNumber(set, "max-burst", &o.MaxBurstLength)
	scriptNumber(set, "erl", &o.ErrorRecoveryLevel)
	scriptNumber(set, "time2wait", &o.DefaultTime2Wait)
	if set["immediate"] == "no" {
		o.ImmediateData = false
	}
	if set["initial-r2t"] == "yes" {
		o.InitialR2T = true
	}
	return o
}

func scriptTarget(set map[string]string) TargetConfig {
	c := DefaultTargetConfig()
	c.Names = func(s string) bool { return s == testTarget }
	c.Alias = set["alias"]
	c.Rand = &counter{n: 100}
	if user, ok := set["user"]; ok {
		c.Secrets = func(u string) ([]byte, bool) { return []byte(set["secret"]), u == user }
	}
	_, c.RequireCHAP = set["require-chap"]
	c.MutualUser, c.MutualSecret = set["mutual-user"], []byte(set["mutual-secret"])
	c.Algorithms = scriptAlgorithms(set["algorithms"])
	c.HeaderDigest, c.DataDigest = scriptDigest(set["header"]), scriptDigest(set["data"])
	scriptNumber(set, "max-burst", &c.MaxBurstLength)
	scriptNumber(set, "first-burst", &c.FirstBurstLength)
	if set["immediate"] == "no" {
		c.ImmediateData = false
	}
	if who, ok := set["allowed"]; ok {
		c.Authorize = func(i, _ string) bool { return i == who }
	}
	if to, ok := set["redirect"]; ok {
		c.Redirect = func(string) (string, bool, bool) { return to, false, true }
	}
	return c
}

func scriptNumber(set map[string]string, name string, to *int) {
	if v, ok := set[name]; ok {
		*to, _ = strconv.Atoi(v)
	}
}

func scriptAlgorithms(s string) (list []Algorithm) {
	for f := range strings.SplitSeq(s, ",") {
		if n, err := strconv.Atoi(f); err == nil {
			list = append(list, Algorithm(n))
		}
	}
	return list
}

func scriptDigest(s string) DigestChoice {
	return map[string]DigestChoice{"none": DigestNone, "crc32c": DigestCRC32C}[s]
}

var stageNames = []string{"security", "operational", "stage2", "full"}

// parseHead reads "security, T operational, C, status 0201".
func parseHead(s string) (csg, nsg uint8, transit, more bool, status uint16) {
	stage := func(s string) uint8 {
		for i, name := range stageNames {
			if name == s {
				return uint8(i)
			}
		}
		panic("no stage " + s)
	}
	for i, f := range strings.Split(s, ", ") {
		switch {
		case i == 0:
			csg = stage(f)
		case f == "C":
			more = true
		case strings.HasPrefix(f, "T "):
			transit, nsg = true, stage(f[2:])
		case strings.HasPrefix(f, "status "):
			n, err := strconv.ParseUint(f[7:], 16, 16)
			if err != nil {
				panic(err)
			}
			status = uint16(n)
		default:
			panic("bad block " + s)
		}
	}
	return csg, nsg, transit, more, status
}

func showPDU(arrow string, csg, nsg uint8, t, c bool, status uint16, data []byte) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s", arrow, stageNames[csg])
	if t {
		fmt.Fprintf(&out, ", T %s", stageNames[nsg])
	}
	if c {
		out.WriteString(", C")
	}
	if status != 0 {
		fmt.Fprintf(&out, ", status %04x", status)
	}
	out.WriteString("\n")
	for _, p := range bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0}) {
		if len(p) > 0 {
			fmt.Fprintf(&out, "    %s\n", abbreviate(string(p)))
		}
	}
	return out.String()
}

var run = regexp.MustCompile(`\{(.)\*(\d+)\}`)

// encode makes the text of a block; {a*9} stands for nine times a.
func encode(lines []string) []byte {
	var b []byte
	for _, l := range lines {
		l = run.ReplaceAllStringFunc(l, func(m string) string {
			f := run.FindStringSubmatch(m)
			n, _ := strconv.Atoi(f[2])
			return strings.Repeat(f[1], n)
		})
		b = append(append(b, l...), 0)
	}
	return b
}

// abbreviate is the inverse of encode for a value that ends in a long run.
func abbreviate(s string) string {
	last := s[len(s)-1:]
	head := strings.TrimRight(s, last)
	if n := len(s) - len(head); n > 100 {
		return fmt.Sprintf("%s{%s*%d}", head, last, n)
	}
	return s
}

// showParams lists what differs from a connection without any negotiation.
func showParams(p Params) string {
	var out strings.Builder
	d := DefaultParams()
	show := func(name string, got, def any) {
		if got != def {
			fmt.Fprintf(&out, "\n!     %s=%v", name, got)
		}
	}
	show("HeaderDigest", p.HeaderDigest, d.HeaderDigest)
	show("DataDigest", p.DataDigest, d.DataDigest)
	show("MaxConnections", p.MaxConnections, d.MaxConnections)
	show("InitialR2T", p.InitialR2T, d.InitialR2T)
	show("ImmediateData", p.ImmediateData, d.ImmediateData)
	show("MaxRecvDataSegmentLength", p.MaxRecvDataSegmentLength, d.MaxRecvDataSegmentLength)
	show("MaxXmitDataSegmentLength", p.MaxXmitDataSegmentLength, d.MaxXmitDataSegmentLength)
	show("MaxBurstLength", p.MaxBurstLength, d.MaxBurstLength)
	show("FirstBurstLength", p.FirstBurstLength, d.FirstBurstLength)
	show("DefaultTime2Wait", p.DefaultTime2Wait, d.DefaultTime2Wait)
	show("DefaultTime2Retain", p.DefaultTime2Retain, d.DefaultTime2Retain)
	show("MaxOutstandingR2T", p.MaxOutstandingR2T, d.MaxOutstandingR2T)
	show("DataPDUInOrder", p.DataPDUInOrder, d.DataPDUInOrder)
	show("DataSequenceInOrder", p.DataSequenceInOrder, d.DataSequenceInOrder)
	show("ErrorRecoveryLevel", p.ErrorRecoveryLevel, d.ErrorRecoveryLevel)
	show("TargetPortalGroupTag", p.TargetPortalGroupTag, d.TargetPortalGroupTag)
	show("TargetAlias", p.TargetAlias, d.TargetAlias)
	show("TaskReporting", p.TaskReporting, d.TaskReporting)
	show("ProtocolLevel", p.ProtocolLevel, d.ProtocolLevel)
	return out.String()
}
