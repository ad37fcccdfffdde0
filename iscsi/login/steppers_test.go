package login

import (
	"bytes"
	"strings"
	"testing"

	"braid/iscsi/pdu"
)

func TestTargetHeaderMustNotChange(t *testing.T) {
	names := encode([]string{"InitiatorName=" + testInitiator, "TargetName=" + testTarget})
	first := pdu.LoginRequest{CSG: 1, ISID: [6]byte{1}, CID: 2, ITT: 3}
	for name, change := range map[string]func(*pdu.LoginRequest){
		"":     func(*pdu.LoginRequest) {},
		"ISID": func(r *pdu.LoginRequest) { r.ISID[5] = 9 },
		"CID":  func(r *pdu.LoginRequest) { r.CID = 9 },
		"ITT":  func(r *pdu.LoginRequest) { r.ITT = 9 },
		"TSIH": func(r *pdu.LoginRequest) { r.TSIH = 9 },
	} {
		_, c := testEnds()
		tt := NewTarget(c, true)
		if _, _, _, err := tt.Receive(first, names); err != nil {
			t.Fatal(err)
		}
		second := first
		second.Transit, second.NSG = true, 3
		change(&second)
		resp, _, done, err := tt.Receive(second, nil)
		if done != (name == "") || (err == nil) != done {
			t.Errorf("%s changed: done %v, %v", name, done, err)
		}
		if !done && Status(StatusInitiatorError).Detail != resp.StatusDetail {
			t.Errorf("%s changed: status %x%02x", name, resp.StatusClass, resp.StatusDetail)
		}
	}
}

func TestVersionsDiffer(t *testing.T) {
	o, c := testEnds()
	resp, _, _, err := NewTarget(c, true).Receive(pdu.LoginRequest{VersionMin: 1}, nil)
	if err == nil || resp.StatusClass != 2 || resp.StatusDetail != 5 {
		t.Errorf("target: status %x%02x, %v", resp.StatusClass, resp.StatusDetail, err)
	}
	n := NewInitiator(o, true, nil)
	n.Next()
	if _, err := n.Receive(pdu.LoginResponse{VersionActive: 1}, nil); err == nil {
		t.Error("the initiator speaks version 1")
	}
}

func TestNoEndlessLogin(t *testing.T) {
	o, c := testEnds()
	n := NewInitiator(o, true, nil)
	for i := 0; ; i++ {
		n.Next()
		if _, err := n.Receive(pdu.LoginResponse{}, nil); err != nil {
			break
		}
		if i > maxExchanges {
			t.Fatal("the initiator goes on and on")
		}
	}
	tt := NewTarget(c, true)
	names := encode([]string{"InitiatorName=" + testInitiator, "TargetName=" + testTarget})
	for i := 0; ; i++ {
		if _, _, _, err := tt.Receive(pdu.LoginRequest{CSG: 1}, names); err != nil {
			break
		}
		names = nil
		if i > maxExchanges {
			t.Fatal("the target goes on and on")
		}
	}
}

func TestInitiatorOutOfTurn(t *testing.T) {
	o, _ := testEnds()
	n := NewInitiator(o, true, nil)
	if _, err := n.Receive(pdu.LoginResponse{}, nil); err == nil {
		t.Error("an answer before the question")
	}
	n = NewInitiator(o, true, nil)
	n.Next()
	defer func() {
		if recover() == nil {
			t.Error("two requests in a row")
		}
	}()
	n.Next()
}

// While a text goes out in parts, the other side has to be silent.
func TestAnswersInTheMiddleOfText(t *testing.T) {
	text := encode([]string{"AuthMethod=None"})
	for name, resp := range map[string]pdu.LoginResponse{
		"text": {}, "T": {Transit: true, NSG: 1}, "C": {Continue: true},
	} {
		o, _ := testEnds()
		n := NewInitiator(o, true, nil)
		n.out.limit = 20
		if r, _ := n.Next(); !r.Continue || r.Transit {
			t.Fatalf("sent C=%v T=%v", r.Continue, r.Transit)
		}
		data := text
		if name != "text" {
			data = nil
		}
		if _, err := n.Receive(resp, data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}

	names := encode([]string{"InitiatorName=" + testInitiator, "TargetName=" + testTarget})
	for name, req := range map[string]pdu.LoginRequest{"text": {}, "C": {Continue: true}} {
		_, c := testEnds()
		c.Alias = "a rather long alias"
		tt := NewTarget(c, true)
		tt.out.limit = 20
		if resp, _, _, err := tt.Receive(pdu.LoginRequest{}, names); err != nil || !resp.Continue {
			t.Fatalf("answer C=%v, %v", resp.Continue, err)
		}
		data := text
		if name != "text" {
			data = nil
		}
		if _, _, _, err := tt.Receive(req, data); err == nil {
			t.Errorf("%s: taken by the target", name)
		}
	}
}

// A hostile peer cannot make a stepper keep or send much.
func TestTextIsBounded(t *testing.T) {
	var in textIn
	part := bytes.Repeat([]byte("a"), DefaultDataSegment)
	n := 0
	for ; ; n++ {
		if _, _, err := in.add(part, true); err != nil {
			break
		}
		if n > 100 {
			t.Fatal("no bound")
		}
	}
	if n != maxText/DefaultDataSegment {
		t.Errorf("%d parts were taken", n)
	}
	o, _ := testEnds()
	ini := NewInitiator(o, true, nil)
	ini.Next()
	many := strings.Repeat("X-a=b\x00", maxUnknown+1)
	_, err := ini.Receive(pdu.LoginResponse{}, []byte(many))
	if err == nil || len(ini.neg.out) > (maxUnknown+1)*(maxKeyName+20) {
		t.Errorf("%d bytes to be sent, %v", len(ini.neg.out), err)
	}
}
