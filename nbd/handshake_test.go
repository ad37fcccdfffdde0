package nbd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestHandshake(t *testing.T) {
	flags := []byte{0, 0, 0, 3}
	tests := []struct {
		name  string
		edit  func(*ServerConfig, *memDevice)
		send  []byte
		want  string // after the greeting
		state string
		err   string
	}{
		{
			name: "GO", send: cat(flags, option(7, goData("disk"))),
			want: `
				option 7: INFO export size=4194304 flags=0xd6d
				option 7: INFO block size 512 4096 1048576
				option 7: ACK`,
			state: "transmission",
		},
		{
			name: "structured replies, INFO with all there is, then GO by the empty name",
			send: cat(flags, option(8, nil), option(6, goData("", 1, 2, 3, 77)), option(7, goData(""))),
			want: `
				option 8: ACK
				option 6: INFO export size=4194304 flags=0xded
				option 6: INFO block size 512 4096 1048576
				option 6: INFO name "disk"
				option 6: INFO description "a test"
				option 6: ACK
				option 7: INFO export size=4194304 flags=0xded
				option 7: INFO block size 512 4096 1048576
				option 7: ACK`,
			state: "transmission",
		},
		{
			name: "read-only, rotational",
			edit: func(_ *ServerConfig, d *memDevice) { d.info.ReadOnly, d.info.Rotational = true, true },
			send: cat(flags, option(7, goData("disk"))),
			want: `
				option 7: INFO export size=4194304 flags=0x51f
				option 7: INFO block size 512 4096 1048576
				option 7: ACK`,
			state: "transmission",
		},
		{
			name: "without trim, block sizes by default",
			edit: func(_ *ServerConfig, d *memDevice) { d.info = Info{Size: 8192} },
			send: cat(flags, option(7, goData("disk"))),
			want: `
				option 7: INFO export size=8192 flags=0xd4d
				option 7: INFO block size 1 4096 33554432
				option 7: ACK`,
			state: "transmission",
		},
		{
			name: "block sizes that the protocol does not allow",
			edit: func(_ *ServerConfig, d *memDevice) {
				d.info.MinBlock, d.info.PreferredBlock, d.info.MaxBlock = 3000, 100, 1<<20+17
			},
			send: cat(flags, option(6, goData("disk"))),
			want: `
				option 6: INFO export size=4194304 flags=0xd6d
				option 6: INFO block size 4096 4096 1048576
				option 6: ACK`,
			state: "handshake",
		},
		{
			name: "LIST", send: cat(flags, option(3, nil), option(3, []byte("x"))),
			want: `
				option 3: SERVER "disk" "a test"
				option 3: ACK
				option 3: ERR_INVALID "option takes no data"`,
			state: "handshake",
		},
		{
			name: "EXPORT_NAME without padding", send: cat(flags, option(1, []byte("disk"))),
			want: `raw 10 bytes`, state: "transmission",
		},
		{
			name: "EXPORT_NAME of a client that knows nothing else",
			send: cat([]byte{0, 0, 0, 0}, option(1, nil)),
			want: `raw 134 bytes`, state: "transmission",
		},
		{
			name: "EXPORT_NAME of an unknown export", send: cat(flags, option(1, []byte("tape"))),
			state: "over", err: "unknown export",
		},
		{
			name: "unknown export by GO, and another attempt",
			send: cat(flags, option(7, goData("tape")), option(6, goData("disk"))),
			want: `
				option 7: ERR_UNKNOWN "no such export"
				option 6: INFO export size=4194304 flags=0xd6d
				option 6: INFO block size 512 4096 1048576
				option 6: ACK`,
			state: "handshake",
		},
		{
			name: "unknown options: STARTTLS, LIST_META_CONTEXT, EXTENDED_HEADERS, any",
			send: cat(flags, option(5, nil), option(10, make([]byte, 40)), option(11, nil), option(99, nil)),
			want: `
				option 5: ERR_UNSUP "unknown option"
				option 10: ERR_UNSUP "unknown option"
				option 11: ERR_UNSUP "unknown option"
				option 99: ERR_UNSUP "unknown option"`,
			state: "handshake",
		},
		{
			name: "ABORT", send: cat(flags, option(2, nil)),
			want: `option 2: ACK`, state: "over",
		},
		{
			name: "data after ABORT", send: cat(flags, option(2, nil), option(3, nil)),
			state: "over", err: "took its leave",
		},
		{
			name: "structured replies with data", send: cat(flags, option(8, []byte{1})),
			want: `option 8: ERR_INVALID "option takes no data"`, state: "handshake",
		},
		{
			name: "malformed GO",
			send: cat(flags, option(7, nil), option(7, []byte{0, 0, 0, 9, 'd', 0, 0}),
				option(7, append(goData("disk"), 0)), option(7, goData("disk", 1)[:11]),
				option(7, []byte{0, 0, 0, 0, 0}), option(7, goData(strings.Repeat("n", 4097)))),
			want: strings.Repeat(`option 7: ERR_INVALID "malformed option data"
				`, 6),
			state: "handshake",
		},
		{
			name: "long option data", send: cat(flags, option(10, make([]byte, 300<<10)), option(99, nil)),
			want: `
				option 10: ERR_TOO_BIG "option data is too long"
				option 99: ERR_UNSUP "unknown option"`,
			state: "handshake",
		},
		{
			name: "absurd option length", send: cat(flags, option(10, nil)[:12], []byte{0xff, 0, 0, 0}),
			state: "over", err: "absurd length",
		},
		{
			name: "overlong name by EXPORT_NAME", send: cat(flags, option(1, make([]byte, 20<<10))),
			state: "over", err: "unknown export",
		},
		{
			name: "unknown client flags", send: []byte{0, 0, 0, 7},
			state: "over", err: "unknown client flags",
		},
		{
			name: "wrong magic", send: cat(flags, []byte("GET / HTTP/1.1\r\n\r\n")),
			state: "over", err: "wrong magic",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{everything, 1, 7} {
				s, _, pool := newTestServer(t, tt.edit)
				w := accept(t, s)
				if got := describe(t, w.take()); got != "greeting flags=0x3\n" {
					t.Fatalf("greeting: %q", got)
				}
				w.in = tt.send
				for w.pump(step) > 0 {
				}
				got := strings.TrimSpace(describe(t, w.take()))
				want := strings.Join(strings.Fields(tt.want), " ")
				if strings.Join(strings.Fields(got), " ") != want {
					t.Errorf("step %d: said\n%s\nwant %s", step, got, tt.want)
				}
				if w.c.State() != tt.state {
					t.Errorf("step %d: state %s, want %s", step, w.c.State(), tt.state)
				}
				if err := w.c.Err(); (err == nil) != (tt.err == "") ||
					err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("step %d: error %v, want %q", step, err, tt.err)
				}
				w.c.Closed(0, io.EOF)
				checkEmpty(t, s, pool)
			}
		})
	}
}

// checkEmpty fails unless nothing is left of all clients.
func checkEmpty(tb testing.TB, s *Server, p *testPool) {
	tb.Helper()
	if len(p.lent) != 0 {
		tb.Errorf("%d buffers lost", len(p.lent))
	}
	if len(s.conns) != 0 || s.submitted != 0 || s.queued != 0 || s.budget.live != 0 ||
		s.budget.beyond != 0 {
		tb.Errorf("left behind: %d conns, %d submitted, %d queued, budget %+v",
			len(s.conns), s.submitted, s.queued, s.budget)
	}
}

// TestHandshakeGolden pins the bytes of the shortest way into transmission.
func TestHandshakeGolden(t *testing.T) {
	s, _, _ := newTestServer(t, nil)
	w := accept(t, s)
	w.send(0, 0, 0, 3)
	w.send(option(7, goData(""))...)
	want := strings.Join([]string{
		"4e42444d41474943", "49484156454f5054", "0003",
		"0003e889045565a9", "00000007", "00000003", "0000000c", // REP_INFO
		"0000", "0000000000400000", "0d6d",
		"0003e889045565a9", "00000007", "00000003", "0000000e",
		"0003", "00000200", "00001000", "00100000",
		"0003e889045565a9", "00000007", "00000001", "00000000", // REP_ACK
	}, "")
	if got := hex.EncodeToString(w.take()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHandshakeTimeout(t *testing.T) {
	s, _, pool := newTestServer(t, nil)
	w := accept(t, s)
	w.take()
	if d := s.Deadline(); d != handshakeTimeout {
		t.Fatalf("deadline %v", d)
	}
	s.Tick(handshakeTimeout - 1)
	if w.c.Finished() {
		t.Fatal("ended too early")
	}
	s.Tick(handshakeTimeout)
	if !w.c.Finished() || !errors.Is(w.c.Err(), ErrHandshakeTimeout) {
		t.Fatalf("state %s, %v", w.c.State(), w.c.Err())
	}
	w.c.Closed(handshakeTimeout, w.c.Err())
	checkEmpty(t, s, pool)

	ready(t, s, false)
	if d := s.Deadline(); d < time.Hour*10000 {
		t.Errorf("an idle client has the deadline %v", d)
	}
}

// TestHandshakeBounded sends options without reading an answer: the server
// stops reading, and goes on when it is listened to, up to a number of options.
func TestHandshakeBounded(t *testing.T) {
	s, _, pool := newTestServer(t, func(c *ServerConfig, _ *memDevice) {
		c.Description = strings.Repeat("d", 2000)
	})
	w := accept(t, s)
	w.send(0, 0, 0, 3)
	w.send(bytes.Repeat(option(3, nil), 5000)...)
	if len(w.in) == 0 || w.c.WantsRead() {
		t.Fatal("all was read")
	}
	if n := len(w.c.out); n > maxHandshakeOutput+4096 {
		t.Fatalf("%d bytes of output", n)
	}
	for range 1000 {
		w.drain(5000)
		w.pump(everything)
	}
	var pe *ProtocolError
	if !errors.As(w.c.Err(), &pe) || pe.Reason != "too many options" {
		t.Fatalf("error %v after %d options", w.c.Err(), w.c.options)
	}
	w.c.Closed(0, nil)
	checkEmpty(t, s, pool)
}
