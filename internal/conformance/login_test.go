package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
)

// request takes the next Login Request.
func (r *rig) request(l *Link) *PDU {
	r.t.Helper()
	return r.one(l, LoginReq)
}

// operational grants the security stage and gives the request with the
// operational keys.
func (r *rig) operational(l *Link) *PDU {
	r.t.Helper()
	q := r.request(l)
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None", "TargetPortalGroupTag=3")))
	return r.request(l)
}

// agree answers operational keys as a target does that agrees to all, but for
// what edit changes, and asks for the full feature phase.
func (r *rig) agree(l *Link, q *PDU, change ...string) {
	plan := LoginPlan{Answers: map[string]string{}}
	for _, k := range change {
		key, value, _ := strings.Cut(k, "=")
		plan.Answers[key] = value
	}
	l.Send(l.LoginAnswer(q, 0x83, Text(plan.reply(q.Data)...)))
}

// keysOf gives the keys of a text.
func keysOf(p *PDU) map[string]string {
	m := map[string]string{}
	list, _ := pairs(p.Data)
	for _, k := range list {
		m[k.Key] = k.Value
	}
	return m
}

// refuses checks that the initiator has given a login up: it sends nothing more
// and has closed the connection.
func (r *rig) refuses(l *Link) {
	r.t.Helper()
	r.none(l)
	if w := r.conns[l].Want(); r.s.Up() || r.s.Err() == nil ||
		w != iscsi.WantClose && w != iscsi.WantReset {
		r.t.Fatalf("the login was not given up: up %v, %v", r.s.Up(), r.s.Err())
	}
}

func TestLogin_1_1_StandardLogin(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.request(l)
	k := keysOf(q)
	if k["InitiatorName"] != initiatorName || k["TargetName"] != targetName ||
		k["SessionType"] != "Normal" || k["AuthMethod"] != "None" {
		t.Errorf("the first request says %v", k)
	}
	if csg(q) != 0 || nsg(q) != 1 || !q.Final() {
		t.Errorf("flags 0x%02x, wanted from security to operational negotiation", q.H[1])
	}
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None", "TargetPortalGroupTag=3")))
	q = r.request(l)
	if csg(q) != 1 || nsg(q) != 3 || !q.Final() {
		t.Errorf("flags 0x%02x, wanted from operational to full feature", q.H[1])
	}
	r.agree(l, q)
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
	c := r.check()
	l.Good(r.one(l, SCSI).ITT())
	r.done(c)
}

func TestLogin_2_1_TSIH(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.request(l)
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None")))
	q2 := r.request(l)
	if q.U16(14) != 0 || q2.U16(14) != 0 {
		t.Errorf("TSIH %d and %d while the session is new", q.U16(14), q2.U16(14))
	}
	r.agree(l, q2)
	if got := r.s.Nexus().TSIH; got != 7 {
		t.Errorf("TSIH %d taken, the target gave 7", got)
	}
}

func TestLogin_2_2_TSIHInvalidValue(t *testing.T) {
	r := newRig(t)
	l := r.link()
	r.tainted()
	r.target.TSIH = 0
	r.agree(l, r.operational(l))
	r.refuses(l)
}

func TestLogin_2_3_TSIHInSecondConnection(t *testing.T) {
	r := newRig(t, portals(2))
	l := r.link()
	r.grant(l)
	second := r.link()
	q := r.request(second)
	if q.U16(14) != 7 || q.U64(8)>>16 != r.first().T.isid() {
		t.Errorf("second connection: TSIH %d, ISID %x", q.U16(14), q.H[8:14])
	}
	if q.U16(20) == 0 && r.order[0].T.Judge.wires[0].cid == 0 {
		t.Error("both connections have the CID 0")
	}
}

func (t *Target) isid() (v uint64) {
	for _, b := range t.Judge.isid {
		v = v<<8 | uint64(b)
	}
	return v
}

func TestLogin_3_1_TBit(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.request(l)
	l.Send(l.LoginAnswer(q, 0, Text("AuthMethod=None")))
	q = r.request(l)
	if csg(q) != 0 || !q.Final() || nsg(q) != 1 {
		t.Errorf("flags 0x%02x after an answer that stays in the stage", q.H[1])
	}
	l.Send(l.LoginAnswer(q, 0x81, nil))
	r.agree(l, r.request(l))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

func TestLogin_3_2_TBitDelay(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	plan := LoginPlan{}
	l.Send(l.LoginAnswer(q, 0, Text(plan.reply(q.Data)...)))
	for range 5 {
		q = r.request(l)
		if len(q.Data) != 0 || csg(q) != 1 || !q.Final() {
			t.Errorf("flags 0x%02x, %d bytes; wanted T again and nothing else", q.H[1], len(q.Data))
		}
		if r.s.Up() {
			t.Fatal("up before the target agreed")
		}
		l.Send(l.LoginAnswer(q, 0, nil))
	}
	l.Send(l.LoginAnswer(r.request(l), 0x83, nil))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

// statusFrom logs in with a StatSN to begin with and runs commands.
func statusFrom(t *testing.T, sn uint32) {
	r := newRig(t)
	l := r.link()
	l.StatSN = sn
	r.grant(l)
	for i := range uint32(4) {
		c := r.check()
		q := r.one(l, SCSI)
		if want := sn + 2 + i; q.ExpStatSN() != want {
			t.Errorf("ExpStatSN %d, wanted %d", q.ExpStatSN(), want)
		}
		l.Good(q.ITT())
		r.done(c)
	}
}

func TestLogin_4_1_StatSNZero(t *testing.T)    { statusFrom(t, 0) }
func TestLogin_4_2_StatSNNonZero(t *testing.T) { statusFrom(t, 0xfffffffc) }

func TestLogin_5_1_ExpStatSN(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.request(l)
	l.StatSN = 77
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None")))
	q = r.request(l)
	if q.ExpStatSN() != 78 {
		t.Errorf("ExpStatSN %d after StatSN 77", q.ExpStatSN())
	}
	r.tainted()
	l.StatSN = 80
	r.agree(l, q)
	r.refuses(l)
}

func TestLogin_6_1_NegotiateOnce(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	plan := LoginPlan{}
	l.Send(l.LoginAnswer(q, 0, Text(plan.reply(q.Data)...)))
	q = r.request(l)
	r.tainted()
	l.Send(l.LoginAnswer(q, 0x83, Text("MaxBurstLength=4096")))
	r.refuses(l)
}

func TestLogin_6_2_NegotiateOnceSeparatePDUs(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	plan := LoginPlan{}
	l.Send(l.LoginAnswer(q, 0, Text(plan.reply(q.Data)...)))
	q = r.request(l)
	r.tainted()
	l.Send(l.LoginAnswer(q, 0x83, Text("ImmediateData=No")))
	r.refuses(l)
}

func TestLogin_6_3_NegotiateOnceSamePDU(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	plan := LoginPlan{}
	r.tainted()
	l.Send(l.LoginAnswer(q, 0x83, Text(append(plan.reply(q.Data), "ImmediateData=No")...)))
	r.refuses(l)
}

func TestLogin_7_1_LoginRequest(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	k := keysOf(q)
	for _, key := range []string{"HeaderDigest", "DataDigest", "MaxConnections", "InitialR2T",
		"ImmediateData", "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength",
		"DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T", "DataPDUInOrder",
		"DataSequenceInOrder", "ErrorRecoveryLevel"} {
		if k[key] == "" {
			t.Errorf("%s is not offered", key)
		}
	}
	r.agree(l, q)
}

func TestLogin_7_2_ListNegotiation(t *testing.T) {
	for _, answer := range []string{"None", "CRC32C"} {
		r := newUp(t, answers("HeaderDigest="+answer, "DataDigest="+answer))
		if p := r.s.Params(); p.HeaderDigest != (answer == "CRC32C") || p.DataDigest != p.HeaderDigest {
			t.Errorf("%s: %+v", answer, p)
		}
		c := r.write(5000)
		q := r.take(r.first())
		r.first().Good(q[0].ITT())
		r.done(c)
	}
}

func TestLogin_7_3_InvalidAuthMethod(t *testing.T) {
	for _, answer := range []string{"KRB5", "SRP", "Foo", "CHAP", "None,None"} {
		r := newRig(t)
		l := r.link()
		r.tainted()
		l.Send(l.LoginAnswer(r.request(l), 0x81, Text("AuthMethod="+answer)))
		r.refuses(l)
	}
}

func TestLogin_7_4_FirstBurstLengthTooHigh(t *testing.T) {
	for _, answer := range []string{"262145", "16777215", "16777216", "4294967296"} {
		r := newRig(t)
		l := r.link()
		q := r.operational(l)
		r.tainted()
		r.agree(l, q, "FirstBurstLength="+answer)
		r.refuses(l)
	}
}

func TestLogin_7_5_ImmediateDataInvalidValue(t *testing.T) {
	for _, answer := range []string{"Maybe", "yes", "1", "0x01", "Yes,No"} {
		r := newRig(t)
		l := r.link()
		q := r.operational(l)
		r.tainted()
		r.agree(l, q, "ImmediateData="+answer)
		r.refuses(l)
	}
}

func TestLogin_7_6_InvalidKey(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	plan := LoginPlan{}
	l.Send(l.LoginAnswer(q, 0, Text(append(plan.reply(q.Data), "X-com.example.Colour=blue",
		"Wobble=7")...)))
	q = r.request(l)
	k := keysOf(q)
	if k["X-com.example.Colour"] != "NotUnderstood" || k["Wobble"] != "NotUnderstood" {
		t.Errorf("the answer is %v", k)
	}
	l.Send(l.LoginAnswer(q, 0x83, nil))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
	newUp(t, offers("X-org.example.Size=1", "X#private=2"))
}

func TestLogin_8_1_InvalidPDU(t *testing.T) {
	for _, op := range []byte{SCSIResp, DataIn, NopIn, TextResp, LogoutResp, R2T, Reject, 0x3c, LoginReq} {
		r := newRig(t)
		l := r.link()
		q := r.request(l)
		r.tainted()
		l.Send(l.Numbered(New(op, FBit, nil).Set(16, 4, uint64(q.ITT()))))
		r.refuses(l)
	}
}

func TestLogin_9_1_DigestOffer(t *testing.T) {
	for choice, want := range map[login.DigestChoice]string{
		login.DigestBoth: "None,CRC32C", login.DigestCRC32C: "CRC32C", login.DigestNone: "None",
	} {
		r := newRig(t, offer(func(o *login.Offer) { o.HeaderDigest, o.DataDigest = choice, choice }))
		l := r.link()
		q := r.operational(l)
		if k := keysOf(q); k["HeaderDigest"] != want || k["DataDigest"] != want {
			t.Errorf("%v: offers %s, %s", choice, k["HeaderDigest"], k["DataDigest"])
		}
		r.agree(l, q)
	}
}

func TestLogin_9_2_DigestResponse(t *testing.T) {
	// An answer that was not on offer ends the login.
	demand := offer(func(o *login.Offer) { o.HeaderDigest = login.DigestCRC32C })
	r := newRig(t, demand)
	l := r.link()
	q := r.operational(l)
	r.tainted()
	r.agree(l, q, "HeaderDigest=None")
	r.refuses(l)
	// One that was is used from the next PDU on, by each side of its own.
	for _, header := range []string{"None", "CRC32C"} {
		for _, data := range []string{"None", "CRC32C"} {
			r := newUp(t, answers("HeaderDigest="+header, "DataDigest="+data))
			c := r.read(512)
			q := r.one(r.first(), SCSI)
			r.first().Send(r.first().Data(q, 0, 0, FBit|SBit, pattern(512)))
			r.done(c)
		}
	}
}

func TestLogin_9_3_DigestsSupportCRC32C(t *testing.T) {
	r := newUp(t, answers("HeaderDigest=CRC32C", "DataDigest=CRC32C", "ErrorRecoveryLevel=0"))
	l := r.first()
	for n := 1; n < 9; n++ {
		c := r.write(n)
		list := r.take(l)
		if list[0].BadHeaderDigest || list[0].BadDataDigest {
			t.Errorf("write of %d bytes: wrong digest", n)
		}
		l.Good(list[0].ITT())
		r.done(c)
	}
	c := r.read(9)
	q := r.one(l, SCSI)
	r.tainted()
	p := l.Data(q, 0, 0, FBit|SBit, pattern(9))
	p.BadDataDigest = true
	l.Send(p)
	if r.s.Err() == nil {
		t.Error("a wrong data digest went unnoticed")
	}
	r.back(c)
}

func TestLogin_10_1_MaxConnections(t *testing.T) {
	r := newUp(t, portals(3), answers("MaxConnections=1"))
	if l := r.accept(); l != nil {
		t.Error("a second connection although MaxConnections is 1")
	}
	r = newRig(t, portals(3))
	l := r.link()
	q := r.operational(l)
	if got := keysOf(q)["MaxConnections"]; got != "3" {
		t.Errorf("MaxConnections=%s is offered for 3 portals", got)
	}
	r.agree(l, q, "MaxConnections=2")
	r.grant(r.link())
	if r.accept() != nil {
		t.Error("a third connection although MaxConnections is 2")
	}
}

func TestLogin_11_1_Names(t *testing.T) {
	r := newRig(t, portals(2))
	for l := range r.fresh() {
		q := r.request(l)
		if k := keysOf(q); k["InitiatorName"] != initiatorName || k["TargetName"] != targetName {
			t.Errorf("connection %d: %v", l.ID, k)
		}
		l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None", "TargetPortalGroupTag=3")))
		r.agree(l, r.request(l))
	}
}

func TestLogin_12_1_MarkerNegotiation(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	if k := keysOf(q); k["IFMarker"]+k["OFMarker"] != "" {
		t.Errorf("markers are offered: %v", k)
	}
	plan := LoginPlan{}
	l.Send(l.LoginAnswer(q, 0, Text(append(plan.reply(q.Data), "IFMarker=Yes", "OFMarker=Yes",
		"IFMarkInt=2048~8192", "OFMarkInt=2048~8192")...)))
	q = r.request(l)
	k := keysOf(q)
	for _, key := range []string{"IFMarker", "OFMarker"} {
		if k[key] != "Reject" && k[key] != "No" {
			t.Errorf("%s=%s", key, k[key])
		}
	}
	for _, key := range []string{"IFMarkInt", "OFMarkInt"} {
		if k[key] != "Reject" {
			t.Errorf("%s=%s", key, k[key])
		}
	}
	l.Send(l.LoginAnswer(q, 0x83, nil))
	if !r.s.Up() {
		t.Fatal(r.s.Err())
	}
}

func TestLogin_13_1_BooleanNegotiation(t *testing.T) {
	for _, initialR2T := range []string{"Yes", "No"} {
		for _, immediate := range []string{"Yes", "No"} {
			r := newUp(t, answers("InitialR2T="+initialR2T, "ImmediateData="+immediate))
			r.write(9000)
			list := r.take(r.first())
			if got := len(list[0].Data) > 0; got != (immediate == "Yes") {
				t.Errorf("ImmediateData=%s: %d bytes", immediate, len(list[0].Data))
			}
			if got := len(list) > 1; got != (initialR2T == "No") {
				t.Errorf("InitialR2T=%s: %d PDUs", initialR2T, len(list))
			}
		}
	}
}

func TestLogin_13_2_LegalBoolean(t *testing.T) {
	for _, key := range []string{"InitialR2T", "ImmediateData", "DataPDUInOrder",
		"DataSequenceInOrder"} {
		for _, value := range []string{"Yes", "No"} {
			if keyRules[key].result(yes, no) == yes && value == "No" && key != "InitialR2T" {
				continue // Yes was offered, and the function is OR
			}
			newUp(t, answers(key+"="+value))
		}
	}
}

func TestLogin_13_3_IllegalBoolean(t *testing.T) {
	for _, k := range []string{"InitialR2T=no", "InitialR2T=2", "DataPDUInOrder=Y",
		"DataSequenceInOrder=TRUE",
		// The outcome cannot be that, whatever the target wishes.
		"DataPDUInOrder=No", "DataSequenceInOrder=No"} {
		r := newRig(t)
		l := r.link()
		q := r.operational(l)
		r.tainted()
		r.agree(l, q, k)
		r.refuses(l)
	}
}

func TestLogin_14_1_MaxRecvDataSegmentLength(t *testing.T) {
	for _, declared := range []int{512, 1000, 65536} {
		r := newUp(t, answers(fmt.Sprintf("MaxRecvDataSegmentLength=%d", declared)))
		c := r.write(70000)
		list := r.take(r.first())
		for _, p := range list {
			if len(p.Data) > declared {
				t.Errorf("%d bytes to a target that takes %d", len(p.Data), declared)
			}
		}
		r.data(c, list...)
	}
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	r.agree(l, q) // declares nothing
	c := r.write(20000)
	list := r.take(l)
	if len(list[0].Data) != 8192 {
		t.Errorf("%d bytes to a target that declared nothing", len(list[0].Data))
	}
	r.data(c, list...)
}

func TestLogin_15_1_MaxBurstLength(t *testing.T) {
	r := newUp(t, answers("MaxBurstLength=4096", "FirstBurstLength=512", "InitialR2T=Yes"))
	l := r.first()
	c := r.write(8192 + 512)
	q := r.one(l, SCSI)
	got := []*PDU{q}
	for i := range 2 {
		l.Send(l.Ready(q, uint32(i), uint32(i+1), 512+4096*i, 4096))
		list := r.take(l)
		n := 0
		for _, p := range list {
			n += len(p.Data)
		}
		if n != 4096 {
			t.Errorf("%d bytes for an R2T of 4096", n)
		}
		got = append(got, list...)
	}
	r.data(c, got...)
	l.Good(q.ITT())
	r.done(c)
	// More than MaxBurstLength is not the target's to ask for.
	r.write(8192 + 512)
	q = r.one(l, SCSI)
	r.tainted()
	l.Send(l.Ready(q, 0, 9, 512, 4097))
	r.dead("MaxBurstLength")
}

func TestLogin_16_1_FirstBurstLengthLess(t *testing.T) {
	r := newUp(t, answers("FirstBurstLength=2048", "MaxBurstLength=65536",
		"MaxRecvDataSegmentLength=1024"))
	c := r.write(10000)
	list := r.take(r.first())
	n := 0
	for _, p := range list {
		n += len(p.Data)
	}
	if n != 2048 {
		t.Errorf("%d bytes unasked, FirstBurstLength is 2048", n)
	}
	r.first().Good(list[0].ITT())
	_ = c
}

func TestLogin_16_2_FirstBurstLengthGreater(t *testing.T) {
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	r.tainted()
	r.agree(l, q, "FirstBurstLength=65536", "MaxBurstLength=4096")
	if !r.s.Up() {
		r.refuses(l)
		return
	}
	r.write(70000)
	n := 0
	for _, p := range r.take(l) {
		n += len(p.Data)
	}
	if n > 4096 {
		t.Errorf("%d bytes unasked, MaxBurstLength is 4096", n)
	}
}

func TestLogin_16_3_FirstBurstLengthOffered(t *testing.T) {
	r := newRig(t, offer(func(o *login.Offer) {
		o.MaxBurstLength, o.FirstBurstLength = 65536, 65536
	}))
	l := r.link()
	k := keysOf(r.operational(l))
	first, _ := valueOf("FirstBurstLength", k["FirstBurstLength"])
	burst, _ := valueOf("MaxBurstLength", k["MaxBurstLength"])
	if first > burst || first < 512 {
		t.Errorf("FirstBurstLength %d is offered with MaxBurstLength %d", first, burst)
	}
}

func TestLogin_17_1_DefaultTime2Retain(t *testing.T) {
	for _, c := range []struct{ answer, want string }{{"0", "0s"}, {"7", "7s"}, {"20", "20s"}} {
		r := newUp(t, answers("DefaultTime2Retain="+c.answer))
		if got := r.s.Nexus().Time2Retain.String(); got != c.want {
			t.Errorf("%s: %s", c.answer, got)
		}
	}
	r := newRig(t)
	l := r.link()
	q := r.operational(l)
	r.tainted()
	r.agree(l, q, "DefaultTime2Retain=21") // the smaller one is the outcome
	r.refuses(l)
}

func TestLogin_18_1_DefaultTime2Wait(t *testing.T) {
	for _, c := range []struct{ answer, want string }{{"0", "0s"}, {"5", "5s"}, {"3600", "1h0m0s"}} {
		r := newUp(t, answers("DefaultTime2Wait="+c.answer))
		if got := r.s.Nexus().Time2Wait.String(); got != c.want {
			t.Errorf("%s: %s", c.answer, got)
		}
	}
	r := newRig(t, offer(func(o *login.Offer) { o.DefaultTime2Wait = 3 }))
	l := r.link()
	q := r.operational(l)
	r.tainted()
	r.agree(l, q, "DefaultTime2Wait=2") // the larger one is the outcome
	r.refuses(l)
}

func TestLogin_19_1_MaxOutstandingR2T(t *testing.T) {
	for most := 1; most <= 4; most++ {
		r := newUp(t, answers(fmt.Sprintf("MaxOutstandingR2T=%d", most), "InitialR2T=Yes",
			"ImmediateData=No"))
		l := r.first()
		c := r.write(512 * 8)
		q := r.one(l, SCSI)
		for i := range most {
			l.Send(l.Ready(q, uint32(i), uint32(i+1), 512*i, 512))
		}
		r.alive()
		list := r.many(l, DataOut, most)
		for i := most; i < 8; i++ {
			l.Send(l.Ready(q, uint32(i), uint32(i+1), 512*i, 512))
			list = append(list, r.one(l, DataOut))
		}
		r.data(c, list...)
		l.Good(q.ITT())
		r.done(c)
	}
}

func TestLogin_20_1_ErrorRecoveryLevel(t *testing.T) {
	for level := range 3 {
		r := newRig(t)
		l := r.link()
		q := r.operational(l)
		offered := keysOf(q)["ErrorRecoveryLevel"]
		if !slices.Contains([]string{"0", "1", "2"}, offered) {
			t.Fatalf("ErrorRecoveryLevel=%s", offered)
		}
		if fmt.Sprint(level) > offered {
			r.tainted()
			r.agree(l, q, fmt.Sprintf("ErrorRecoveryLevel=%d", level))
			r.refuses(l)
			continue
		}
		r.agree(l, q, fmt.Sprintf("ErrorRecoveryLevel=%d", level))
		if got := r.s.Params().ErrorRecoveryLevel; got != level {
			t.Errorf("level %d, the target said %d", got, level)
		}
	}
}

func TestLogin_21_1_SessionType(t *testing.T) {
	r := newRig(t, offer(func(o *login.Offer) { o.Discovery, o.TargetName = true, "" }))
	l := r.link()
	q := r.request(l)
	if k := keysOf(q); k["SessionType"] != "Discovery" || k["TargetName"] != "" {
		t.Errorf("the first request says %v", k)
	}
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None")))
	r.agree(l, r.request(l))
	r.s.SendTargets(r.now, "")
	q = r.one(l, TextReq)
	if string(q.Data) != "SendTargets=All\x00" {
		t.Errorf("asks %q", q.Data)
	}
	r.sleep(time.Minute / 6)
	r.none(l) // no NOP-Out in a discovery session
}

func TestLogin_22_1_AuthMethod(t *testing.T) {
	for _, c := range []struct {
		auth login.Auth
		want string
	}{
		{login.Auth{}, "None"},
		{login.Auth{User: "u", Secret: []byte("secret-of-16-byt")}, "CHAP"},
		{login.Auth{User: "u", Secret: []byte("secret-of-16-byt"), AllowNone: true}, "CHAP,None"},
	} {
		r := newRig(t, offer(func(o *login.Offer) { o.Auth = c.auth }))
		l := r.link()
		if got := keysOf(r.request(l))["AuthMethod"]; got != c.want {
			t.Errorf("%v: AuthMethod=%s", c.auth, got)
		}
	}
	// The answer may be left out altogether, RFC 7143 section 6.3.2: no offer
	// without an answer is final, but None needs none.
	r := newRig(t)
	l := r.link()
	l.Send(l.LoginAnswer(r.request(l), 0x81, nil))
	r.agree(l, r.request(l))
	r.alive()
}

func TestLogin_23_1_TargetKeys(t *testing.T) {
	// TargetPortalGroupTag, TargetAlias: taken, not answered.
	r := newRig(t)
	l := r.link()
	q := r.request(l)
	l.Send(l.LoginAnswer(q, 0x81, Text("AuthMethod=None", "TargetPortalGroupTag=258",
		"TargetAlias=the tester")))
	q = r.request(l)
	if k := keysOf(q); k["TargetPortalGroupTag"]+k["TargetAlias"] != "" {
		t.Errorf("answers %v", k)
	}
	r.agree(l, q)
	if got := r.s.Nexus().TPGT; got != 258 {
		t.Errorf("portal group %d", got)
	}
	// TargetAddress with a redirection: the login goes on there.
	r = newRig(t)
	l = r.link()
	q = r.request(l)
	l.Send(l.LoginRefused(q, 1, 1, "TargetAddress=192.0.2.7:3261,3"))
	again := r.link()
	if got := r.conns[again].Address(); got != "192.0.2.7:3261" {
		t.Errorf("redirected to %s", got)
	}
	r.grant(again)
	r.alive()
}
