package conformance

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// A rig is the product's initiator, braid/iscsi.Session, driven by hand against a
// Target: no socket, no clock. When a test ends, what the Judge complained of
// fails it.
type rig struct {
	t      *testing.T
	s      *iscsi.Session
	now    time.Duration
	target *Target
	links  map[*iscsi.Conn]*Link
	conns  map[*Link]*iscsi.Conn
	order  []*Link
	plan   LoginPlan
	chunk  int // bytes to deliver at once; 0: all
	events []event
	logged []string
}

// An event is one thing that a Judge saw: a PDU of the initiator, bytes of the
// target, the end of a connection, or, with none of them, a new connection.
type event struct {
	link      int
	initiator *PDU
	target    []byte
	lost      bool
}

const (
	targetName    = "iqn.2026-01.net.example:tester"
	initiatorName = "iqn.2026-01.net.example:initiator"
	lun           = 5
	lunBytes      = lun << 48 // as the LUN field has it
)

// An option changes what a rig begins with.
type option func(*iscsi.Config, *rig)

func offer(edit func(*login.Offer)) option {
	return func(c *iscsi.Config, _ *rig) { edit(&c.Offer) }
}

// portals gives the session so many.
func portals(n int) option {
	return func(c *iscsi.Config, _ *rig) {
		c.Portals = nil
		for i := range n {
			c.Portals = append(c.Portals, string(rune('a'+i))+":3260")
		}
	}
}

// answers makes the target answer keys of the login so.
func answers(keys ...string) option {
	return func(_ *iscsi.Config, r *rig) {
		for _, k := range keys {
			key, value, _ := strings.Cut(k, "=")
			r.plan.Answers[key] = value
		}
	}
}

// offers makes the target offer keys of its own.
func offers(keys ...string) option {
	return func(_ *iscsi.Config, r *rig) { r.plan.Offers = keys }
}

// newRig begins a session that is still to be dialled.
func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	seed := rand.New(rand.NewPCG(1, 2))
	r := &rig{t: t, target: NewTarget(), links: map[*iscsi.Conn]*Link{},
		conns: map[*Link]*iscsi.Conn{}, plan: LoginPlan{Answers: map[string]string{}}}
	cfg := iscsi.Config{
		Offer:    login.DefaultOffer(),
		ISID:     [6]byte{0x80, 0x12, 0x34, 0x56, 0, 1},
		Portals:  []string{"a:3260"},
		LUN:      scsi.EncodeLUN(lun),
		Rand:     seed,
		CHAPRand: randomBytes{seed},
		Log: func(level slog.Level, msg string, args ...any) {
			r.logged = append(r.logged, fmt.Sprint(level, " ", msg, " ", args))
		},
	}
	cfg.Offer.InitiatorName, cfg.Offer.TargetName = initiatorName, targetName
	for _, o := range options {
		o(&cfg, r)
	}
	if r.plan.Answers["ErrorRecoveryLevel"] == "" {
		// Above level 0 the session looks for lost PDUs by pings of its own.
		r.plan.Answers["ErrorRecoveryLevel"] = "0"
	}
	r.s = iscsi.New(r.now, cfg)
	t.Cleanup(r.judge)
	return r
}

type randomBytes struct{ r *rand.Rand }

func (b randomBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.r.Uint32())
	}
	return len(p), nil
}

// newUp begins a session and grants the login of all its connections.
func newUp(t *testing.T, options ...option) *rig {
	t.Helper()
	r := newRig(t, options...)
	for l := range r.fresh() {
		r.grant(l)
	}
	if !r.s.Up() {
		t.Fatalf("not up: %v", r.s.Err())
	}
	return r
}

// judge ends a test.
func (r *rig) judge() {
	r.t.Helper()
	for _, l := range r.order {
		r.pull(l, 1<<30)
	}
	r.target.Judge.End()
	said := map[string]int{}
	for _, c := range r.target.Judge.Complaints {
		if said[c]++; said[c] == 1 {
			r.t.Errorf("RFC 7143 section %s", c)
		}
	}
	for _, l := range r.order {
		l.Tap.Close()
	}
}

// tainted says that the target breaks the rules in this test, or does what the
// dissector cannot follow, so that it may find fault with the target.
func (r *rig) tainted() {
	for _, l := range r.order {
		captured.tainted[l.Tap.Number()] = true
	}
}

// fresh establishes the connections that the session wants, one after the other,
// as long as it wants more.
func (r *rig) fresh() func(func(*Link) bool) {
	return func(yield func(*Link) bool) {
		for {
			l := r.accept()
			if l == nil || !yield(l) {
				return
			}
		}
	}
}

// accept establishes the next connection that the session wants; nil if none.
func (r *rig) accept() *Link {
	for _, c := range r.s.Conns() {
		if c.Want() != iscsi.WantDial {
			continue
		}
		c.Dialled()
		var l *Link
		l = r.target.Open(func(b []byte) {
			r.events = append(r.events, event{link: l.ID, target: bytes.Clone(b)})
			r.feed(c, b)
		}, captured.file.Stream())
		r.events = append(r.events, event{link: l.ID})
		captured.tests[l.Tap.Number()] = r.t.Name()
		r.links[c], r.conns[l] = l, c
		r.order = append(r.order, l)
		c.Connected(r.now)
		return l
	}
	return nil
}

// link establishes the one connection that is wanted.
func (r *rig) link() *Link {
	r.t.Helper()
	l := r.accept()
	if l == nil {
		r.t.Fatal("no connection is wanted")
	}
	return l
}

// grant answers the login of a connection to its end.
func (r *rig) grant(l *Link) {
	r.t.Helper()
	plan := r.plan
	if !l.GrantLogin(plan, func() []*PDU { return r.take(l) }) {
		r.t.Fatalf("the login did not come to its end: %v", r.s.Err())
	}
}

// first is the first connection's link.
func (r *rig) first() *Link { return r.order[0] }

// feed gives received bytes to a connection.
func (r *rig) feed(c *iscsi.Conn, b []byte) {
	for len(b) > 0 {
		n := 0
		rest := b
		if r.chunk > 0 {
			rest = b[:min(len(b), r.chunk)]
		}
		for _, dst := range c.RecvBuffers(nil) {
			k := copy(dst, rest)
			rest, n = rest[k:], n+k
		}
		if n == 0 {
			return
		}
		b = b[n:]
		c.Received(r.now, n)
	}
}

// pull takes at most n bytes that a connection wants to send.
func (r *rig) pull(l *Link, n int) {
	c := r.conns[l]
	for n > 0 && c.HasOutput() {
		var b []byte
		for _, part := range c.SendBuffers(nil) {
			b = append(b, part[:min(len(part), n-len(b))]...)
		}
		if len(b) == 0 {
			return
		}
		n -= len(b)
		before := len(l.got)
		l.Receive(b)
		for _, p := range l.got[before:] {
			r.events = append(r.events, event{link: l.ID, initiator: p})
			captured.sent[l.Tap.Number()] = append(captured.sent[l.Tap.Number()], p)
		}
		c.Sent(r.now, len(b))
	}
}

// take gives what was sent since the last time.
func (r *rig) take(l *Link) []*PDU {
	r.pull(l, 1<<30)
	return l.Take()
}

// one takes the single PDU that was sent and checks its opcode.
func (r *rig) one(l *Link, op byte) *PDU {
	r.t.Helper()
	got := r.take(l)
	if len(got) != 1 || got[0].Op() != op {
		r.t.Fatalf("sent: %s; wanted: one %s (session: %v)", names(got), opNames[op], r.s.Err())
	}
	return got[0]
}

// none checks that nothing was sent.
func (r *rig) none(l *Link) {
	r.t.Helper()
	if got := r.take(l); len(got) > 0 {
		r.t.Fatalf("sent: %s; wanted: nothing", names(got))
	}
}

// many takes what was sent and checks that all is of one opcode, so many.
func (r *rig) many(l *Link, op byte, n int) []*PDU {
	r.t.Helper()
	got := r.take(l)
	for _, p := range got {
		if p.Op() != op {
			r.t.Fatalf("sent: %s; wanted: %d %s", names(got), n, opNames[op])
		}
	}
	if len(got) != n {
		r.t.Fatalf("sent: %s; wanted: %d %s", names(got), n, opNames[op])
	}
	return got
}

func names(list []*PDU) string {
	if len(list) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for i, p := range list {
		if i == 12 {
			fmt.Fprintf(&b, "... and %d more", len(list)-i)
			break
		}
		fmt.Fprintf(&b, "%s %s; ", opNames[p.Op()], hex.EncodeToString(p.H[:]))
	}
	return b.String()
}

// sleep lets time pass, with Ticks when they are due.
func (r *rig) sleep(d time.Duration) {
	r.t.Helper()
	end := r.now + d
	for n := 0; r.s.Deadline() <= end; n++ {
		if n == 100000 {
			r.t.Fatal("Deadline does not move on")
		}
		r.now = max(r.now, r.s.Deadline())
		r.s.Tick(r.now)
	}
	r.now = end
}

// lose ends a connection as the network does.
func (r *rig) lose(l *Link) {
	c := r.conns[l]
	l.T.Judge.Lost(l.ID)
	r.events = append(r.events, event{link: l.ID, lost: true})
	c.Closed(r.now, errors.New("connection reset by peer"))
}

// pattern is what commands write: no two places within 64 KiB look alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i*7)
	}
	return b
}

// read, write and none submit commands with a CDB of their own.
func (r *rig) read(n int) *scsi.Command { return r.submit(scsi.Read, make([]byte, n)) }

func (r *rig) write(n int) *scsi.Command { return r.submit(scsi.Write, pattern(n)) }

func (r *rig) check() *scsi.Command { return r.submit(scsi.None, nil) }

func (r *rig) submit(dir scsi.Direction, data []byte) *scsi.Command {
	c := &scsi.Command{Dir: dir, Data: data, Timeout: 30 * time.Second}
	switch dir {
	case scsi.Read:
		c.CDB = [16]byte{0x88, 13: byte(len(data) / 512)}
	case scsi.Write:
		c.CDB = [16]byte{0x8a, 13: byte(len(data) / 512)}
	}
	r.s.Submit(r.now, c)
	return c
}

// done checks that exactly these commands came back, in any order, with GOOD.
func (r *rig) done(want ...*scsi.Command) {
	r.t.Helper()
	for c, err := range r.back(want...) {
		if err != nil {
			r.t.Errorf("a command of %d bytes ended with %v", len(c.Data), err)
		}
	}
}

// back checks that exactly these commands came back and gives how.
func (r *rig) back(want ...*scsi.Command) map[*scsi.Command]error {
	r.t.Helper()
	got := map[*scsi.Command]error{}
	for c := r.s.Completed(); c != nil; c = r.s.Completed() {
		if _, twice := got[c]; twice {
			r.t.Fatal("a command came back twice")
		}
		got[c] = c.Err
	}
	for _, c := range want {
		if _, ok := got[c]; !ok {
			r.t.Fatalf("a command did not come back (session: %v)", r.s.Err())
		}
	}
	if len(got) != len(want) {
		r.t.Fatalf("%d commands came back, wanted %d", len(got), len(want))
	}
	return got
}

// alive checks that nothing has ended the session.
func (r *rig) alive() {
	r.t.Helper()
	if err := r.s.Err(); err != nil {
		r.t.Fatalf("dead of %q", err)
	}
}

// dead checks that the session has ended of a cause that says what is wanted.
func (r *rig) dead(want string) {
	r.t.Helper()
	err := r.s.Err()
	if err == nil || !strings.Contains(err.Error(), want) {
		r.t.Fatalf("session: %v; wanted dead of %q", err, want)
	}
	for _, l := range r.order {
		r.none(l)
	}
}

// data joins the payload of PDUs and checks it against what the command writes.
func (r *rig) data(cmd *scsi.Command, list ...*PDU) {
	r.t.Helper()
	got := make([]byte, len(cmd.Data))
	for _, p := range list {
		at := 0
		if p.Op() == DataOut {
			at = int(p.Offset())
		}
		copy(got[at:], p.Data)
	}
	if !bytes.Equal(got, cmd.Data) {
		r.t.Error("the data written is not that of the command")
	}
}

// The captures of all tests, for the dissector.
var captured struct {
	path    string
	file    *Capture
	tests   map[int]string // by number of stream
	sent    map[int][]*PDU
	tainted map[int]bool
}

func TestMain(m *testing.M) {
	f, err := os.CreateTemp("", "braid-conformance-*.pcap")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	captured.path = f.Name()
	captured.file = NewCapture(f)
	captured.tests, captured.tainted = map[int]string{}, map[int]bool{}
	captured.sent = map[int][]*PDU{}
	status := m.Run()
	if os.Getenv("BRAID_KEEP_CAPTURE") == "" {
		os.Remove(captured.path)
	} else {
		fmt.Println("capture kept:", captured.path)
	}
	os.Exit(status)
}
