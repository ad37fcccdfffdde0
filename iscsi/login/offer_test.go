package login

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestOfferValidate(t *testing.T) {
	good, _ := testEnds()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	secret := []byte("0123456789abcdef")
	for want, set := range map[string]func(*Offer){
		"initiator name: the name is empty":  func(o *Offer) { o.InitiatorName = "" },
		"target name: the name is empty":     func(o *Offer) { o.TargetName = "" },
		"target name: name \"disk\"":         func(o *Offer) { o.Discovery, o.TargetName = true, "disk" },
		"initiator alias":                    func(o *Offer) { o.InitiatorAlias = "a\x00X=1" },
		"MaxConnections: 0 is not between 1": func(o *Offer) { o.MaxConnections = 0 },
		"MaxConnections: 65536":              func(o *Offer) { o.MaxConnections = 65536 },
		"MaxRecvDataSegmentLength: 511":      func(o *Offer) { o.MaxRecvDataSegmentLength = 511 },
		"MaxBurstLength: 16777216":           func(o *Offer) { o.MaxBurstLength = 1 << 24 },
		"DefaultTime2Wait: -1":               func(o *Offer) { o.DefaultTime2Wait = -1 },
		"DefaultTime2Retain: 3601":           func(o *Offer) { o.DefaultTime2Retain = 3601 },
		"MaxOutstandingR2T: 0":               func(o *Offer) { o.MaxOutstandingR2T = 0 },
		"ErrorRecoveryLevel: 3":              func(o *Offer) { o.ErrorRecoveryLevel = 3 },
		"FirstBurstLength 262144 is greater": func(o *Offer) { o.MaxBurstLength = 65536 },
		"CHAP: a secret without a user":      func(o *Offer) { o.Auth.Secret = secret },
		"CHAP: no secret for user \"joe\"":   func(o *Offer) { o.Auth.User = "joe" },
		"CHAP: no secret for the target": func(o *Offer) {
			o.Auth = Auth{User: "joe", Secret: secret, MutualUser: "d"}
		},
		"CHAP: both directions": func(o *Offer) {
			o.Auth = Auth{User: "joe", Secret: secret, MutualSecret: secret}
		},
		"CHAP: the target must prove itself": func(o *Offer) {
			o.Auth = Auth{User: "joe", Secret: secret, MutualSecret: secret[1:], AllowNone: true}
		},
		"CHAP: unknown algorithm 9": func(o *Offer) {
			o.Auth = Auth{User: "joe", Secret: secret, Algorithms: []Algorithm{9}}
		},
		"CHAP: user name": func(o *Offer) { o.Auth = Auth{User: "j\x00e", Secret: secret} },
	} {
		o := good
		set(&o)
		if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		// What gets past the caller all the same is told by the first Receive,
		// and nothing illegal is sent before it.
		n := NewInitiator(o, true, nil)
		if _, text := n.Next(); bytes.Count(text, []byte{0}) > 5 {
			t.Errorf("%s: sent %q", want, text)
		}
	}
	discovery := good
	discovery.Discovery, discovery.TargetName = true, ""
	if err := discovery.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAuthWarnsOfShortSecrets(t *testing.T) {
	short, long := []byte("elevenbytes"), []byte("twelve-bytes")
	for _, c := range []struct {
		a    Auth
		want int
	}{
		{Auth{}, 0},
		{Auth{User: "joe", Secret: long}, 0},
		{Auth{User: "joe", Secret: short}, 1},
		{Auth{User: "joe", Secret: long, MutualSecret: short}, 1},
		{Auth{User: "joe", Secret: short, MutualSecret: short[1:]}, 2},
	} {
		got := c.a.Warnings()
		if len(got) != c.want {
			t.Errorf("%v: %q", c.a, got)
		}
		if strings.Contains(strings.Join(got, " "), string(short)) {
			t.Errorf("a secret in %q", got)
		}
	}
}

func TestAuthHidesItsSecrets(t *testing.T) {
	o, _ := testEnds()
	o.Auth = Auth{User: "joe", Secret: []byte("sesame"), MutualSecret: []byte("simsim")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		s := fmt.Sprintf(format, o) + fmt.Sprintf(format, o.Auth)
		for _, secret := range []string{"sesame", "simsim", fmt.Sprint(o.Auth.Secret)} {
			if strings.Contains(s, secret) {
				t.Errorf("%s shows a secret: %s", format, s)
			}
		}
	}
}
