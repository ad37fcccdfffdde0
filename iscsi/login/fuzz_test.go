package login

import (
	"testing"

	"braid/iscsi/pdu"
)

// A fuzzed conversation is a row of PDUs: a byte of flags and stages, a byte of
// status, two bytes of length, text.
type fuzzPDU struct {
	csg, nsg      uint8
	transit, more bool
	status        uint8
	text          []byte
}

func cutPDUs(b []byte) (list []fuzzPDU) {
	for len(b) >= 4 && len(list) < 100 {
		n := min(int(b[2])<<8|int(b[3]), len(b)-4)
		list = append(list, fuzzPDU{
			csg: b[0] >> 2 & 3, nsg: b[0] & 3, transit: b[0]&0x80 != 0, more: b[0]&0x40 != 0,
			status: b[1], text: b[4 : 4+n],
		})
		b = b[4+n:]
	}
	return list
}

func seedPDU(flags, status byte, text string) []byte {
	return append([]byte{flags, status, byte(len(text) >> 8), byte(len(text))}, text...)
}

func join(list ...[]byte) (b []byte) {
	for _, l := range list {
		b = append(b, l...)
	}
	return b
}

const (
	fuzzNames = "InitiatorName=iqn.2001-04.com.example:host\x00" +
		"TargetName=iqn.2001-04.com.example:disk\x00"
	fuzzAnswers = "HeaderDigest=None\x00DataDigest=None\x00MaxConnections=1\x00InitialR2T=No\x00" +
		"ImmediateData=Yes\x00MaxBurstLength=262144\x00FirstBurstLength=65536\x00" +
		"DefaultTime2Wait=2\x00DefaultTime2Retain=20\x00MaxOutstandingR2T=1\x00" +
		"DataPDUInOrder=Yes\x00DataSequenceInOrder=Yes\x00ErrorRecoveryLevel=0\x00"
	fuzzChallenge = "CHAP_A=5\x00CHAP_I=7\x00CHAP_C=0x00112233445566778899aabbccddeeff\x00"
)

func checkParams(t *testing.T, p Params) {
	t.Helper()
	for id := range keyID(numKeys) {
		o := Wishes{
			MaxConnections: p.MaxConnections, MaxRecvDataSegmentLength: p.MaxRecvDataSegmentLength,
			MaxBurstLength: p.MaxBurstLength, FirstBurstLength: p.FirstBurstLength,
			DefaultTime2Wait: p.DefaultTime2Wait, DefaultTime2Retain: p.DefaultTime2Retain,
			MaxOutstandingR2T: p.MaxOutstandingR2T, ErrorRecoveryLevel: p.ErrorRecoveryLevel,
		}
		if v, ok := o.number(id); ok && (v < keys[id].min || v > keys[id].max) {
			t.Fatalf("%s settled at %d", keys[id].name, v)
		}
	}
	if x := p.MaxXmitDataSegmentLength; x < 512 || x > maxSegment {
		t.Fatalf("the peer takes %d bytes", x)
	}
	if p.FirstBurstLength > p.MaxBurstLength && (p.ImmediateData || !p.InitialR2T) {
		t.Fatalf("bursts: %+v", p)
	}
}

func FuzzInitiator(f *testing.F) {
	f.Add(byte(0), join(seedPDU(0x81, 0, "AuthMethod=None\x00"), seedPDU(0x87, 0, fuzzAnswers)))
	f.Add(byte(1), join(seedPDU(0, 0, "AuthMethod=CHAP\x00"), seedPDU(0, 0, fuzzChallenge),
		seedPDU(0x81, 0, ""), seedPDU(0x87, 0, fuzzAnswers)))
	f.Add(byte(3), join(seedPDU(0, 0, "AuthMethod=CHAP\x00"), seedPDU(0, 0, fuzzChallenge),
		seedPDU(0x81, 0, "CHAP_N=disk\x00CHAP_R=0x00\x00")))
	f.Add(byte(4), join(seedPDU(0x81, 0, "AuthMethod=None\x00"),
		seedPDU(4, 0, "HeaderDigest=None\x00DataDigest=CRC32C\x00X=1\x00MaxBurstLength=512\x00"),
		seedPDU(0x87, 0, "")))
	f.Add(byte(0), join(seedPDU(0x40, 0, "Auth"), seedPDU(0x81, 0, "Method=None\x00")))
	f.Add(byte(0), seedPDU(0, 1, "TargetAddress=[::1]:1,2\x00"))
	f.Fuzz(func(t *testing.T, mode byte, b []byte) {
		o, _ := testEnds()
		if mode&1 != 0 {
			o.Auth = Auth{User: "joe", Secret: []byte("0123456789abcdef")}
		}
		mutual := mode&3 == 3
		if mutual {
			o.Auth.MutualSecret = []byte("fedcba9876543210")
		}
		o.Discovery = mode&8 != 0
		n := NewInitiator(o, mode&4 == 0, &counter{})
		for _, p := range cutPDUs(b) {
			req, text := n.Next()
			checkSent(t, req.Transit, req.Continue, req.CSG, req.NSG, text)
			done, err := n.Receive(pdu.LoginResponse{CSG: p.csg, NSG: p.nsg, Transit: p.transit,
				Continue: p.more, StatusClass: p.status & 3, StatusDetail: p.status >> 2}, p.text)
			if err != nil {
				_ = err.Error()
				return
			}
			if done {
				if mutual {
					t.Fatal("the fuzzer has guessed a secret")
				}
				checkParams(t, n.Params())
				return
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	f.Add(byte(0), join(seedPDU(0x81, 0, fuzzNames+"AuthMethod=None\x00"),
		seedPDU(0x87, 0, fuzzAnswers)))
	f.Add(byte(1), join(seedPDU(0, 0, fuzzNames+"AuthMethod=CHAP\x00"),
		seedPDU(0, 0, "CHAP_A=8,5\x00"), seedPDU(0x81, 0, "CHAP_N=joe\x00CHAP_R=0x00\x00")))
	f.Add(byte(0), seedPDU(0x83, 0, fuzzNames))
	f.Add(byte(4), join(seedPDU(0x87, 0, fuzzNames), seedPDU(0x87, 0, "MaxBurstLength=512\x00")))
	f.Add(byte(2), seedPDU(0x87, 0, fuzzNames+"HeaderDigest=None\x00"))
	f.Add(byte(0), join(seedPDU(0x44, 0, "Initia"),
		seedPDU(0x87, 0, "torName=iqn.2001-04.com.example:host\x00SessionType=Discovery\x00")))
	f.Fuzz(func(t *testing.T, mode byte, b []byte) {
		_, c := testEnds()
		if mode&1 != 0 {
			c.RequireCHAP = true
			c.Secrets = func(u string) ([]byte, bool) { return []byte("0123456789abcdef"), u == "joe" }
		}
		if mode&4 != 0 {
			c.MaxBurstLength, c.FirstBurstLength, c.ImmediateData = 4096, 1024, false
			c.HeaderDigest = DigestCRC32C
		}
		tt := NewTarget(c, mode&2 == 0)
		for _, p := range cutPDUs(b) {
			resp, text, done, err := tt.Receive(pdu.LoginRequest{CSG: p.csg, NSG: p.nsg,
				Transit: p.transit, Continue: p.more}, p.text)
			if err != nil {
				_ = err.Error()
				if resp.StatusClass == 0 {
					t.Fatalf("no status for %v", err)
				}
				return
			}
			checkSent(t, resp.Transit, resp.Continue, resp.CSG, resp.NSG, text)
			if resp.StatusClass != 0 {
				t.Fatal("a status without an error")
			}
			if done {
				if c.RequireCHAP {
					t.Fatal("the fuzzer has guessed a secret")
				}
				if tt.TargetName() != testTarget && !tt.Discovery() {
					t.Fatalf("logged in at %q", tt.TargetName())
				}
				checkParams(t, tt.Params())
				return
			}
		}
	})
}

// checkSent checks that what a stepper sends is legal.
func checkSent(t *testing.T, transit, more bool, csg, nsg uint8, text []byte) {
	t.Helper()
	if transit && more || csg > 1 || transit && (nsg <= csg || nsg == 2) || !transit && nsg != 0 {
		t.Fatalf("sent T=%v C=%v CSG=%d NSG=%d", transit, more, csg, nsg)
	}
	if len(text) > DefaultDataSegment {
		t.Fatalf("sent %d bytes", len(text))
	}
	if _, err := ParseText(text); err != nil && !more {
		t.Fatalf("sent %q: %v", text, err)
	}
}
