package stack

import (
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/mpath"
	"braid/nbd"
)

// Config is what a Stack is made from.
type Config struct {
	// Device says how the paths are used. Its Slots belong to Sessions, one each;
	// Rand, Pool and Log are filled in from below.
	Device mpath.Config
	// Sessions are what each slot's session is made from. Rand, CHAPRand and Log are
	// filled in.
	Sessions []iscsi.Config
	// Record says that the state must be written down before a session carries
	// commands: see State.
	Record bool

	Export      string // name of the NBD export
	Description string
	MaxInFlight int64 // bytes of one client's requests; 0 is the default of nbd
	MaxClients  int

	Network  loop.Network
	Pool     nbd.Pool
	Rand     *rand.Rand
	CHAPRand io.Reader
	Log      func(level slog.Level, msg string, args ...any)
}

// A Stack is one device with its clients and sessions. It is not safe for concurrent use.
type Stack struct {
	cfg      Config
	dev      *mpath.Device
	server   *nbd.Server
	pool     watchedPool
	clients  []*client
	sessions []session
	current  []*iscsi.Session // of each slot: the newest
	again    bool             // another Step is wanted at once

	freeRequests []*mpath.Request
}

// New returns a stack that opens its sessions at the first Step.
func New(now time.Duration, cfg Config) *Stack {
	if cfg.Log == nil {
		cfg.Log = func(slog.Level, string, ...any) {}
	}
	k := &Stack{
		cfg: cfg, pool: watchedPool{Pool: cfg.Pool},
		current: make([]*iscsi.Session, len(cfg.Sessions)),
	}
	d := cfg.Device
	d.Rand, d.Pool, d.Log = cfg.Rand, cfg.Pool, cfg.Log
	k.dev = mpath.New(now, d, k)
	if cfg.Record {
		k.dev.Record()
	}
	return k
}

// Device is the multipath device, for status and for what its owner asks of it.
func (k *Stack) Device() *mpath.Device { return k.dev }

// Session is the newest session of a slot, nil if there was none.
func (k *Stack) Session(slot int) *iscsi.Session { return k.current[slot] }

// Server is the NBD side, nil before the device was ready.
func (k *Stack) Server() *nbd.Server { return k.server }

// Step lets everything happen that can. It returns when it is wanted next, if no bytes
// arrive before: it implements loop.Driver.
func (k *Stack) Step(now time.Duration) time.Duration {
	k.progressOfTCP(now)
	for i, more := 0, true; more; i++ {
		k.dev.Step(now)
		k.serve()
		k.answer(now)
		more = k.resume(now)
		if i == maxRounds {
			k.again = more
			break
		}
	}
	k.tickClients(now)
	k.reconcile()
	next := k.dev.Deadline()
	if k.server != nil {
		next = min(next, k.server.Deadline())
	}
	if k.again {
		k.again = false
		next = now
	}
	return next
}

// maxRounds bounds how often one Step lets paused clients go on.
const maxRounds = 8

// serve makes the export once the device is known.
func (k *Stack) serve() {
	if k.server != nil || !k.dev.Ready() {
		return
	}
	k.server = nbd.NewServer(nbd.ServerConfig{
		Name: k.cfg.Export, Description: k.cfg.Description,
		Device: (*device)(k), Pool: &k.pool,
		MaxInFlight: k.cfg.MaxInFlight, MaxClients: k.cfg.MaxClients, Log: k.cfg.Log,
	})
}

// answer gives completed requests back to the clients that made them.
func (k *Stack) answer(now time.Duration) {
	for r := k.dev.Completed(); r != nil; r = k.dev.Completed() {
		q := r.User.(*nbd.Request)
		q.Err, q.Retained = nbd.Errno(r.Err), r.Retained
		if r.Reason != nil {
			q.Message = r.Reason.Error()
		}
		k.free(r)
		q.Conn().Complete(now, q)
	}
}

// resume lets clients go on that waited for room. Requests that it brings need another
// round.
func (k *Stack) resume(now time.Duration) bool {
	if k.server == nil {
		return false
	}
	went := k.server.Resume(now)
	if k.pool.failed {
		k.pool.failed = false
		k.dev.Squeeze()
	}
	return went
}

// watchedPool notices when there was no memory for a request: copies of unflushed data may
// have all of it.
type watchedPool struct {
	nbd.Pool
	failed bool
}

func (p *watchedPool) Get(n int) []byte {
	b := p.Pool.Get(n)
	p.failed = p.failed || b == nil
	return b
}

// Never is a deadline that does not come.
const Never = time.Duration(math.MaxInt64)
