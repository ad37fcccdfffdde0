package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"braid/internal/loop"
	"braid/iscsi/login"
	"braid/iscsi/target"
)

// A targetHost is the machine of an embedded target. There may be several, which share one
// disk and its cache.
type targetHost struct {
	*host
	w     *world
	index int
	t     *target.Target
	socks map[*target.Conn]*sock

	waiting, ghosts int // ghosts that wait for their time, and all there ever were
}

func targetName(i int) string { return fmt.Sprintf("iqn.2026-01.org.example:sim%d", i) }

func portalAddress(i int) string { return fmt.Sprintf("192.0.2.%d:3260", i+1) }

func newDisk(c *Config) (*target.Volatile, error) {
	ram, err := target.NewRAM(c.Blocks*uint64(c.BlockSize), 4<<10)
	if err != nil {
		return nil, err
	}
	return target.NewVolatile(ram, c.BlockSize, c.Volatility)
}

// A view is the disk as one of several targets sees it.
type view struct {
	disk  *target.Volatile
	index uint32
}

func (v view) Size() uint64 { return v.disk.Size() }

func (v view) Submit(op *target.Op) bool {
	op.Nexus = op.Nexus&0xffffff | v.index<<24
	return v.disk.Submit(op)
}

func (v view) Lose(choose func(lba uint64, versions int) int) { v.disk.Lose(choose) }

func newTargetHost(w *world, index int, rng *rand.Rand) (*targetHost, error) {
	c := &w.cfg
	h := &targetHost{
		host: newHost(&w.agenda, rng, fmt.Sprint("target ", index)), w: w, index: index,
		socks: map[*target.Conn]*sock{},
	}
	h.step = h.Step
	lun := target.LUNConfig{
		Store: w.disk, BlockSize: c.BlockSize, WriteCache: c.WriteCache, Thin: c.Thin,
		NoDPOFUA: !c.FUA, Serial: "sim",
	}
	if c.Targets > 1 {
		lun.Store = view{w.disk, uint32(index)}
	}
	cfg := target.Config{
		Name: targetName(index), LUNs: []target.LUNConfig{lun},
		HeaderDigest: login.DigestBoth, DataDigest: login.DigestBoth,
		MaxRecvDataSegmentLength: c.Segment, MaxBurstLength: c.Burst,
		FirstBurstLength: c.FirstBurst, InitialR2T: c.InitialR2T, NoImmediateData: !c.Immediate,
		DefaultTime2Wait: c.Time2Wait, DefaultTime2Retain: c.Time2Retain,
		ErrorRecoveryLevel: c.TargetLevel, ALUA: c.ALUA, TPGS: c.TPGS,
		AckInterval: c.Pace.nop, DataTimeout: 3 * c.Pace.nop,
		QueueDepth: c.Depth, BufferBytes: 64 << 20, FirstAttention: c.Attention, Rand: rng,
		Log: func(_ slog.Level, msg string, args ...any) { w.logf("target: %s %v", msg, args) },
	}
	if c.Welcome > 0 {
		cfg.Welcome = func() target.Attention {
			if rng.IntN(c.Welcome) > 0 {
				return target.Attention{}
			}
			return anyAttention(rng)
		}
	}
	for i := index; i < c.Portals; i += c.Targets {
		group := 1
		if !c.OneGroup {
			group = 1 + i
		}
		cfg.Portals = append(cfg.Portals, target.PortalConfig{Address: portalAddress(i), Group: group})
	}
	var err error
	if h.t, err = target.New(0, cfg); err != nil {
		return nil, err
	}
	h.t.SetCapacity(0, c.Blocks-c.Growth)
	if c.Ghosts {
		h.t.ExecuteLate(true, c.Late/20, c.Late)
	}
	for i := range cfg.Portals {
		h.t.Delay(i, target.AnyCommand, 0, c.Reorder)
	}
	return h, nil
}

// attentions are all kinds of unit attention that a nexus may find.
var attentions = [][2]uint8{
	{0x29, 0x00}, {0x29, 0x01}, {0x29, 0x02}, {0x29, 0x03}, {0x29, 0x04}, {0x29, 0x07},
	{0x2a, 0x00}, {0x2a, 0x01}, {0x2a, 0x03}, {0x2a, 0x04}, {0x2a, 0x05}, {0x2a, 0x06},
	{0x2a, 0x07}, {0x2a, 0x09}, {0x28, 0x00}, {0x2f, 0x00}, {0x38, 0x07}, {0x3f, 0x01},
	{0x3f, 0x03}, {0x3f, 0x0e},
}

func anyAttention(rng *rand.Rand) target.Attention {
	a := pick(rng, attentions...)
	return target.Attention{Code: a[0], Qualifier: a[1]}
}

// portal is a portal's target, and its number there.
func (w *world) portal(i int) (*targetHost, int) {
	return w.targets[i%len(w.targets)], i / len(w.targets)
}

// accept is the target's end of a new connection.
func (h *targetHost) accept(portal int, s *sock) loop.Stream {
	c := h.t.Accept(h.a.now, portal)
	if c == nil {
		return nil
	}
	h.socks[c] = s
	return c
}

// Step is what the target's process does in a round.
func (h *targetHost) Step(now time.Duration) time.Duration {
	h.t.Tick(now)
	n := h.t.Ghosts()
	h.ghosts += max(n-h.waiting, 0)
	h.waiting = n
	for _, c := range append([]*target.Conn(nil), h.t.Conns()...) {
		s := h.socks[c]
		switch c.Want() {
		case target.WantReset, target.WantClose:
			s.Close(c.Want() == target.WantReset)
			c.Released()
			delete(h.socks, c)
			continue
		}
		if c.HasOutput() || c.Resumed() {
			s.Kick()
		}
	}
	return h.t.Deadline()
}

// restart makes the target forget its sessions, and its cache as r says. Silently, the
// initiators are told nothing: the machine went away and came back.
func (h *targetHost) restart(r target.Restart, silent bool) {
	if r.Cache != target.CacheKept {
		h.w.cacheLost()
		for _, o := range h.w.targets {
			if o != h {
				o.t.LostElsewhere()
			}
		}
	}
	if !silent {
		h.t.Restart(h.a.now, r)
		h.soon()
		return
	}
	down := r.Down
	r.HalfOpen, r.Down = true, 0
	h.t.Restart(h.a.now, r)
	for _, c := range append([]*target.Conn(nil), h.t.Conns()...) {
		h.socks[c].vanish()
		c.Released()
		delete(h.socks, c)
	}
	h.off = true
	h.a.after(down, call(func() {
		h.off = false
		for _, w := range h.w.wires {
			w.relight()
		}
	}))
}

// loseCache takes the cache away, or some of it, under living sessions.
func (w *world) loseCache() {
	w.cacheLost()
	for i, h := range w.targets {
		if i == 0 {
			h.t.LoseCache(h.t.ByChance)
		} else {
			h.t.LostElsewhere()
		}
		h.soon()
	}
}

// cacheLost tells the auditor.
func (w *world) cacheLost() {
	w.faults.cacheLoss = w.agenda.now
	w.audit.cacheLost()
}

// chapRand reads randomness from a seeded source.
type chapRand struct{ r *rand.Rand }

var _ io.Reader = chapRand{}

func (c chapRand) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c.r.Uint32())
	}
	return len(b), nil
}
