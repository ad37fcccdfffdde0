package nbdnl

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"
)

// golden turns hexadecimal with spaces and comments into bytes. The messages
// are in the machine's byte order; these are of a little-endian one.
func golden(t *testing.T, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	settings := Settings{Size: 1 << 30, BlockSize: 512, ServerFlags: 0x6d, Backend: "naa.6001405",
		DeadTimeout: 24 * time.Hour, Timeout: 30 * time.Second, ClientFlags: DestroyOnDisconnect}
	const connectTail = `
		0c00 0200 0000004000000000	# 1 GiB
		0c00 0300 0002000000000000	# blocks of 512
		0c00 0400 1e00000000000000	# timeout 30 s
		0c00 0500 6d00000000000000	# server flags
		0c00 0600 0100000000000000	# client flags
		0c00 0800 8051010000000000	# dead timeout 86400 s
		1000 0a00 6e61612e3630303134303500	# backend, with its end
	`
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"connect to a named device": {connectMessage(3, settings, []int{9}), `
			01 01 0000			# CONNECT, version 1
			0800 0100 03000000		# index 3` + connectTail + `
			1000 0780			# sockets
			  0c00 0180 0800 0100 09000000	# descriptor 9`},
		"connect to a free device with two sockets": {connectMessage(-1, settings, []int{9, 257}), `
			01 01 0000` + connectTail + `
			1c00 0780
			  0c00 0180 0800 0100 09000000
			  0c00 0180 0800 0100 01010000`},
		"a new socket": {reconfigureMessage(0, Change{Backend: "ab", Sockets: []int{7},
			DeadTimeout: time.Minute}), `
			03 01 0000
			0800 0100 00000000
			0c00 0800 3c00000000000000
			0700 0a00 616200 00		# padded by one
			1000 0780 0c00 0180 0800 0100 07000000`},
		"a new size": {reconfigureMessage(1, Change{Size: 4096, BlockSize: 4096}), `
			03 01 0000
			0800 0100 01000000
			0c00 0200 0010000000000000
			0c00 0300 0010000000000000`},
		"disconnect":        {disconnectMessage(15), `02 01 0000  0800 0100 0f000000`},
		"status of one":     {statusMessage(2), `05 01 0000  0800 0100 02000000`},
		"status of all":     {statusMessage(-1), `05 01 0000`},
		"settings of zero":  {connectMessage(-1, Settings{}, nil), zeroConnect},
		"nothing to change": {reconfigureMessage(4, Change{}), `03 01 0000  0800 0100 04000000`},
	} {
		if want := golden(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, c.got, want)
		}
	}
}

// A timeout of zero is said, because it is not the kernel's default.
const zeroConnect = `
	01 01 0000
	0c00 0200 0000000000000000
	0c00 0300 0000000000000000
	0c00 0400 0000000000000000
	0c00 0500 0000000000000000
	0c00 0600 0000000000000000
	0c00 0800 0000000000000000
`

func TestParseIndex(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
		err  string
	}{
		"answer":           {text: `01 01 0000  0800 0100 10000000`, want: 16},
		"unknown skipped":  {text: `01 01 0000  0500 2a00 07 000000  0800 0100 02000000`, want: 2},
		"flags of a type":  {text: `01 01 0000  0800 0140 02000000`, want: 2},
		"no padding at it": {text: `01 01 0000  0800 0100 02000000  0500 2a00 07`, want: 2},
		"other command":    {text: `04 01 0000  0800 0100 10000000`, err: "answered 4 to command 1"},
		"no attribute":     {text: `01 01 0000`, err: "names no device"},
		"no header":        {text: `01 01`, err: "cut short"},
		"length of zero":   {text: `01 01 0000  0000 0100`, err: "cut short"},
		"length too long":  {text: `01 01 0000  0900 0100 10000000`, err: "cut short"},
		"half a header":    {text: `01 01 0000  0800`, err: "cut short"},
		"short value":      {text: `01 01 0000  0600 0100 1000 0000`, err: "cut short"},
		"absurd device":    {text: `01 01 0000  0800 0100 ffffffff`, err: "names a device"},
	} {
		got, err := parseIndex(golden(t, c.text), cmdConnect)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.err == "" && got != c.want:
			t.Errorf("%s: %d, want %d", name, got, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus(golden(t, `
		05 01 0000
		2c00 0980
		  1400 0180 0800 0100 00000000 0500 0200 01 000000
		  1400 0100 0800 0100 05000000 0500 0200 00 000000`))
	want := []State{{0, true}, {5, false}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for name, text := range map[string]string{
		"other command":  `03 01 0000`,
		"no device":      `05 01 0000  0c00 0980  0800 0180 0400 0300`,
		"long connected": `05 01 0000  1c00 0980  1800 0180 0800 0100 00000000 0800 0200 01000000 0000`,
		"cut":            `05 01 0000  1c00 0980  1400 0180`,
	} {
		if got, err := parseStatus(golden(t, text)); err == nil {
			t.Errorf("%s: no error, but %v", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 8, 0, 1, 0, 16, 0, 0, 0})
	f.Add(statusMessage(3))
	f.Add(connectMessage(3, Settings{Backend: "x"}, []int{1, 2}))
	f.Add([]byte{5, 1, 0, 0, 24, 0, 9, 128, 20, 0, 1, 128, 8, 0, 1, 0, 0, 0, 0, 0, 5, 0, 2, 0, 1, 0,
		0, 0})
	f.Fuzz(func(t *testing.T, m []byte) {
		if index, err := parseIndex(m, cmdConnect); err == nil && (index < 0 || index > maxIndex) {
			t.Errorf("index %d", index)
		}
		states, err := parseStatus(m)
		if err == nil && len(states) > len(m)/4 {
			t.Errorf("%d devices in %d bytes", len(states), len(m))
		}
	})
}

func TestValidate(t *testing.T) {
	good := Settings{Size: 1 << 20, BlockSize: 512, DeadTimeout: time.Hour, Backend: "naa.1"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Settings){
		"no size":            func(s *Settings) { s.Size = 0 },
		"half a block":       func(s *Settings) { s.Size++ },
		"negative size":      func(s *Settings) { s.Size = 1 << 63 },
		"no block size":      func(s *Settings) { s.BlockSize = 0 },
		"small blocks":       func(s *Settings) { s.BlockSize = 256 },
		"large blocks":       func(s *Settings) { s.BlockSize = 8192 },
		"odd blocks":         func(s *Settings) { s.BlockSize = 520 },
		"negative timeout":   func(s *Settings) { s.Timeout = -time.Second },
		"half a second":      func(s *Settings) { s.DeadTimeout = time.Second / 2 },
		"for ever":           func(s *Settings) { s.DeadTimeout = 2 * maxTimeout },
		"long backend":       func(s *Settings) { s.Backend = strings.Repeat("x", maxBackend+1) },
		"backend with end":   func(s *Settings) { s.Backend = "a\x00b" },
		"backend with lines": func(s *Settings) { s.Backend = "a\nb" },
	} {
		s := good
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
