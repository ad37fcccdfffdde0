package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"braid/internal/loop"
	"braid/iscsi/target"
)

// A world is one run.
type world struct {
	cfg    Config
	agenda agenda

	braid   *host
	daemon  *daemon // the newest; it may be dead
	state   stateFile
	disk    *target.Volatile
	targets []*targetHost
	clients *host
	nbdWire *wire   // for clients of the network
	kerWire *wire   // for the kernel's, which know the export
	wires   []*wire // by portal
	audit   *auditor
	people  []*client
	work    *workload
	faults  *faults

	taps    map[string]*tapSession
	closing bool
	replays uint64 // of daemons that are dead
	resent  int    // requests that the kernel asked again

	growth  uint64 // blocks that the LUN has not yet
	caching bool   // WCE

	history func(line string) // nil: nobody reads it
}

// stream gives the randomness of one part of the world: what one part draws does not
// change what another gets.
func (c *Config) stream(part uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, part)) }

func newWorld(cfg Config, history func(string)) (*world, error) {
	w := &world{cfg: cfg, history: history, growth: cfg.Growth, caching: cfg.WriteCache,
		taps: map[string]*tapSession{}}
	var err error
	if w.disk, err = newDisk(&w.cfg); err != nil {
		return nil, err
	}
	for i := range cfg.Targets {
		t, err := newTargetHost(w, i, cfg.stream(uint64(1+16*i)))
		if err != nil {
			return nil, err
		}
		w.targets = append(w.targets, t)
	}
	w.braid = newHost(&w.agenda, cfg.stream(2), "braid")
	w.braid.step = w.stepDaemon
	w.clients = newHost(&w.agenda, cfg.stream(3), "clients")
	w.clients.step = func(time.Duration) time.Duration { return never }
	w.audit = newAuditor(cfg.BlockSize, cfg.Blocks, w.disk)
	w.audit.now = func() time.Duration { return w.agenda.now }
	w.audit.crash.noCopies = cfg.Retain == 0 || cfg.Shared
	w.audit.lin.bare = w.audit.crash.noCopies
	w.audit.crash.possible = true
	w.cable()
	w.startDaemon()
	for i := range cfg.Clients {
		style := handshake(i % int(byKernel))
		if i < cfg.Kernels {
			style = byKernel
		}
		w.people = append(w.people, &client{
			w: w, index: i, style: style, pending: map[uint32]*request{},
		})
	}
	w.work = newWorkload(w, cfg.stream(5))
	w.faults = newFaults(w, cfg.stream(6))
	w.audit.excused = w.faults.excused
	return w, nil
}

// cable lays the wires.
func (w *world) cable() {
	rng, small := w.cfg.stream(4), w.cfg.stream(7)
	for i := range w.cfg.Portals {
		h, local := w.portal(i)
		p := &wire{
			a: &w.agenda, rng: rng, near: w.braid, far: h.host, patience: w.cfg.Pace.login,
			base: w.cfg.Latency, jitter: w.cfg.Latency,
			sndCap: pick(rng, 16<<10, 256<<10), rcvCap: pick(rng, 8<<10, 256<<10),
		}
		if small.IntN(4) == 0 && w.cfg.Latency < time.Millisecond { // else it would crawl
			p.sndCap = 4 << 10 // commands stay behind in the process when a path goes dark
		}
		p.accept = func(s *sock) loop.Stream { return h.accept(local, s) }
		w.wires = append(w.wires, p)
	}
	local := func(accept func(s *sock) loop.Stream) *wire {
		return &wire{
			a: &w.agenda, rng: rng, near: w.clients, far: w.braid, patience: time.Minute,
			base: 5 * time.Microsecond, jitter: 20 * time.Microsecond,
			sndCap: 208 << 10, rcvCap: 208 << 10, accept: accept,
		}
	}
	w.nbdWire = local(func(s *sock) loop.Stream { return w.daemon.accept(s) })
	w.kerWire = local(func(s *sock) loop.Stream { return w.daemon.acceptKernel(s) })
}

// Dial implements loop.Network for the stack.
func (w *world) Dial(address string, s loop.Stream) loop.Socket {
	for i, wire := range w.wires {
		if portalAddress(i) == address {
			near := wire.dial(s)
			if w.cfg.Tap {
				near.tap = &tap{w: w, near: near, digests: w.cfg.Digests}
			}
			return near
		}
	}
	panic("sim: dial of " + address)
}

func (w *world) logf(format string, args ...any) {
	if w.history != nil {
		w.history(fmt.Sprintf("%14s  %s", w.agenda.now, fmt.Sprintf(format, args...)))
	}
}

// describe tells what a read returned.
func (w *world) describe(r *request, data []byte) string {
	if w.history == nil || r.kind != opRead {
		return ""
	}
	s := " ="
	bs := w.cfg.BlockSize
	for i := 0; i < len(data)/bs && i < 16; i++ {
		op, err := readStamp(data[i*bs:][:bs], r.lba+uint64(i), false)
		if err != nil {
			s += " ?"
			continue
		}
		s += fmt.Sprintf(" %d", op)
	}
	return s
}
