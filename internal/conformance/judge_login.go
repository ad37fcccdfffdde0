package conformance

import (
	"bytes"
	"slices"
	"strings"
)

// A loginView is the login of one connection as it was seen.
type loginView struct {
	requests int
	last     *PDU // the last request
	answer   *PDU // the last response
	text     []byte
	heard    []byte
	offered  map[string]string // by the initiator
	asked    map[string]string // by the target, not answered yet
}

func newLoginView() loginView {
	return loginView{offered: map[string]string{}, asked: map[string]string{}}
}

const (
	stageSecurity    = 0
	stageOperational = 1
	stageFull        = 3
)

func csg(p *PDU) byte       { return p.H[1] >> 2 & 3 }
func nsg(p *PDU) byte       { return p.H[1] & 3 }
func continues(p *PDU) bool { return p.H[1]&0x40 != 0 }

// loginRequest checks RFC 7143 sections 6.3 and 11.12.
func (j *Judge) loginRequest(w *wire, p *PDU) {
	l := &w.login
	l.requests++
	switch {
	case !p.Immediate():
		j.complain(w, p, "11.12: the I bit is not set")
	case p.H[2] != 0 || p.H[3] != 0:
		j.complain(w, p, "11.12.4: version %d to %d", p.H[3], p.H[2])
	case p.Final() && continues(p):
		j.complain(w, p, "11.12.2: T and C together")
	case csg(p) == 2 || csg(p) == stageFull:
		j.complain(w, p, "11.12.3: current stage %d", csg(p))
	case p.Final() && (nsg(p) == 2 || nsg(p) <= csg(p)):
		j.complain(w, p, "11.12.3: from stage %d to stage %d", csg(p), nsg(p))
	case !p.Final() && nsg(p) != 0:
		j.complain(w, p, "11.12.3: a next stage without T")
	case len(p.Data) > 8192:
		j.complain(w, p, "6.2: %d bytes of text in one PDU of login", len(p.Data))
	}
	isid := p.H[8:14]
	if isid[0]>>6 == 3 || isid[0]&0xc0 == 0x40 && isid[0]&0x3f != 0 {
		j.complain(w, p, "11.12.5: ISID % x is of a reserved form", isid)
	}
	if l.last == nil {
		j.firstLogin(w, p)
	} else {
		j.nextLogin(w, p)
	}
	l.last = p
	l.text = append(l.text, p.Data...)
	if !continues(p) {
		list, bad := pairs(l.text)
		for _, b := range bad {
			j.complain(w, p, "%s", b)
		}
		l.text = nil
		j.offers(w, p, list)
	}
}

// firstLogin checks what only the first request of a connection shows.
func (j *Judge) firstLogin(w *wire, p *PDU) {
	w.cid = p.U16(20)
	leading := j.isid == nil
	tsih := p.U16(14)
	switch {
	case leading:
		j.isid = bytes.Clone(p.H[8:14])
		j.numbers.start(p.CmdSN())
		if tsih != 0 {
			j.complain(w, p, "11.12.6: TSIH %d on the first connection", tsih)
		}
	case tsih == 0:
		// Reinstatement, or another try: a session of its own.
		if !bytes.Equal(j.isid, p.H[8:14]) {
			j.complain(w, p, "11.12.5: another ISID")
		}
		j.numbers.start(p.CmdSN())
	default:
		if tsih != j.tsih {
			j.complain(w, p, "11.12.6: TSIH %d, the session has %d", tsih, j.tsih)
		}
		if !bytes.Equal(j.isid, p.H[8:14]) {
			j.complain(w, p, "11.12.5: another ISID on a further connection")
		}
		j.numbers.immediate(j, w, p)
		for _, other := range j.wires {
			if other != w && other.up && !other.closed && other.cid == w.cid {
				j.complain(w, p, "11.12.7: CID %d is in use", w.cid)
			}
			if other != w && other.cid == w.cid {
				other.out = true // implicit logout, section 6.3.4
			}
		}
	}
	if csg(p) != stageSecurity && csg(p) != stageOperational {
		j.complain(w, p, "11.12.3: a login begins in stage %d", csg(p))
	}
}

// Lost notes that a TCP connection has ended.
func (j *Judge) Lost(id int) {
	j.wires[id].closed = true
	j.wires[id].fromInit = nil
}

// loginNumber checks the CmdSN of a later request of a login. It stays, but on a further
// connection it is the next one of the session, which moves while other connections send
// commands (11.12.8): some of them may not have been seen yet where those are read apart.
func (j *Judge) loginNumber(w *wire, was, p *PDU) {
	switch leading := p.U16(14) == 0; {
	case !leading && j.Apart && !less(p.CmdSN(), was.CmdSN()):
		j.numbers.immediate(j, w, p)
	case p.CmdSN() != was.CmdSN():
		j.complain(w, p, "11.12.8: CmdSN changes within a login")
	}
}

// nextLogin checks what stays the same within a login, and whose turn it is.
func (j *Judge) nextLogin(w *wire, p *PDU) {
	l := &w.login
	was := l.last
	for _, f := range []struct {
		name     string
		from, to int
	}{{"11.12.5: ISID", 8, 14}, {"11.12.6: TSIH", 14, 16}, {"11.12: the task tag", 16, 20},
		{"11.12.7: CID", 20, 22}} {
		if !bytes.Equal(was.H[f.from:f.to], p.H[f.from:f.to]) {
			j.complain(w, p, "%s changes within a login", f.name)
		}
	}
	j.loginNumber(w, was, p)
	a := l.answer
	if a == nil {
		j.complain(w, p, "6.3: a second request before the answer to the first")
		return
	}
	want := csg(was)
	if a.Final() {
		want = nsg(a)
	}
	if csg(p) != want {
		j.complain(w, p, "11.12.3: stage %d, the login is in stage %d", csg(p), want)
	}
	if continues(a) && (len(p.Data) > 0 || p.Final()) {
		j.complain(w, p, "11.13.3: an answer to a text that goes on")
	}
	if continues(was) && len(p.Data) == 0 {
		j.complain(w, p, "11.12.2: the text was to go on")
	}
	l.answer = nil
}

// offers takes the keys of one whole text of the initiator.
func (j *Judge) offers(w *wire, p *PDU, list []Pair) {
	l := &w.login
	first := l.requests == 1
	for _, k := range list {
		rule, known := keyRules[k.Key]
		_, ours := l.asked[k.Key]
		if !known && !ours && !strings.HasPrefix(k.Key, "X") {
			j.complain(w, p, "13: there is no key %s", k.Key)
		}
		if _, again := l.offered[k.Key]; again {
			j.complain(w, p, "6.2: %s is sent twice in one login", k.Key)
		}
		l.offered[k.Key] = k.Value
		if rule.alone && j.tsih != 0 && p.U16(14) != 0 {
			j.complain(w, p, "13: %s on a connection that does not lead", k.Key)
		}
		security := k.Key == "AuthMethod" || strings.HasPrefix(k.Key, "CHAP_")
		operational := known && !security && rule.kind != text && k.Key != "SessionType"
		if security && csg(p) != stageSecurity || operational && csg(p) == stageSecurity {
			j.complain(w, p, "6.3.2: %s in stage %d", k.Key, csg(p))
		}
		if ours {
			j.settle(w, p, k.Key, l.asked[k.Key], k.Value)
			delete(l.asked, k.Key)
			continue
		}
		if _, bad := valueOf(k.Key, k.Value); bad != "" {
			j.complain(w, p, "%s", bad)
		}
	}
	if fb, mb := l.offered["FirstBurstLength"], l.offered["MaxBurstLength"]; fb != "" && mb != "" {
		a, _ := valueOf("FirstBurstLength", fb)
		b, _ := valueOf("MaxBurstLength", mb)
		if a > b && !anAnswer(fb) && !anAnswer(mb) {
			j.complain(w, p, "13.14: FirstBurstLength %d is offered with MaxBurstLength %d", a, b)
		}
	}
	if first && !continues(p) {
		j.names(w, p)
	}
	if len(l.asked) > 0 && p.Final() {
		j.complain(w, p, "6.2: %v not answered at the end of the stage", sorted(l.asked))
	}
	if v := l.offered["SessionType"]; v != "" {
		j.keys["SessionType"] = v
	}
}

func sorted(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// names checks who says who it is, RFC 7143 sections 13.4 and 13.5: in the first
// request of each connection.
func (j *Judge) names(w *wire, p *PDU) {
	l := &w.login
	if l.offered["InitiatorName"] == "" {
		j.complain(w, p, "13.5: no InitiatorName in the first request")
	}
	if l.offered["TargetName"] == "" && l.offered["SessionType"] != "Discovery" &&
		j.keys["SessionType"] != "Discovery" {
		j.complain(w, p, "13.4: no TargetName in the first request")
	}
	for _, k := range []string{"InitiatorName", "TargetName"} {
		v := l.offered[k]
		if v != "" && (len(v) > 223 || v != strings.ToLower(v) || strings.ContainsAny(v, " _/,=~") ||
			!slices.Contains([]string{"iqn.", "eui.", "naa."}, v[:min(4, len(v))])) {
			j.complain(w, p, "4.2.7: %s=%s is no name", k, v)
		}
	}
}

// obsolete keys of RFC 3720 and what may answer them, RFC 7143 section 13.25.
var obsolete = map[string][]string{
	"IFMarker": {"Reject", "No"}, "OFMarker": {"Reject", "No"},
	"IFMarkInt": {"Reject"}, "OFMarkInt": {"Reject"},
}

// settle checks the initiator's answer to a key that the target offered.
func (j *Judge) settle(w *wire, p *PDU, key, asked, answer string) {
	rule, known := keyRules[key]
	if allowed, old := obsolete[key]; old {
		if !slices.Contains(allowed, answer) {
			j.complain(w, p, "13.25: %s=%s answers an obsolete key", key, answer)
		}
		return
	}
	if !known {
		if answer != "NotUnderstood" {
			j.complain(w, p, "6.2: %s=%s answers a key that nobody knows", key, answer)
		}
		return
	}
	if anAnswer(answer) {
		return
	}
	a, bad := valueOf(key, answer)
	if bad != "" {
		j.complain(w, p, "%s", bad)
		return
	}
	switch rule.kind {
	case list:
		if strings.Contains(answer, ",") || !slices.Contains(strings.Split(asked, ","), answer) {
			j.complain(w, p, "6.2.1: %s=%s chooses none of %s", key, answer, asked)
		}
	case number, boolean:
		if v, bad := valueOf(key, asked); bad == "" && rule.result(v, a) != a {
			j.complain(w, p, "6.2.2: %s=%s cannot answer %s", key, answer, asked)
		}
	}
	j.settled(w, key, answer)
}

// settled notes the outcome of one key.
func (j *Judge) settled(w *wire, key, value string) {
	if anAnswer(value) {
		return
	}
	switch key {
	case "HeaderDigest":
		w.headerDigest = value == "CRC32C"
	case "DataDigest":
		w.dataDigest = value == "CRC32C"
	default:
		if keyRules[key].alone {
			j.keys[key] = value
		}
	}
}

// loginResponse takes in what the target says in login.
func (j *Judge) loginResponse(w *wire, p *PDU) {
	l := &w.login
	l.answer = p
	if p.H[36] != 0 {
		return
	}
	l.heard = append(l.heard, p.Data...)
	if continues(p) {
		return
	}
	list, _ := pairs(l.heard)
	l.heard = nil
	for _, k := range list {
		switch offer, ours := l.offered[k.Key]; {
		case k.Key == "MaxRecvDataSegmentLength":
			if n, bad := valueOf(k.Key, k.Value); bad == "" {
				w.maxData = n
			}
		case ours && offer != "" && keyRules[k.Key].kind != text:
			j.settled(w, k.Key, k.Value)
		case keyRules[k.Key].kind != text || keyRules[k.Key].values != "":
			l.asked[k.Key] = k.Value
		case !knownKey(k.Key):
			l.asked[k.Key] = k.Value
		}
	}
	if p.Final() && nsg(p) == stageFull {
		w.up = true
		if j.tsih == 0 || l.last != nil && l.last.U16(14) == 0 {
			j.tsih = p.U16(14)
		}
	}
}

func knownKey(k string) bool {
	_, known := keyRules[k]
	return known || k == "TargetAlias" || k == "TargetAddress" || k == "TargetPortalGroupTag"
}
