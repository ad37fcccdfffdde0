package login

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

// exchange lets an initiator log in at a target, through the wire form of each
// PDU, and gives both ends' errors.
func exchange(n *Initiator, t *Target) (pdus int, initiatorErr, targetErr error) {
	isid := [6]byte{0x40, 1, 2, 3, 4, 5}
	for {
		req, text := n.Next()
		req.ISID, req.ITT, req.CID = isid, 7, 1
		var h pdu.Header
		req.Marshal(&h)
		got, err := pdu.ParseLoginRequest(&h)
		if err != nil || len(text) != got.DataLen {
			panic(fmt.Sprintf("request %+v with %d bytes: %v", req, len(text), err))
		}
		pdus++
		resp, out, targetDone, targetErr := t.Receive(got, text)
		resp.ISID, resp.ITT, resp.DataLen = isid, 7, len(out)
		resp.Marshal(&h)
		gotResp, err := pdu.ParseLoginResponse(&h)
		if err != nil {
			panic(fmt.Sprintf("response %+v: %v", resp, err))
		}
		done, err := n.Receive(gotResp, out)
		if err != nil || targetErr != nil {
			return pdus, err, targetErr
		}
		if done != targetDone {
			panic(fmt.Sprintf("done: initiator %v, target %v", done, targetDone))
		}
		if done {
			return pdus, nil, nil
		}
	}
}

// mirrored reports whether both ends came to the same result.
func mirrored(i, t Params) bool {
	i.MaxRecvDataSegmentLength, i.MaxXmitDataSegmentLength =
		i.MaxXmitDataSegmentLength, i.MaxRecvDataSegmentLength
	// These the target declares and does not hear.
	i.TargetPortalGroupTag, i.TargetAlias = t.TargetPortalGroupTag, t.TargetAlias
	return i == t
}

func testEnds() (Offer, TargetConfig) {
	o, c := DefaultOffer(), DefaultTargetConfig()
	o.InitiatorName, o.TargetName = testInitiator, testTarget
	c.Names = func(s string) bool { return s == testTarget }
	c.Rand = &counter{n: 77}
	return o, c
}

func TestRoundTripEveryAuthentication(t *testing.T) {
	const user, secret, back = "joe", "a secret of 20 bytes", "another secret 22 byte"
	users := func(u string) ([]byte, bool) { return []byte(secret), u == user }
	type way struct {
		name string
		set  func(*Offer, *TargetConfig)
		ok   bool
	}
	initiators := []way{
		{"none", func(*Offer, *TargetConfig) {}, true},
		{"chap", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte(secret)}
		}, true},
		{"either", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte(secret), AllowNone: true}
		}, true},
		{"mutual", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte(secret), MutualUser: "disk",
				MutualSecret: []byte(back)}
		}, true},
		{"mutual of any name", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte(secret), MutualSecret: []byte(back)}
		}, true},
		{"wrong secret", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte("not the secret at all")}
		}, false},
		{"wrong user", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: "jim", Secret: []byte(secret)}
		}, false},
		{"wrong mutual secret", func(o *Offer, _ *TargetConfig) {
			o.Auth = Auth{User: user, Secret: []byte(secret), MutualSecret: []byte("not that")}
		}, false},
	}
	targets := []way{
		{"none", func(*Offer, *TargetConfig) {}, true},
		{"possible", func(_ *Offer, c *TargetConfig) { c.Secrets = users }, true},
		{"required", func(_ *Offer, c *TargetConfig) { c.Secrets, c.RequireCHAP = users, true }, true},
		{"mutual", func(_ *Offer, c *TargetConfig) {
			c.Secrets, c.RequireCHAP = users, true
			c.MutualUser, c.MutualSecret = "disk", []byte(back)
		}, true},
	}
	// Which pairs agree; the rest must fail, and at both ends or with a reason.
	want := map[string]string{
		"none":               "none possible",
		"chap":               "possible required mutual",
		"either":             "none possible required mutual",
		"mutual":             "mutual",
		"mutual of any name": "mutual",
	}
	for _, alg := range append([]Algorithm{0}, allAlgorithms...) {
		for _, i := range initiators {
			for _, ta := range targets {
				o, c := testEnds()
				i.set(&o, &c)
				ta.set(&o, &c)
				if alg != 0 {
					c.Algorithms = []Algorithm{alg}
				}
				n, tt := NewInitiator(o, true, &counter{}), NewTarget(c, true)
				_, ierr, terr := exchange(n, tt)
				name := fmt.Sprintf("%s at %s by %v", i.name, ta.name, alg)
				agree := i.ok && slices.Contains(strings.Fields(want[i.name]), ta.name)
				if ok := ierr == nil && terr == nil; ok != agree {
					t.Errorf("%s: agreed %v: %v / %v", name, ok, ierr, terr)
				}
				if agree && !mirrored(n.Params(), tt.Params()) {
					t.Errorf("%s: %+v\n%+v", name, n.Params(), tt.Params())
				}
				usedCHAP := agree && i.name != "none" && ta.name != "none"
				if agree && usedCHAP != (tt.User() == user) {
					t.Errorf("%s: the target knows the user as %q", name, tt.User())
				}
				if best := max(alg, 0); usedCHAP && best != 0 && n.Algorithm() != alg ||
					usedCHAP && best == 0 && n.Algorithm() != SHA3256 {
					t.Errorf("%s: done by %v", name, n.Algorithm())
				}
				for _, err := range []error{ierr, terr} {
					if err != nil && (strings.Contains(err.Error(), secret) ||
						strings.Contains(err.Error(), back)) {
						t.Errorf("%s: a secret in %q", name, err)
					}
				}
			}
		}
	}
}

// Every small combination of settings on both sides: both ends agree, and the
// result is what the negotiation functions of RFC 7143 section 13 give.
func TestRoundTripNegotiation(t *testing.T) {
	digests := []DigestChoice{DigestBoth, DigestNone, DigestCRC32C}
	numbers := [][2]int{{1, 1}, {1, 4}, {4, 1}, {4, 4}}
	for bits := range 1 << 8 {
		bit := func(i int) bool { return bits>>i&1 == 1 }
		o, c := testEnds()
		o.HeaderDigest, c.HeaderDigest = digests[bits%3], digests[bits/3%3]
		o.DataDigest, c.DataDigest = digests[bits/9%3], digests[bits/27%3]
		o.InitialR2T, c.InitialR2T = bit(0), bit(1)
		o.ImmediateData, c.ImmediateData = bit(2), bit(3)
		o.DataPDUInOrder, c.DataPDUInOrder = bit(4), bit(5)
		o.DataSequenceInOrder, c.DataSequenceInOrder = bit(6), bit(7)
		pick := numbers[bits%4]
		o.MaxConnections, c.MaxConnections = pick[0], pick[1]
		o.DefaultTime2Wait, c.DefaultTime2Wait = pick[0], pick[1]
		o.DefaultTime2Retain, c.DefaultTime2Retain = pick[0]*7, pick[1]*7
		o.MaxBurstLength, c.MaxBurstLength = pick[0]<<14, pick[1]<<14
		o.FirstBurstLength, c.FirstBurstLength = pick[0]<<13, pick[1]<<14
		o.MaxOutstandingR2T, c.MaxOutstandingR2T = pick[0], pick[1]
		o.ErrorRecoveryLevel, c.ErrorRecoveryLevel = bits%3, bits/3%3

		n, tt := NewInitiator(o, true, nil), NewTarget(c, true)
		_, ierr, terr := exchange(n, tt)
		clash := func(a, b DigestChoice) bool {
			return a != DigestBoth && b != DigestBoth && a != b
		}
		if clash(o.HeaderDigest, c.HeaderDigest) || clash(o.DataDigest, c.DataDigest) {
			var s *StatusError
			if !errors.As(ierr, &s) || s.Code() != StatusInitiatorError || terr == nil {
				t.Errorf("%b: clashing digests: %v / %v", bits, ierr, terr)
			}
			continue
		}
		if ierr != nil || terr != nil {
			t.Errorf("%b: %v / %v", bits, ierr, terr)
			continue
		}
		p := n.Params()
		want := p
		want.HeaderDigest = o.HeaderDigest == DigestCRC32C || c.HeaderDigest == DigestCRC32C
		want.DataDigest = o.DataDigest == DigestCRC32C || c.DataDigest == DigestCRC32C
		want.InitialR2T = bit(0) || bit(1)
		want.ImmediateData = bit(2) && bit(3)
		want.DataPDUInOrder = bit(4) || bit(5)
		want.DataSequenceInOrder = bit(6) || bit(7)
		want.MaxConnections = min(pick[0], pick[1])
		want.DefaultTime2Wait = max(pick[0], pick[1])
		want.DefaultTime2Retain = min(pick[0], pick[1]) * 7
		want.MaxBurstLength = min(pick[0], pick[1]) << 14
		want.FirstBurstLength = min(pick[0]<<13, pick[1]<<14)
		want.MaxOutstandingR2T = min(pick[0], pick[1])
		want.ErrorRecoveryLevel = min(o.ErrorRecoveryLevel, c.ErrorRecoveryLevel)
		if want.ErrorRecoveryLevel > 0 && want.DataSequenceInOrder {
			want.MaxOutstandingR2T = 1
		}
		if p != want || !mirrored(p, tt.Params()) {
			t.Errorf("%b:\ninitiator %+v\ntarget    %+v\nwant      %+v", bits, p, tt.Params(), want)
		}
	}
}

// Text that does not fit into one PDU goes in several, both ways.
func TestRoundTripManyPDUs(t *testing.T) {
	for limit := 33; limit < 900; limit += 7 {
		o, c := testEnds()
		o.Auth = Auth{User: "joe", Secret: []byte("0123456789abcdef"),
			MutualSecret: []byte("fedcba9876543210")}
		c.Secrets = func(string) ([]byte, bool) { return o.Auth.Secret, true }
		c.MutualUser, c.MutualSecret = "disk", o.Auth.MutualSecret
		n, tt := NewInitiator(o, true, &counter{}), NewTarget(c, true)
		n.out.limit, tt.out.limit = limit, limit
		pdus, ierr, terr := exchange(n, tt)
		if ierr != nil || terr != nil || !mirrored(n.Params(), tt.Params()) {
			t.Fatalf("limit %d: %v / %v", limit, ierr, terr)
		}
		if limit < 100 && pdus < 10 {
			t.Errorf("limit %d: only %d requests", limit, pdus)
		}
	}
}

func TestRoundTripFurtherConnection(t *testing.T) {
	o, c := testEnds()
	o.MaxConnections, c.MaxConnections = 2, 2
	lead, leadT := NewInitiator(o, true, nil), NewTarget(c, true)
	if _, ierr, terr := exchange(lead, leadT); ierr != nil || terr != nil {
		t.Fatal(ierr, terr)
	}
	o.MaxRecvDataSegmentLength = 64 << 10
	n, tt := NewInitiator(o, false, nil), NewTarget(c, false)
	if _, ierr, terr := exchange(n, tt); ierr != nil || terr != nil {
		t.Fatal(ierr, terr)
	}
	p := n.Params().WithSession(lead.Params())
	want := lead.Params()
	want.MaxRecvDataSegmentLength = 64 << 10
	if p != want {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	if !mirrored(p, tt.Params().WithSession(leadT.Params())) {
		t.Errorf("the target has %+v", tt.Params())
	}
}

func TestRoundTripNames(t *testing.T) {
	o, c := testEnds()
	o.InitiatorAlias, c.Alias, c.PortalGroup = "host", "disk", 17
	n, tt := NewInitiator(o, true, nil), NewTarget(c, true)
	if _, ierr, terr := exchange(n, tt); ierr != nil || terr != nil {
		t.Fatal(ierr, terr)
	}
	if tt.InitiatorName() != testInitiator || tt.TargetName() != testTarget ||
		tt.InitiatorAlias() != "host" || tt.Discovery() {
		t.Errorf("names: %q %q %q", tt.InitiatorName(), tt.TargetName(), tt.InitiatorAlias())
	}
	if p := n.Params(); p.TargetAlias != "disk" || p.TargetPortalGroupTag != 17 {
		t.Errorf("declared: %q %d", p.TargetAlias, p.TargetPortalGroupTag)
	}
	o.Discovery, o.TargetName = true, ""
	n, tt = NewInitiator(o, true, nil), NewTarget(c, true)
	if _, ierr, terr := exchange(n, tt); ierr != nil || terr != nil {
		t.Fatal(ierr, terr)
	}
	if !tt.Discovery() || tt.TargetName() != "" || n.Params().TargetPortalGroupTag != -1 {
		t.Errorf("discovery: %v %q %+v", tt.Discovery(), tt.TargetName(), n.Params())
	}
}

func TestRoundTripStatus(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Offer, *TargetConfig)
		want string
	}{
		{"redirection", func(_ *Offer, c *TargetConfig) {
			c.Redirect = func(string) (string, bool, bool) { return "192.0.2.1", true, true }
		}, "the target has moved permanently to 192.0.2.1:3260"},
		{"not found", func(o *Offer, _ *TargetConfig) { o.TargetName += "x" },
			"login refused: there is no such target at this portal (status 0203)"},
		{"not allowed", func(_ *Offer, c *TargetConfig) {
			c.Authorize = func(i, to string) bool { return i == to }
		}, "login refused: this initiator is not allowed to use the target (status 0202)"},
		{"no randomness", func(o *Offer, c *TargetConfig) {
			o.Auth = Auth{User: "joe", Secret: []byte("0123456789abcdef")}
			c.Secrets = func(string) ([]byte, bool) { return o.Auth.Secret, true }
			c.Rand = bytes.NewReader(nil)
		}, "login refused: the target has a hardware or software error (status 0300)"},
	} {
		o, cfg := testEnds()
		c.set(&o, &cfg)
		_, ierr, terr := exchange(NewInitiator(o, true, nil), NewTarget(cfg, true))
		if ierr == nil || terr == nil || ierr.Error() != c.want {
			t.Errorf("%s: %v / %v", c.name, ierr, terr)
		}
	}
}
