package conformance

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"braid/iscsi/login"
)

const (
	chapUser      = "dut"
	chapSecret    = "the-initiators-secret"
	mutualUser    = "tester"
	mutualSecret  = "the-targets-secret"
	challengeText = "0x00112233445566778899aabbccddeeff"
)

// chap gives the initiator credentials; with mutual the target must prove itself.
func chap(mutual bool) option {
	return offer(func(o *login.Offer) {
		o.Auth = login.Auth{User: chapUser, Secret: []byte(chapSecret)}
		if mutual {
			o.Auth.MutualUser, o.Auth.MutualSecret = mutualUser, []byte(mutualSecret)
		}
	})
}

// asked begins a login with CHAP and gives the request that lists the algorithms.
func (r *rig) asked(l *Link) *PDU {
	r.t.Helper()
	q := r.request(l)
	if got := keysOf(q)["AuthMethod"]; got != "CHAP" || q.Final() {
		r.t.Fatalf("AuthMethod=%s, T %v", got, q.Final())
	}
	l.Send(l.LoginAnswer(q, 0, Text("AuthMethod=CHAP", "TargetPortalGroupTag=3")))
	return r.request(l)
}

// challenged answers the list with these keys and gives the request that follows.
func (r *rig) challenged(l *Link, keys ...string) *PDU {
	r.t.Helper()
	l.Send(l.LoginAnswer(r.asked(l), 0, Text(keys...)))
	return r.request(l)
}

// chapFails answers the list with these keys, which the initiator must refuse.
func chapFails(t *testing.T, mutual bool, keys ...string) {
	t.Helper()
	r := newRig(t, chap(mutual))
	l := r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.asked(l), 0, Text(keys...)))
	r.refuses(l)
}

// decoded reads a large-binary-value, RFC 7143 section 6.1.
func decoded(t *testing.T, s string) []byte {
	t.Helper()
	var b []byte
	var err error
	switch {
	case strings.HasPrefix(s, "0x"):
		b, err = hex.DecodeString(s[2:])
	case strings.HasPrefix(s, "0b"):
		b, err = base64.StdEncoding.DecodeString(s[2:])
	default:
		err = fmt.Errorf("no prefix")
	}
	if err != nil {
		t.Fatalf("%q is no binary value: %v", s, err)
	}
	return b
}

// response is RFC 1994 section 4.1 with MD5.
func response(id int, secret string, challenge []byte) []byte {
	sum := md5.Sum(slices.Concat([]byte{byte(id)}, []byte(secret), challenge))
	return sum[:]
}

func hexValue(b []byte) string { return "0x" + hex.EncodeToString(b) }

// chapAnswers checks CHAP_N and CHAP_R of the initiator.
func chapAnswers(t *testing.T, q *PDU, id int, challenge []byte) {
	t.Helper()
	k := keysOf(q)
	if k["CHAP_N"] != chapUser {
		t.Errorf("CHAP_N=%s", k["CHAP_N"])
	}
	if !bytes.Equal(decoded(t, k["CHAP_R"]), response(id, chapSecret, challenge)) {
		t.Errorf("CHAP_R=%s is wrong", k["CHAP_R"])
	}
}

// proves ends the login with the target's proof.
func (r *rig) proves(l *Link, q *PDU, name string, proof []byte) {
	r.t.Helper()
	l.Send(l.LoginAnswer(q, 0x81, Text("CHAP_N="+name, "CHAP_R="+hexValue(proof))))
}

// own is the initiator's challenge to the target.
func own(t *testing.T, q *PDU) (id int, challenge []byte) {
	t.Helper()
	k := keysOf(q)
	id, err := strconv.Atoi(k["CHAP_I"])
	if err != nil || id < 0 || id > 255 {
		t.Fatalf("CHAP_I=%s", k["CHAP_I"])
	}
	return id, decoded(t, k["CHAP_C"])
}

var usual = []string{"CHAP_A=5", "CHAP_I=1", "CHAP_C=" + challengeText}

func TestCHAP_1_1_AValid(t *testing.T) {
	r := newRig(t, chap(false))
	l := r.link()
	q := r.asked(l)
	list := strings.Split(keysOf(q)["CHAP_A"], ",")
	if !slices.Contains(list, "5") {
		t.Errorf("CHAP_A=%v: MD5 must be among them", list)
	}
	l.Send(l.LoginAnswer(q, 0, Text(usual...)))
	q = r.request(l)
	chapAnswers(t, q, 1, decoded(t, challengeText))
	l.Send(l.LoginAnswer(q, 0x81, nil))
	r.agree(l, r.request(l))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

func TestCHAP_1_2_1_AInvalidNumeric(t *testing.T) {
	for _, a := range []string{"0", "4", "9", "255", "261", "-5"} {
		chapFails(t, false, "CHAP_A="+a, usual[1], usual[2])
	}
}

func TestCHAP_1_2_2_AInvalidNonNumeric(t *testing.T) {
	for _, a := range []string{"MD5", "", "5,7", "Reject"} {
		chapFails(t, false, "CHAP_A="+a, usual[1], usual[2])
	}
}

func TestCHAP_1_3_AOutOfOrder(t *testing.T) {
	chapFails(t, false, usual[1], usual[2]) // no CHAP_A
	// Before the initiator has listed the algorithms.
	r := newRig(t, chap(false))
	l := r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.request(l), 0, Text("AuthMethod=CHAP", "CHAP_A=5")))
	r.refuses(l)
	// Again, with the last answer.
	r = newRig(t, chap(false))
	l = r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.challenged(l, usual...), 0x81, Text("CHAP_A=5")))
	r.refuses(l)
}

func TestCHAP_2_1_IValid(t *testing.T) {
	for _, id := range []string{"0", "1", "127", "255", "0xff"} {
		r := newRig(t, chap(false))
		l := r.link()
		q := r.challenged(l, usual[0], "CHAP_I="+id, usual[2])
		n, _ := strconv.ParseUint(id, 0, 8)
		chapAnswers(t, q, int(n), decoded(t, challengeText))
	}
}

func TestCHAP_2_2_IInvalid(t *testing.T) {
	for _, id := range []string{"256", "-1", "one", "", "0x100", "1.0"} {
		chapFails(t, false, usual[0], "CHAP_I="+id, usual[2])
	}
}

func TestCHAP_2_3_IOutOfOrder(t *testing.T) {
	chapFails(t, false, usual[0], usual[2]) // missing
	r := newRig(t, chap(true))
	l := r.link()
	r.tainted()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	l.Send(l.LoginAnswer(q, 0x81, Text("CHAP_I=1", "CHAP_N="+mutualUser,
		"CHAP_R="+hexValue(response(id, mutualSecret, c)))))
	r.refuses(l)
}

// mutual runs a login in which both sides prove themselves, with these keys of the
// target, and gives the initiator's own challenge.
func mutual(t *testing.T, r *rig, l *Link, keys ...string) (id int, challenge []byte) {
	t.Helper()
	q := r.challenged(l, keys...)
	id, challenge = own(t, q)
	r.proves(l, q, mutualUser, response(id, mutualSecret, challenge))
	r.agree(l, r.request(l))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
	return id, challenge
}

func TestCHAP_2_4_ISame(t *testing.T) {
	// The identifier of one direction says nothing of the other: both may be
	// the same. All 256 are tried, so that the initiator's own is met.
	for id := range 256 {
		r := newRig(t, chap(true))
		mutual(t, r, r.link(), usual[0], fmt.Sprintf("CHAP_I=%d", id), usual[2])
	}
}

func TestCHAP_2_5_IReflected(t *testing.T) {
	// A proof made with the identifier that the target itself had sent is none.
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.tainted()
	r.proves(l, q, mutualUser, response(id+1, mutualSecret, c))
	r.refuses(l)
}

func TestCHAP_2_6_IDifferent(t *testing.T) {
	r := newRig(t, chap(true))
	mutual(t, r, r.link(), usual[0], "CHAP_I=200", usual[2])
}

// challengeForm runs a login with a challenge in a certain form.
func challengeForm(t *testing.T, form string, raw []byte) {
	t.Helper()
	r := newRig(t, chap(false))
	l := r.link()
	q := r.challenged(l, usual[0], usual[1], "CHAP_C="+form)
	chapAnswers(t, q, 1, raw)
}

func TestCHAP_3_1_CBig(t *testing.T) {
	raw := pattern(1024)
	challengeForm(t, hexValue(raw), raw)
	challengeForm(t, "0b"+base64.StdEncoding.EncodeToString(raw), raw)
	challengeForm(t, "0B"+base64.StdEncoding.EncodeToString(raw), raw)
	challengeForm(t, strings.ToUpper(hexValue(raw)), raw)
}

func TestCHAP_3_2_CSmall(t *testing.T) {
	challengeForm(t, "0x7f", []byte{0x7f})
	challengeForm(t, "0bfw==", []byte{0x7f})
}

func TestCHAP_3_3_CTooBig(t *testing.T) {
	chapFails(t, false, usual[0], usual[1], "CHAP_C="+hexValue(pattern(1025)))
}

func TestCHAP_3_4_CTooSmall(t *testing.T) {
	for _, c := range []string{"0x", "0b", "", "0", "12", "0xzz", "0bfw=", "0b!!!!"} {
		chapFails(t, false, usual[0], usual[1], "CHAP_C="+c)
	}
}

func TestCHAP_3_5_COutOfOrder(t *testing.T) {
	chapFails(t, false, usual[0], usual[1]) // missing
	r := newRig(t, chap(false))
	l := r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.challenged(l, usual...), 0x81, Text(usual[2])))
	r.refuses(l)
}

func TestCHAP_3_6_1_CSameParallelDetection(t *testing.T) {
	// Two logins at a time with the same challenge of the target: RFC 7143
	// binds the target, the initiator may answer both.
	a, b := newRig(t, chap(true)), newRig(t, chap(true))
	la, lb := a.link(), b.link()
	qa, qb := a.challenged(la, usual...), b.challenged(lb, usual...)
	chapAnswers(t, qa, 1, decoded(t, challengeText))
	chapAnswers(t, qb, 1, decoded(t, challengeText))
}

func TestCHAP_3_6_2_CSameSerialDetection(t *testing.T) {
	r := newRig(t, chap(false), portals(2))
	l := r.link()
	l.Send(l.LoginAnswer(r.challenged(l, usual...), 0x81, nil))
	r.agree(l, r.request(l))
	second := r.link()
	chapAnswers(t, r.challenged(second, usual...), 1, decoded(t, challengeText))
}

func TestCHAP_3_6_3_CSameParallelOffer(t *testing.T) {
	// Two connections in login at once: their own challenges differ.
	r := newRig(t, chap(true), portals(3))
	mutual(t, r, r.link(), usual...)
	l1 := r.accept()
	l2 := r.accept()
	_, c1 := own(t, r.challenged(l1, usual...))
	_, c2 := own(t, r.challenged(l2, usual...))
	if bytes.Equal(c1, c2) {
		t.Error("two connections offer the same challenge")
	}
}

func TestCHAP_3_6_4_CSameSerialOffer(t *testing.T) {
	r := newRig(t, chap(true), portals(4))
	seen := map[string]bool{}
	for l := range r.fresh() {
		q := r.challenged(l, usual...)
		id, c := own(t, q)
		if seen[string(c)] || len(c) < 16 {
			t.Errorf("challenge %x, seen before %v", c, seen[string(c)])
		}
		seen[string(c)] = true
		r.proves(l, q, mutualUser, response(id, mutualSecret, c))
		r.agree(l, r.request(l))
	}
	if len(seen) != 4 {
		t.Errorf("%d connections", len(seen))
	}
}

func TestCHAP_3_7_CReflect(t *testing.T) {
	// The initiator does not send back the target's challenge.
	for range 8 {
		r := newRig(t, chap(true))
		_, c := mutual(t, r, r.link(), usual...)
		if bytes.Equal(c, decoded(t, challengeText)) {
			t.Fatal("the target's challenge comes back")
		}
	}
}

func TestCHAP_3_8_CReflected(t *testing.T) {
	// The target has the initiator answer its own challenge on a second
	// connection: the answer, made with the other secret, is worth nothing.
	r := newRig(t, chap(true), portals(2))
	first := r.link()
	mutual(t, r, first, usual...)
	second := r.link()
	q := r.challenged(second, usual...)
	id, c := own(t, q)
	stolen := response(id, chapSecret, c)
	r.tainted()
	r.proves(second, q, mutualUser, stolen)
	if got := r.take(second); len(got) > 0 {
		t.Errorf("sent %s", names(got))
	}
	r.alive() // the first connection has nothing to do with that
}

func TestCHAP_4_1_NValid(t *testing.T) {
	r := newRig(t, chap(true))
	mutual(t, r, r.link(), usual...)
}

// named runs a mutual login whose target has this name, and no name demanded.
func named(t *testing.T, name string, good bool) {
	t.Helper()
	r := newRig(t, chap(true), offer(func(o *login.Offer) { o.Auth.MutualUser = "" }))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	if !good {
		r.tainted()
	}
	r.proves(l, q, name, response(id, mutualSecret, c))
	if !good {
		r.refuses(l)
		return
	}
	r.agree(l, r.request(l))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

func TestCHAP_4_2_NBig(t *testing.T)    { named(t, strings.Repeat("n", 255), true) }
func TestCHAP_4_3_NSmall(t *testing.T)  { named(t, "n", true) }
func TestCHAP_4_4_NTooBig(t *testing.T) { named(t, strings.Repeat("n", 256), false) }

func TestCHAP_4_5_NOutOfOrder(t *testing.T) {
	chapFails(t, false, append([]string{"CHAP_N=tester"}, usual...)...)
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.tainted()
	l.Send(l.LoginAnswer(q, 0x81, Text("CHAP_R="+hexValue(response(id, mutualSecret, c)))))
	r.refuses(l) // no CHAP_N
}

func TestCHAP_4_6_NReflected(t *testing.T) {
	// The target proves itself under the initiator's own name: not who was asked for.
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.tainted()
	r.proves(l, q, chapUser, response(id, mutualSecret, c))
	r.refuses(l)
}

func TestCHAP_4_7_NSame(t *testing.T) {
	// Configured so, both sides may go by one name.
	r := newRig(t, chap(true), offer(func(o *login.Offer) { o.Auth.MutualUser = chapUser }))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.proves(l, q, chapUser, response(id, mutualSecret, c))
	r.agree(l, r.request(l))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

func TestCHAP_4_8_NDifferent(t *testing.T) {
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.tainted()
	r.proves(l, q, "somebody", response(id, mutualSecret, c))
	r.refuses(l)
}

// proof runs a mutual login up to a proof that is made of the right one.
func proof(t *testing.T, forge func(right []byte) string) {
	t.Helper()
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	id, c := own(t, q)
	r.tainted()
	value := forge(response(id, mutualSecret, c))
	l.Send(l.LoginAnswer(q, 0x81, Text("CHAP_N="+mutualUser, "CHAP_R="+value)))
	r.refuses(l)
}

func TestCHAP_5_1_RInvalid(t *testing.T) {
	proof(t, func(b []byte) string { b[0] ^= 1; return hexValue(b) })
	proof(t, func(b []byte) string { return hex.EncodeToString(b) })
	proof(t, func(b []byte) string { return "0x" })
	proof(t, func([]byte) string { return "" })
}

func TestCHAP_5_2_RTooBig(t *testing.T) {
	proof(t, func(b []byte) string { return hexValue(append(b, 0)) })
	proof(t, func(b []byte) string { return hexValue(append(b, make([]byte, 1024)...)) })
}

func TestCHAP_5_3_RTooSmall(t *testing.T) {
	proof(t, func(b []byte) string { return hexValue(b[:15]) })
	proof(t, func(b []byte) string { return hexValue(b[:1]) })
}

func TestCHAP_5_4_ROutOfOrder(t *testing.T) {
	chapFails(t, false, append([]string{"CHAP_R=0x00"}, usual...)...)
	// No proof at all where one was asked for.
	r := newRig(t, chap(true))
	l := r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.challenged(l, usual...), 0x81, nil))
	r.refuses(l)
	// A proof that nobody asked for.
	r = newRig(t, chap(false))
	l = r.link()
	r.tainted()
	l.Send(l.LoginAnswer(r.challenged(l, usual...), 0x81, Text("CHAP_N=tester", "CHAP_R=0x00")))
	r.refuses(l)
}

func TestCHAP_5_5_RReflected(t *testing.T) {
	// The initiator's own answer comes back as the target's proof.
	r := newRig(t, chap(true))
	l := r.link()
	q := r.challenged(l, usual...)
	r.tainted()
	r.proves(l, q, mutualUser, decoded(t, keysOf(q)["CHAP_R"]))
	r.refuses(l)
}
