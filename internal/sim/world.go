package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"braid/internal/loop"
	"braid/internal/stack"
	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/mpath"
)

// A world is one run.
type world struct {
	cfg    Config
	agenda agenda

	braid   *host
	stack   *stack.Stack
	target  *targetHost
	clients *host
	nbdWire *wire
	wires   []*wire // by portal
	mem     *memory
	audit   *auditor
	people  []*client
	work    *workload
	faults  *faults

	recorded uint64 // version of the state that was handed to the writer
	closing  bool

	history func(line string) // nil: nobody reads it
}

// stream gives the randomness of one part of the world: what one part draws does not
// change what another gets.
func (c *Config) stream(part uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, part)) }

func newWorld(cfg Config, history func(string)) (*world, error) {
	w := &world{cfg: cfg, history: history}
	t, err := newTargetHost(w, cfg.stream(1))
	if err != nil {
		return nil, err
	}
	w.target = t
	w.braid = newHost(&w.agenda, cfg.stream(2), "braid")
	w.clients = newHost(&w.agenda, cfg.stream(3), "clients")
	w.clients.step = func(time.Duration) time.Duration { return never }
	w.mem = newMemory(cfg.Memory)
	w.audit = newAuditor(cfg.BlockSize, cfg.Blocks, t.disk)
	w.cable()
	w.stack = stack.New(0, w.stackConfig())
	w.braid.step = w.stepBraid
	w.braid.wake(0)
	for i := range cfg.Clients {
		w.people = append(w.people, &client{
			w: w, index: i, rng: i % 3, pending: map[uint32]*request{},
		})
	}
	w.work = newWorkload(w, cfg.stream(5))
	w.faults = newFaults(w, cfg.stream(6))
	w.audit.excused = w.faults.excused
	return w, nil
}

// cable lays the wires.
func (w *world) cable() {
	rng := w.cfg.stream(4)
	for i := range w.cfg.Portals {
		p := &wire{
			a: &w.agenda, rng: rng, near: w.braid, far: w.target.host, patience: w.cfg.Pace.login,
			base: w.cfg.Latency, jitter: w.cfg.Latency,
			sndCap: pick(rng, 16<<10, 256<<10), rcvCap: pick(rng, 8<<10, 256<<10),
		}
		p.accept = func(s *sock) loop.Stream { return w.target.accept(i, s) }
		w.wires = append(w.wires, p)
	}
	w.nbdWire = &wire{
		a: &w.agenda, rng: rng, near: w.clients, far: w.braid, patience: time.Minute,
		base: 5 * time.Microsecond, jitter: 20 * time.Microsecond, sndCap: 208 << 10, rcvCap: 208 << 10,
		accept: func(s *sock) loop.Stream { return w.stack.Accept(w.agenda.now, s) },
	}
}

// Dial implements loop.Network for the stack.
func (w *world) Dial(address string, s loop.Stream) loop.Socket {
	for i, wire := range w.wires {
		if portalAddress(i) == address {
			return wire.dial(s)
		}
	}
	panic("sim: dial of " + address)
}

func (w *world) stackConfig() stack.Config {
	c := &w.cfg
	rng := c.stream(7)
	cfg := stack.Config{
		Device: mpath.Config{
			Selector: c.Selector, Barrier: c.Barrier, Fence: c.Fence, NoPath: c.NoPath,
			Retain: c.Retain, Coherent: !c.Incoherent,
			FenceSettle: c.Pace.settle, FenceMargin: c.Pace.margin, Pool: w.mem,
			RetryMin: c.Pace.retryMin, RetryMax: c.Pace.retryMax,
		},
		Record: c.Record, Export: "disk", MaxClients: 8, MaxInFlight: 0,
		Network: w, Pool: w.mem, Rand: rng, CHAPRand: chapRand{c.stream(8)},
		Log: func(_ slog.Level, msg string, args ...any) { w.logf("braid: %s %v", msg, args) },
	}
	for i := range c.Sessions {
		o := login.DefaultOffer()
		o.InitiatorName, o.TargetName = "iqn.2026-01.org.example:host", targetName
		o.MaxConnections = c.Conns
		o.ErrorRecoveryLevel = 0
		o.ImmediateData, o.InitialR2T = c.Immediate, c.InitialR2T
		if c.Digests {
			o.HeaderDigest, o.DataDigest = login.DigestCRC32C, login.DigestCRC32C
		}
		s := iscsi.Config{
			Offer: o, ISID: [6]byte{0x80, 1, 2, 3, 0, byte(i)}, LUN: scsi.EncodeLUN(0),
			NopInterval: c.Pace.nop, NopTimeout: c.Pace.nop, LoginTimeout: c.Pace.login,
			RetryMin: c.Pace.retryMin, RetryMax: c.Pace.retryMax,
		}
		for j := range c.Conns {
			s.Portals = append(s.Portals, portalAddress((i+j)%c.Portals))
		}
		cfg.Sessions = append(cfg.Sessions, s)
		cfg.Device.Slots = append(cfg.Device.Slots, mpath.SlotConfig{Name: fmt.Sprintf("path%d", i)})
	}
	return cfg
}

// stepBraid is what the daemon does in a round.
func (w *world) stepBraid(now time.Duration) time.Duration {
	next := w.stack.Step(now)
	dev := w.stack.Device()
	if v := dev.StateVersion(); w.cfg.Record && v != w.recorded {
		w.recorded = v
		w.agenda.after(time.Duration(1+w.braid.rng.IntN(20))*time.Millisecond, call(func() {
			dev.Recorded(v)
			w.braid.soon()
		}))
	}
	if err := dev.Fatal(); err != nil {
		w.audit.find("the device gave up: %v", err)
	}
	return next
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
