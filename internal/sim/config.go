package sim

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
	"braid/mpath"
)

// A Config is what one run is, all of it drawn from the seed.
type Config struct {
	Seed uint64

	BlockSize int
	Blocks    uint64
	Hot       uint64 // blocks that most requests go to

	Sessions, Conns int // sessions, and connections of each
	LaterSessions   int // of the second daemon, the fourth, and so on
	Targets         int // machines with one disk
	Portals         int
	OneGroup        bool // all portals are of one portal group

	Barrier    barrier.Mode
	Selector   mpath.Selector
	Fence      mpath.FenceMode
	Retain     uint64
	Shared     bool
	Memory     int64 // bytes of the buffer pool
	Incoherent bool
	Failback   time.Duration
	Flaps      int // losses that put a path in reserve
	NoPath     time.Duration

	Volatility target.Volatility
	WriteCache bool
	FUA        bool
	Thin       bool
	Attention  target.FirstAttention
	Strangers  bool   // unit attentions tell of other hosts' reservations
	Welcome    int    // one of so many new nexuses finds an attention of any kind
	Growth     uint64 // blocks that the LUN has not yet at first
	ALUA       bool
	TPGS       uint8

	Level, TargetLevel int // of error recovery

	Digests                       bool
	Immediate, InitialR2T         bool
	Burst, FirstBurst, Segment    int
	Time2Wait, Time2Retain, Depth int

	Record bool // sessions are written down before they are used

	Clients, Slots int // NBD clients, and requests that each has open
	Kernels        int // so many of the clients are the kernel
	EndByStop      bool
	Tap            bool // what the initiator sends is looked at
	Ops            int
	Think          time.Duration // of a client between two requests, on the average
	Length         time.Duration // in which they are issued

	Faults   time.Duration // mean time between faults; 0: none
	Mix      uint32        // which faults, as bits
	Aim      uint8         // what they are aimed at, as bits
	Ghosts   bool
	Late     time.Duration // commands of a lost nexus come so much later at the most
	Reorder  time.Duration // commands wait up to so long at the target
	Latency  time.Duration
	Pace     pace
	Patience time.Duration // at the end, for everything to be answered

	// What is left out, to make a history shorter: requests and faults by their number,
	// and all faults behind one.
	Unasked, Spared []int
	MaxStrikes      int
}

// A pace is how long things take: the product's own times, and those of the faults that
// must stay in proportion. A lost nexus executes nothing later than the margin of a fence
// that waits, else no such fence could hold.
type pace struct {
	name               string
	retryMin, retryMax time.Duration
	nop, login         time.Duration
	settle, margin     time.Duration
	late               time.Duration // Config.Late at the most
	freeze             time.Duration // a process stops so long at the most
	span               time.Duration // other faults last so long at the most
	slow               time.Duration // a slow wire's jitter
}

// The daemon's default times, and shorter ones, with which more happens in a run.
var (
	dailyPace = pace{
		name: "daily", retryMin: 500 * time.Millisecond, retryMax: 30 * time.Second,
		nop: 5 * time.Second, login: 15 * time.Second,
		settle: time.Second, margin: 5 * time.Second, late: 2500 * time.Millisecond,
		freeze: time.Second, span: 20 * time.Second, slow: 100 * time.Millisecond,
	}
	quickPace = pace{
		name: "quick", retryMin: 5 * time.Millisecond, retryMax: 100 * time.Millisecond,
		nop: 150 * time.Millisecond, login: 500 * time.Millisecond,
		settle: 100 * time.Millisecond, margin: time.Second, late: 400 * time.Millisecond,
		freeze: 100 * time.Millisecond, span: 600 * time.Millisecond, slow: 20 * time.Millisecond,
	}
)

func (p pace) String() string { return p.name }

// String tells what is not zero.
func (c Config) String() string {
	v := reflect.ValueOf(c)
	s := fmt.Sprintf("seed %d:", c.Seed)
	for i := 1; i < v.NumField(); i++ {
		switch f := v.Field(i); {
		case f.IsZero():
		case f.Interface() == mpath.Forever:
			s += fmt.Sprintf(" %s=forever", v.Type().Field(i).Name)
		default:
			s += fmt.Sprintf(" %s=%v", v.Type().Field(i).Name, f.Interface())
		}
	}
	return s
}

// haunt makes a run of one in which commands of lost sessions are executed late: each path
// has a portal group of its own, and a portal that goes stays away longer than they last.
func (c *Config) haunt(r *rand.Rand) {
	c.Sessions = 2 + r.IntN(2)
	c.Conns, c.Targets, c.OneGroup, c.ALUA, c.Level = 1, 1, false, false, 0
	c.LaterSessions, c.Portals, c.Hot, c.Slots = c.Sessions, c.Sessions, 8, pick(r, 4, 8, 16)
	c.Fence = pick(r, mpath.FenceAuto, mpath.FenceAuto, mpath.FenceReinstate, mpath.FenceWait)
	c.Ops = 150 + r.IntN(150)
	c.Ghosts, c.Incoherent, c.Flaps, c.Growth = true, false, 0, 0
	c.Length = 12 * c.Pace.late
	c.Faults = c.Length / 8
	c.Mix = 1<<faultHaunt | c.Mix&(1<<faultCutConn|1<<faultKill|1<<faultLoseCache)
}

// bare reports whether there may be unflushed data without copies: in the cache of a session
// that has to leave its port, other sessions could not make it stable.
func (c *Config) bare() bool {
	const forgets = 1<<faultKill | 1<<faultUpgrade | 1<<faultConflict
	return c.Retain == 0 || c.Shared || c.Mix&forgets != 0
}

// drawMix draws which faults a run has. Those after which less is promised stay out of most
// runs, so that the whole promise is tried in them.
func drawMix(r *rand.Rand) uint32 {
	mix := r.Uint32() | r.Uint32()
	spare := func(one int, kinds ...int) {
		if r.IntN(one) > 0 {
			for _, k := range kinds {
				mix &^= 1 << k
			}
		}
	}
	spare(2, faultKill, faultUpgrade)
	spare(2, faultCaching, faultGrow, faultAccess, faultAttention)
	spare(6, faultConflict)
	spare(4, faultProtect)
	spare(3, faultReadError)
	return mix
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// Draw draws a run.
func Draw(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 0x636f6e666967))
	c := Config{
		Seed:      seed,
		BlockSize: pick(r, 512, 512, 4096),
		Hot:       pick[uint64](r, 8, 16, 48),
		Sessions:  pick(r, 1, 2, 2, 2, 3, 4),
		Conns:     pick(r, 1, 1, 1, 2, 3),
		OneGroup:  r.IntN(2) == 0,
		Barrier:   pick(r, barrier.Drain, barrier.Drain, barrier.Hold, barrier.Epoch),
		Selector:  pick(r, mpath.ServiceTime, mpath.QueueLength, mpath.RoundRobin, mpath.RoundRobin),
		Targets:   pick(r, 1, 1, 1, 2),
		Fence: pick(r, mpath.FenceAuto, mpath.FenceAuto, mpath.FenceReinstate, mpath.FenceWait,
			mpath.FenceReserve, mpath.FenceReset),
		Retain:     pick[uint64](r, 0, 16<<10, 64<<10, 256<<10, 1<<20, 8<<20, 8<<20),
		Shared:     r.IntN(24) == 0,
		Incoherent: r.IntN(8) == 0,
		NoPath:     mpath.Forever,
		Volatility: pick(r, target.PerLUN, target.PerNexus),
		WriteCache: r.IntN(6) > 0,
		FUA:        r.IntN(2) == 0,
		Thin:       r.IntN(2) == 0,
		Attention: pick(r, target.AttentionReset, target.AttentionReset, target.AttentionPowerOn,
			target.AttentionNone),
		Digests:    r.IntN(3) == 0,
		Immediate:  r.IntN(3) > 0,
		InitialR2T: r.IntN(2) == 0,
		Burst:      pick(r, 16<<10, 64<<10, 1<<20),
		Segment:    pick(r, 4<<10, 16<<10, 256<<10),
		Depth:      pick(r, 4, 16, 128),
		Record:     r.IntN(4) == 0,
		Clients:    1 + r.IntN(3),
		Slots:      pick(r, 1, 4, 8, 16),
		Ops:        40 + r.IntN(pick(r, 100, 200, 400)),
		EndByStop:  r.IntN(4) == 0,
		Tap:        r.IntN(3) > 0,
		Ghosts:     r.IntN(3) > 0,
		Latency:    pick(r, 20*time.Microsecond, 200*time.Microsecond, 5*time.Millisecond),
		Patience:   5 * time.Minute,
	}
	c.FirstBurst = min(c.Burst, pick(r, 4<<10, 64<<10, 256<<10))
	c.Blocks = 1536 << 10 / uint64(c.BlockSize)
	c.Portals = max(c.Conns, pick(r, 1, 2, c.Sessions))
	if c.Conns > 1 {
		c.OneGroup = true
	}
	c.Memory = int64(c.Retain) + pick[int64](r, 1536<<10, 4<<20, 64<<20)
	if r.IntN(8) == 0 {
		c.NoPath = pick(r, 0, 3*time.Second)
	}
	if c.Pace = quickPace; r.IntN(4) == 0 {
		c.Pace = dailyPace
		c.Time2Wait, c.Time2Retain = pick(r, 0, 1), pick(r, 0, 1)
	}
	c.Length = c.Pace.span * time.Duration(pick(r, 2, 4, 8))
	if r.IntN(12) > 0 {
		c.Faults = c.Length / time.Duration(pick(r, 3, 8, 20))
		c.Mix = drawMix(r)
		c.Aim = uint8(r.IntN(32))
		c.Aim &= uint8(r.IntN(32))
	}
	if c.Conns > 1 {
		c.Targets = 1
	}
	c.Portals = max(c.Portals, c.Targets)
	if r.IntN(4) == 0 {
		c.Failback = pick(r, mpath.FailbackManual, c.Pace.nop, 4*c.Pace.nop)
	}
	c.Flaps = pick(r, 0, 0, 3)
	c.Welcome = pick(r, 0, 0, 1, 4)
	c.Strangers = r.IntN(8) == 0
	c.Growth = pick[uint64](r, 0, 0, 0, 1, 64)
	c.ALUA = !c.OneGroup && r.IntN(2) == 0
	if c.ALUA && c.bare() { // a device that moves a cache from port to port has one
		c.Volatility = target.PerLUN
	}
	c.TPGS = pick(r, scsi.TPGSImplicit, scsi.TPGSExplicit, scsi.TPGSImplicit|scsi.TPGSExplicit)
	c.Level, c.TargetLevel = pick(r, 0, 1, 2, 2), pick(r, 0, 0, 1, 2)
	c.Kernels = pick(r, 0, 1, c.Clients)
	c.LaterSessions = c.Sessions
	if r.IntN(6) == 0 {
		c.LaterSessions = 1 + r.IntN(4)
	}
	if c.Mix&(1<<faultKill|1<<faultUpgrade) != 0 {
		c.Record = true // else nobody knows of the sessions of a dead daemon
	}
	if c.Faults > 0 && r.IntN(4) == 0 {
		c.haunt(r)
	}
	c.Think = c.Length * time.Duration(c.Clients*c.Slots) / time.Duration(c.Ops)
	c.Late = c.Pace.late / time.Duration(pick(r, 1, 4, 16))
	if c.Ghosts || r.IntN(3) == 0 {
		c.Reorder = c.Pace.late / time.Duration(pick(r, 4, 10, 50, 400))
	}
	return c
}
