package mpath

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

const ms = time.Millisecond

// A rig is a device over paths that a test has in its hands.
type rig struct {
	t    *testing.T
	now  time.Duration
	lun  *fakeLUN
	d    *Device
	pool *fakePool
	logs []string

	paths  []*fakePath // every session that was ever opened
	opened []dialled
	refuse map[int]error // slot whose sessions die at once, and of what
	slow   map[int]bool  // slot whose sessions do not come up by themselves
	luns   map[int]*fakeLUN
	ports  map[int]*fakePort // with asymmetric access, by slot
	tpgt   map[int]uint16    // by the slot through whose portals the session goes
	wait   time.Duration     // Time2Wait
	retain time.Duration     // Time2Retain
	level  int               // of error recovery that the target agrees to

	keys   map[fakeNexus]uint64 // registered
	resets int
	// reserved: only those with a key may write.
	reserved bool

	submitted int
	over      map[*Request]bool
}

type dialled struct {
	at        time.Duration
	slot, via int
}

// fakePool counts the memory that is given and taken back.
type fakePool struct {
	given, back int
	empty       bool
}

func (p *fakePool) Get(n int) []byte {
	if p.empty {
		return nil
	}
	p.given++
	return make([]byte, n)
}

func (p *fakePool) Put([]byte) { p.back++ }

func config(slots int) Config {
	c := Config{
		NoPath: Forever, Retain: 16 << 20, Coherent: true, FenceSettle: time.Second,
		FenceMargin: 5 * time.Second, Rand: rand.New(rand.NewPCG(1, 1)),
	}
	for i := range slots {
		c.Slots = append(c.Slots, SlotConfig{Name: fmt.Sprintf("path %d", i), Target: "iqn.t"})
	}
	return c
}

// newRig makes a device that has not taken its first step.
func newRig(t *testing.T, cfg Config) *rig {
	r := &rig{
		t: t, now: time.Second, lun: newFakeLUN(), pool: new(fakePool), refuse: map[int]error{},
		slow: map[int]bool{}, luns: map[int]*fakeLUN{}, tpgt: map[int]uint16{},
		wait: 2 * time.Second, retain: 20 * time.Second, over: map[*Request]bool{},
		keys: map[fakeNexus]uint64{},
	}
	if cfg.Pool = r.pool; cfg.Log == nil {
		cfg.Log = func(level slog.Level, msg string, args ...any) {
			r.logs = append(r.logs, fmt.Sprintln(level, msg, args))
		}
	}
	r.d = New(r.now, cfg, r)
	return r
}

// ready is a device all of whose paths are active.
func ready(t *testing.T, slots int, change ...func(*Config, *fakeLUN)) *rig {
	t.Helper()
	cfg := config(slots)
	lun := newFakeLUN()
	for _, f := range change {
		f(&cfg, lun)
	}
	r := newRig(t, cfg)
	r.lun = lun
	r.run()
	for i := range slots {
		if got := r.state(i); got != "active" {
			t.Fatalf("path %d is %s, want active: %v", i, got, r.logs)
		}
	}
	return r
}

func (r *rig) Open(now time.Duration, slot, via int) Path {
	lun := r.luns[via]
	if lun == nil {
		lun = r.lun
	}
	p := &fakePath{rig: r, slot: slot, via: via, lun: lun, silent: -1, life: -1}
	p.nexus = scsi.Nexus{TPGT: r.tpgt[via] + 1, Time2Wait: r.wait, Time2Retain: r.retain,
		ErrorRecoveryLevel: min(r.level, r.d.ErrorRecoveryLevel(slot))}
	switch err := r.refuse[via]; {
	case err != nil:
		p.err = err
	case !r.slow[via]:
		p.up = true
	}
	r.paths = append(r.paths, p)
	r.opened = append(r.opened, dialled{now, slot, via})
	return p
}

// path is the session that is in a slot now.
func (r *rig) path(slot int) *fakePath {
	r.t.Helper()
	p, _ := r.d.slots[slot].path.(*fakePath)
	if p == nil {
		r.t.Fatalf("no session in slot %d", slot)
	}
	return p
}

func (r *rig) state(slot int) string { return r.d.Status(r.now).Paths[slot].State }

// run lets everything happen that can, at this time.
func (r *rig) run() {
	r.t.Helper()
	for range 1000 {
		r.d.Step(r.now)
		moved := false
		for _, p := range r.paths {
			moved = p.run() || moved
		}
		if !moved && (r.d.Deadline() > r.now || r.d.Stopped()) {
			return
		}
		if !moved {
			r.now += time.Microsecond
		}
	}
	r.t.Fatalf("the device does not come to rest: deadline %v, now %v", r.d.Deadline(), r.now)
}

// step lets the device act once, without an answer from any path.
func (r *rig) step() { r.d.Step(r.now) }

// after lets time pass, with every step that the device asks for on the way.
func (r *rig) after(d time.Duration) {
	r.t.Helper()
	end := r.now + d
	for range 100000 {
		r.run()
		next := r.d.Deadline()
		if next >= end || r.d.Stopped() {
			r.now = end
			r.run()
			return
		}
		r.now = max(next, r.now)
	}
	r.t.Fatal("the device wants too many steps")
}

// done takes the requests that have ended. None may end twice.
func (r *rig) done() (list []*Request) {
	r.t.Helper()
	for q := r.d.Completed(); q != nil; q = r.d.Completed() {
		if over, known := r.over[q]; !known || over {
			r.t.Fatalf("request %+v was not under way", q)
		}
		r.over[q] = true
		list = append(list, q)
	}
	return list
}

func (r *rig) submit(q *Request) *Request {
	r.submitted++
	r.over[q] = false
	r.d.Submit(r.now, q)
	return q
}

func chunks(n uint64, fill byte) (list [][]byte) {
	for n > 0 {
		b := make([]byte, min(n, Chunk))
		for i := range b {
			b[i] = fill
		}
		list = append(list, b)
		n -= uint64(len(b))
	}
	return list
}

func (r *rig) write(off, n uint64, fill byte) *Request {
	return r.submit(&Request{Op: Write, Offset: off, Length: n, Data: chunks(n, fill)})
}

func (r *rig) read(off, n uint64) *Request {
	return r.submit(&Request{Op: Read, Offset: off, Length: n, Data: chunks(n, 0xee)})
}

func (r *rig) flush() *Request { return r.submit(&Request{Op: Flush}) }

func (r *rig) isDone(q *Request) bool {
	r.t.Helper()
	r.done()
	return r.over[q]
}

// want runs until nothing moves, and expects a request to have ended like that.
func (r *rig) want(q *Request, e Errno) {
	r.t.Helper()
	r.run()
	if !r.isDone(q) {
		r.t.Fatalf("the request is not done; %v", r.logs)
	}
	if q.Err != e {
		r.t.Fatalf("the request ended with %d (%v), want %d", q.Err, q.Reason, e)
	}
}

// wantHeld runs until nothing moves, and expects a request not to have ended.
func (r *rig) wantHeld(q *Request) {
	r.t.Helper()
	r.run()
	if r.isDone(q) {
		r.t.Fatalf("the request is done: %d (%v)", q.Err, q.Reason)
	}
}

// check reads the blocks and expects them to be filled with a byte.
func (r *rig) check(off, n uint64, fill byte) {
	r.t.Helper()
	q := r.read(off, n)
	r.want(q, OK)
	for _, b := range q.Data {
		for i := range b {
			if b[i] != fill {
				r.t.Fatalf("byte %d of %d+%d is %#x, want %#x", i, off, n, b[i], fill)
			}
		}
	}
}

var _ = barrier.All
