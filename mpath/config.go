package mpath

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"braid/barrier"
)

// Selector says which active path takes the next command (dm-multipath's names).
type Selector uint8

// Selectors.
const (
	ServiceTime Selector = iota // least time until all that is out would be answered
	QueueLength                 // fewest commands in flight
	RoundRobin                  // in turn
)

// FenceMode says what may be used to make sure that a lost session can execute nothing
// any more.
type FenceMode uint8

// Fence modes. Auto is reinstatement, and waiting where that cannot be had. Reserve is auto,
// and PREEMPT AND ABORT of a key that is registered for each session. Reset is auto, and LOGICAL
// UNIT RESET.
const (
	FenceAuto      FenceMode = iota
	FenceReinstate           // only reinstatement
	FenceReserve
	FenceReset
	FenceWait // only waiting
	FenceNone // nothing: doubtful writes are acknowledged unfenced
)

// reinstates reports whether a session's reinstatement counts.
func (m FenceMode) reinstates() bool { return m <= FenceReset }

// waits reports whether a lost session counts as harmless after a time.
func (m FenceMode) waits() bool { return m != FenceReinstate && m != FenceNone }

// Forever as Config.NoPath lets I/O wait for a path without end.
const Forever = time.Duration(1<<63 - 1)

// A Pool takes back the buffers that the device retained, and lends those for reads that
// are sent again while the first answer may still come.
type Pool interface {
	Get(n int) []byte // nil if there is none now
	Put(b []byte)
}

// Config is what a Device is made from. There is a default only where one is named.
type Config struct {
	// Slots are the paths, one session each; at most barrier.MaxSlots.
	Slots []SlotConfig

	Selector Selector
	Barrier  barrier.Mode
	Fence    FenceMode

	// NoPath is how long I/O waits when no path is left: 0 fails it at once,
	// Forever never.
	NoPath time.Duration

	// Failback is how long after its return a better group of paths takes over: 0 at once,
	// FailbackManual never.
	Failback time.Duration
	// FlapThreshold is how many losses within FlapWindow put a path in reserve, until it
	// was good for FlapPause, and longer each time; 0 never.
	FlapThreshold         int
	FlapWindow, FlapPause time.Duration

	// Untold says that a former process had acknowledged data that was lost, or may have been,
	// and told nobody: see Device.Untold.
	Untold bool

	// Retain bounds the bytes of copies of unstable writes; 0 keeps none.
	Retain uint64
	// Shared says that other hosts write to the LUN too: no copies are kept.
	Shared bool
	// TrustWCE believes a LUN that says it has no volatile cache.
	TrustWCE bool
	// Coherent is false where reads on one path may miss writes on another: then one
	// path is used at a time.
	Coherent bool
	ReadOnly bool

	// FenceSettle is how much longer blocks stay closed after a reinstatement by a
	// target that is not known to end the old tasks first. FenceMargin is added to
	// the target's own times when a fence is waited for.
	FenceSettle, FenceMargin time.Duration

	// Keys are the upper 40 bits of the reservation keys that are registered under
	// FenceReserve: nobody else's keys may begin with them. Zero registers none.
	Keys uint64

	// StrangerLimit is how often within a minute the target may end every session soon
	// after its login before the device stops (Fatal) because somebody else uses its
	// identity; 0 never.
	StrangerLimit int

	// RetryMin and RetryMax bound the pause before a session is opened again, which
	// is drawn from Rand. Defaults 0.5 s and 30 s.
	RetryMin, RetryMax time.Duration

	Pool Pool
	Rand *rand.Rand
	Log  func(level slog.Level, msg string, args ...any)
}

// A SlotConfig is one path's place: the sessions that come and go in it have the same
// ISID.
type SlotConfig struct {
	Name   string // for logs: the URL
	Target string // name of the iSCSI target

	// Lost describes the nexus that a former process left behind in this slot, nil if
	// it left none. What it was sent may still be executed.
	Lost *LostNexus
	// FenceOnly says that the slot is not one of the device's paths any more; it
	// is there to fence what a former process left. It needs Lost.
	FenceOnly bool

	// Added says that the path came after the device was made: what is wrong with it
	// is no reason to end the device.
	Added bool
}

// A LostNexus is what the state file tells of a nexus.
type LostNexus struct {
	TPGT        uint16
	Time2Wait   time.Duration
	Time2Retain time.Duration
	Several     bool   // it may have had several connections
	Vendor      string // of the LUN, empty if it was not known
	Key         uint64 // that it had registered, 0 if none
}

func (c *Config) setDefaults() {
	if c.RetryMin <= 0 {
		c.RetryMin = 500 * time.Millisecond
	}
	if c.RetryMax < c.RetryMin {
		c.RetryMax = max(30*time.Second, c.RetryMin)
	}
	if c.Shared {
		c.Retain = 0
	}
	if c.Log == nil {
		c.Log = func(slog.Level, string, ...any) {}
	}
}
