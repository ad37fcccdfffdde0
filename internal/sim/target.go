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

const targetName = "iqn.2026-01.org.example:sim"

// A targetHost is the machine of the embedded target.
type targetHost struct {
	*host
	w     *world
	t     *target.Target
	disk  *target.Volatile
	socks map[*target.Conn]*sock

	waiting, ghosts int // ghosts that wait for their time, and all there ever were
}

func portalAddress(i int) string { return fmt.Sprintf("192.0.2.%d:3260", i+1) }

func newTargetHost(w *world, rng *rand.Rand) (*targetHost, error) {
	c := &w.cfg
	ram, err := target.NewRAM(c.Blocks*uint64(c.BlockSize), 4<<10)
	if err != nil {
		return nil, err
	}
	disk, err := target.NewVolatile(ram, c.BlockSize, c.Volatility)
	if err != nil {
		return nil, err
	}
	h := &targetHost{
		host: newHost(&w.agenda, rng, "target"), w: w, disk: disk,
		socks: map[*target.Conn]*sock{},
	}
	h.step = h.Step
	cfg := target.Config{
		Name: targetName,
		LUNs: []target.LUNConfig{{
			Store: disk, BlockSize: c.BlockSize, WriteCache: c.WriteCache, Thin: c.Thin,
			NoDPOFUA: !c.FUA,
		}},
		HeaderDigest: login.DigestBoth, DataDigest: login.DigestBoth,
		MaxRecvDataSegmentLength: c.Segment, MaxBurstLength: c.Burst,
		FirstBurstLength: c.FirstBurst, InitialR2T: c.InitialR2T, NoImmediateData: !c.Immediate,
		DefaultTime2Wait: c.Time2Wait, DefaultTime2Retain: c.Time2Retain,
		QueueDepth: c.Depth, BufferBytes: 64 << 20, FirstAttention: c.Attention, Rand: rng,
		Log: func(_ slog.Level, msg string, args ...any) { w.logf("target: %s %v", msg, args) },
	}
	for i := range c.Portals {
		group := 1
		if !c.OneGroup {
			group = 1 + i
		}
		cfg.Portals = append(cfg.Portals, target.PortalConfig{Address: portalAddress(i), Group: group})
	}
	if h.t, err = target.New(0, cfg); err != nil {
		return nil, err
	}
	if c.Ghosts {
		h.t.ExecuteLate(true, c.Late/20, c.Late)
	}
	for i := range c.Portals {
		h.t.Delay(i, 0, c.Reorder)
	}
	return h, nil
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

// chapRand reads randomness from a seeded source.
type chapRand struct{ r *rand.Rand }

var _ io.Reader = chapRand{}

func (c chapRand) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c.r.Uint32())
	}
	return len(b), nil
}
