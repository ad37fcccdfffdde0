package login

import (
	"encoding/hex"
	"errors"
	"testing"
)

// The MD5 value is the published example of hash mode 4800 of hashcat; the others
// are the same input through the hashes of Python.
func TestCHAPResponse(t *testing.T) {
	challenge, _ := hex.DecodeString("35343534373533343633383832343736")
	for alg, want := range map[Algorithm]string{
		MD5:     "aa4aaa1d52319525023c06a4873f4c51",
		SHA1:    "bbdaca1bc01f334c9f392c15c61bac9c129ade71",
		SHA256:  "6870d6d653b818f8110194cf9118d0c7cc94cbbf4816872c804e74105bc607ea",
		SHA3256: "c141bb733eb2270e4743cbcbcb913cf4c28d6cb90317a9f760338f42e37e36d3",
	} {
		got := alg.response(0xdc, []byte("hashcat"), challenge)
		if hex.EncodeToString(got) != want {
			t.Errorf("%v: %x, want %s", alg, got, want)
		}
		if !alg.verify(0xdc, []byte("hashcat"), challenge, got) {
			t.Errorf("%v does not take its own response", alg)
		}
		for _, wrong := range [][]byte{nil, got[1:], append([]byte{0}, got...), make([]byte, len(got))} {
			if alg.verify(0xdc, []byte("hashcat"), challenge, wrong) {
				t.Errorf("%v takes %x", alg, wrong)
			}
		}
		if alg.verify(0xdd, []byte("hashcat"), challenge, got) {
			t.Errorf("%v ignores the identifier", alg)
		}
	}
	if got := formatAlgorithms(allAlgorithms); got != "8,7,6,5" {
		t.Errorf("offered as %s", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestNewChallenge(t *testing.T) {
	a, bad := newChallenge(&counter{})
	b, bad2 := newChallenge(&counter{n: 90})
	if bad != nil || bad2 != nil || len(a.data) != challengeLength || a.same(b) || !a.same(a) {
		t.Errorf("%v %v %v %v", a, b, bad, bad2)
	}
	if _, bad := newChallenge(nil); bad == nil {
		t.Error("a challenge of nothing")
	}
	if _, bad := newChallenge(brokenReader{}); bad == nil {
		t.Error("a challenge of a broken source")
	}
}
