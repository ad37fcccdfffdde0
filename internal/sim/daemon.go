package sim

import (
	"fmt"
	"log/slog"
	"time"

	"braid/internal/loop"
	"braid/internal/stack"
	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/mpath"
)

// A daemon is one process of the product: the engines, and its memory. It dies without a
// word, and the next one finds the state file.
type daemon struct {
	w        *world
	number   int // from 1
	dead     bool
	stack    *stack.Stack
	mem      *memory
	sessions []iscsi.Config
	recorded uint64 // version of the state that was handed to the writer
	ready    bool   // it was seen to be
	stopping bool   // it was asked to end

	onStopped func() // called once when it has ended
}

// A stateFile is what outlives a daemon.
type stateFile struct {
	state
	writing *state // not yet on the disk; nil if nothing is written
}

// A state names the sessions that a daemon has used and not logged out.
type state struct {
	slots  []lostSlot
	untold bool
}

// written says that what is being written down is on the disk.
func (f *stateFile) written() {
	if f.writing != nil {
		f.state, f.writing = *f.writing, nil
	}
}

// A lostSlot is one session in the state file.
type lostSlot struct {
	config iscsi.Config
	target string
	lost   mpath.LostNexus
}

// startDaemon starts a process.
func (w *world) startDaemon() {
	d := &daemon{w: w, number: 1, mem: newMemory(w.cfg.Memory)}
	if w.daemon != nil {
		d.number = w.daemon.number + 1
	}
	w.daemon = d
	d.stack = stack.New(w.agenda.now, d.config())
	w.logf("daemon %d starts", d.number)
	w.braid.wake(w.agenda.now)
}

// kill ends the process where it stands, as kill -9 does; the next one starts after a
// while. What is being written down may get to the disk or not.
func (w *world) kill(down time.Duration) {
	d := w.daemon
	if d.dead {
		return
	}
	w.logf("daemon %d is killed", d.number)
	d.check()
	w.replays += d.status().Counters.Replays
	d.dead = true
	if w.state.writing != nil && w.braid.rng.IntN(2) == 0 {
		w.state.written()
	}
	w.state.writing = nil
	for _, wire := range append([]*wire{w.nbdWire, w.kerWire}, w.wires...) {
		wire.bury(w.braid)
	}
	w.braid.forget()
	for _, p := range w.kerWire.live() {
		p.far.served = false
	}
	w.audit.daemonDied(d.number, d.stopping && w.state.untold)
	w.agenda.after(down, call(w.startDaemon))
}

// upgrade ends the process in good order; the next one starts after a while.
func (w *world) upgrade(down time.Duration) {
	d := w.daemon
	if d.dead || d.stopping {
		return
	}
	w.logf("daemon %d is told to stop", d.number)
	d.stop()
	d.onStopped = func() {
		d.judgeStop()
		w.state.written() // the process waits for that
		w.kill(down)
	}
}

// stop tells the process to end in good order.
func (d *daemon) stop() {
	d.stopping = true
	if s := d.stack.Server(); s != nil {
		s.Shutdown(d.w.agenda.now)
	}
	d.stack.Device().Stop(d.w.agenda.now, stopGrace)
	d.w.braid.soon()
}

// judgeStop holds the disk against what a daemon promises that ends in good order and does
// not say that some data could not be flushed.
func (d *daemon) judgeStop() {
	a := d.w.audit
	if !a.crash.noCopies && d.stack.Device().StopErr() == nil {
		a.moment++
		a.flushed(&request{id: ^uint32(0) - uint32(d.number), kind: opFlush, begun: a.moment})
	}
}

// up reports whether the process is there, and the device has a path.
func (d *daemon) up() bool {
	return d.ready && !d.dead && !d.stopping && d.status().State == "striped"
}

func (d *daemon) status() mpath.Status { return d.stack.Device().Status(d.w.agenda.now) }

// stopGrace is how long the orderly end takes at the most.
const stopGrace = 9 * time.Second

// check looks for misuse of the daemon's memory.
func (d *daemon) check() {
	d.mem.checkAll()
	if d.mem.fault != "" {
		d.w.audit.find("%s", d.mem.fault)
	}
}

func (d *daemon) accept(s *sock) loop.Stream {
	if d.dead {
		return nil
	}
	return d.stack.Accept(d.w.agenda.now, s)
}

// acceptKernel takes a socket whose other end the kernel has.
func (d *daemon) acceptKernel(s *sock) (stream loop.Stream) {
	if !d.dead {
		d.stack.AcceptKernel(d.w.agenda.now, func(c loop.Stream) loop.Socket {
			stream, s.served = c, true
			return s
		}, func() { s.served = false })
	}
	return stream
}

// stepDaemon is what the process does in a round.
func (w *world) stepDaemon(now time.Duration) time.Duration {
	d := w.daemon
	if d.dead {
		return never
	}
	next := d.stack.Step(now)
	dev := d.stack.Device()
	if !d.ready && dev.Ready() {
		d.ready = true
		w.logf("daemon %d is ready", d.number)
	}
	d.record()
	w.faults.look()
	if err := dev.Fatal(); err != nil {
		w.audit.find("the device gave up: %v", err)
	}
	if f := d.onStopped; f != nil && dev.Stopped() {
		d.onStopped = nil
		f()
		return never
	}
	return next
}

// record has the state written down when it changed.
func (d *daemon) record() {
	w, dev := d.w, d.stack.Device()
	if !w.cfg.Record || dev.StateVersion() == d.recorded {
		return
	}
	version, slots := dev.State()
	d.recorded = version
	state := &state{untold: dev.Untold()}
	for _, s := range slots {
		if s.InUse {
			cfg := d.sessions[s.Index]
			state.slots = append(state.slots, lostSlot{config: cfg, target: cfg.Offer.TargetName,
				lost: mpath.LostNexus{TPGT: s.Nexus.TPGT, Time2Wait: s.Nexus.Time2Wait,
					Time2Retain: s.Nexus.Time2Retain, Several: len(cfg.Portals) > 1,
					Vendor: s.Vendor, Key: s.Key}})
		}
	}
	w.state.writing = state
	w.agenda.after(time.Duration(1+w.braid.rng.IntN(20))*time.Millisecond, call(func() {
		if d.dead {
			return
		}
		if d.recorded == version {
			w.state.written()
			dev.Recorded(version)
			w.braid.soon()
		}
	}))
}

// config is what the daemon is started with.
func (d *daemon) config() stack.Config {
	w, c := d.w, &d.w.cfg
	rng := c.stream(uint64(7 + 16*d.number))
	cfg := stack.Config{
		Device: mpath.Config{
			Selector: c.Selector, Barrier: c.Barrier, Fence: c.Fence, NoPath: c.NoPath,
			Retain: c.Retain, Shared: c.Shared, Coherent: !c.Incoherent,
			FenceSettle: c.Pace.settle, FenceMargin: c.Pace.margin, Pool: d.mem,
			RetryMin: c.Pace.retryMin, RetryMax: c.Pace.retryMax,
			Keys:     0xd3<<56 | uint64(rng.IntN(1<<16))<<24,
			Failback: c.Failback, FlapThreshold: c.Flaps, FlapWindow: 8 * c.Pace.nop,
			FlapPause: 4 * c.Pace.nop,
		},
		Record: c.Record, Export: "disk", MaxClients: 8, MaxInFlight: 0,
		Network: w, Pool: d.mem, Rand: rng, CHAPRand: chapRand{c.stream(uint64(8 + 16*d.number))},
		Log: d.log,
	}
	n := c.Sessions
	if d.number%2 == 0 {
		n = c.LaterSessions
	}
	for i := range n {
		cfg.Sessions = append(cfg.Sessions, w.sessionConfig(i))
		cfg.Device.Slots = append(cfg.Device.Slots, mpath.SlotConfig{
			Name: fmt.Sprintf("path%d", i), Target: cfg.Sessions[i].Offer.TargetName,
		})
	}
	cfg.Device.Untold = w.state.untold && c.Kernels > 0
	for _, s := range w.state.slots {
		d.takeOver(&cfg, s)
	}
	d.sessions = cfg.Sessions
	return cfg
}

func (d *daemon) log(level slog.Level, msg string, args ...any) {
	d.w.logf("braid: %s %v", msg, args)
}

// takeOver makes a lost nexus of a session of the state file: in the slot that it had, or
// in one more that only fences.
func (d *daemon) takeOver(cfg *stack.Config, s lostSlot) {
	lost := s.lost
	for i, o := range cfg.Sessions {
		if o.ISID == s.config.ISID && o.Offer.TargetName == s.target {
			cfg.Device.Slots[i].Lost = &lost
			return
		}
	}
	one := s.config
	one.Offer.MaxConnections = 1
	cfg.Sessions = append(cfg.Sessions, one)
	cfg.Device.Slots = append(cfg.Device.Slots, mpath.SlotConfig{
		Name: fmt.Sprintf("left%d", len(cfg.Sessions)), Target: s.target, Lost: &lost,
		FenceOnly: true,
	})
}

// sessionConfig is what the session of a path is made from.
func (w *world) sessionConfig(i int) iscsi.Config {
	c := &w.cfg
	t := i % c.Targets
	portals := (c.Portals - t + c.Targets - 1) / c.Targets // of that target
	o := login.DefaultOffer()
	o.InitiatorName, o.TargetName = "iqn.2026-01.org.example:host", targetName(t)
	o.MaxConnections = c.Conns
	o.ErrorRecoveryLevel = c.Level
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
		s.Portals = append(s.Portals, portalAddress(t+c.Targets*((i/c.Targets+j)%portals)))
	}
	return s
}
