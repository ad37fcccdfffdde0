package target

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// Bounds of a configuration.
const (
	maxPortals = 64
	maxUnits   = 256
	maxNexuses = 4096
	maxR2T     = 8
	maxDepth   = 1024
)

// Config is what a target is and what it permits. The zero value of a limit
// means its default.
type Config struct {
	Name    string // of the target: iqn., eui. or naa.
	Alias   string
	Portals []PortalConfig
	LUNs    []LUNConfig

	// CHAP. Secrets finds the secret of an initiator's user; with RequireCHAP
	// there is no login without one.
	RequireCHAP  bool
	Secrets      func(user string) (secret []byte, ok bool)
	MutualUser   string
	MutualSecret []byte

	HeaderDigest, DataDigest login.DigestChoice // what is accepted; Both by default

	MaxConnections           int  // per session; default 8
	MaxRecvDataSegmentLength int  // bytes; default 256 KiB
	MaxBurstLength           int  // bytes; default 1 MiB
	FirstBurstLength         int  // bytes; default 256 KiB
	MaxOutstandingR2T        int  // per command; default and at most 8
	DefaultTime2Wait         int  // seconds; default 0
	DefaultTime2Retain       int  // seconds; default 0
	ErrorRecoveryLevel       int  // the highest that is granted; 0 by default
	InitialR2T               bool // true: no unsolicited Data-Out
	NoImmediateData          bool

	// ALUA: every portal group is a target port group with an access state of
	// its own, at first active/optimized; see Target.SetAccess.
	ALUA bool
	// TPGS is what INQUIRY then tells of who changes it: the target, the default
	// (scsi.TPGSImplicit), the initiator by SET TARGET PORT GROUPS, or both.
	// TransitionTime is how many seconds a transition is said to take; 0 is not said.
	TPGS           uint8
	TransitionTime uint8

	QueueDepth  int // commands of a session at a time; default 128, at most 1024
	MaxConns    int // of all sessions; default 256
	BufferBytes int // for the data of commands under way; default 128 MiB

	// FirstAttention is the unit attention that a nexus finds which the target
	// does not know. One that it knows finds 29h/07h, unless this is
	// AttentionNone.
	FirstAttention FirstAttention
	// Welcome, if not nil, is asked at each login for one more unit attention that the
	// nexus finds; zero is none.
	Welcome func() Attention

	LoginTimeout time.Duration // default 15 s
	NopInterval  time.Duration // of silence before a NOP-In asks; 0: never
	NopTimeout   time.Duration // for the answer; default 5 s

	// At error recovery level 1 and above: AckInterval is how long an initiator
	// may be silent that has not acknowledged all status, before a NOP-In asks
	// (default 1 s); DataTimeout how long Data-Out may stay away before it is
	// asked for again (default 2 s).
	AckInterval, DataTimeout time.Duration

	// Script is played from the start.
	Script *Script
	// Rand decides what faults leave to chance; default: a fixed seed.
	Rand *rand.Rand
	// CHAPRand is the source of challenges. It is needed for CHAP.
	CHAPRand io.Reader

	// Log is told what happens to connections and sessions, never single
	// commands. Nil is silent.
	Log func(level slog.Level, msg string, args ...any)
}

// PortalConfig is one portal: where connections come in.
type PortalConfig struct {
	Address string // HOST:PORT, as SendTargets announces it
	Group   int    // target portal group tag, 0 to 65535
}

// LUNConfig is one logical unit.
type LUNConfig struct {
	Number     uint16 // at most 16383
	Store      Store
	BlockSize  int    // 512 to 4096 bytes, a power of two; default 512
	Vendor     string // of INQUIRY, at most 8 letters; "braid" by default
	Serial     string // VPD page 80h, and what the NAA name is made of; has a default
	WriteCache bool   // WCE; without it every write is stable before it is answered
	ReadOnly   bool
	Thin       bool // UNMAP and WRITE SAME with UNMAP
	NoDPOFUA   bool // FUA is not supported
	Rotational bool
}

// FirstAttention is the unit attention of a new nexus.
type FirstAttention uint8

// Kinds of first attention.
const (
	AttentionReset   FirstAttention = iota // 29h/00h
	AttentionPowerOn                       // 29h/01h
	AttentionNone
)

// complete fills in the defaults and checks what is given.
func (c *Config) complete() error {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxConnections, 8)
	def(&c.MaxRecvDataSegmentLength, 256<<10)
	def(&c.MaxBurstLength, 1<<20)
	def(&c.FirstBurstLength, min(256<<10, c.MaxBurstLength))
	def(&c.MaxOutstandingR2T, maxR2T)
	def(&c.QueueDepth, 128)
	def(&c.MaxConns, 256)
	def(&c.BufferBytes, 128<<20)
	if c.TPGS == scsi.TPGSNone {
		c.TPGS = scsi.TPGSImplicit
	}
	if c.LoginTimeout == 0 {
		c.LoginTimeout = 15 * time.Second
	}
	if c.NopTimeout == 0 {
		c.NopTimeout = 5 * time.Second
	}
	if c.AckInterval == 0 {
		c.AckInterval = time.Second
	}
	if c.DataTimeout == 0 {
		c.DataTimeout = 2 * time.Second
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(1, 2))
	}
	if c.Log == nil {
		c.Log = func(slog.Level, string, ...any) {}
	}
	return c.check()
}

func (c *Config) check() error {
	if err := login.ValidName(c.Name); err != nil {
		return fmt.Errorf("target: name: %w", err)
	}
	limits := []struct {
		what     string
		v        int
		min, max int
	}{
		{"number of portals", len(c.Portals), 1, maxPortals},
		{"number of LUNs", len(c.LUNs), 0, maxUnits},
		{"MaxConnections", c.MaxConnections, 1, 65535},
		{"MaxRecvDataSegmentLength", c.MaxRecvDataSegmentLength, 512, 1 << 20},
		{"MaxBurstLength", c.MaxBurstLength, 512, 1<<24 - 1},
		{"FirstBurstLength", c.FirstBurstLength, 512, min(c.MaxBurstLength, 1<<20)},
		{"MaxOutstandingR2T", c.MaxOutstandingR2T, 1, maxR2T},
		{"DefaultTime2Wait", c.DefaultTime2Wait, 0, 3600},
		{"DefaultTime2Retain", c.DefaultTime2Retain, 0, 3600},
		{"ErrorRecoveryLevel", c.ErrorRecoveryLevel, 0, 2},
		{"QueueDepth", c.QueueDepth, 1, maxDepth},
		{"MaxConns", c.MaxConns, 1, 65535},
		{"BufferBytes", c.BufferBytes, 2 * maxTransferBytes, 1 << 40},
	}
	for _, l := range limits {
		if l.v < l.min || l.v > l.max {
			return fmt.Errorf("target: %s is %d, not from %d to %d", l.what, l.v, l.min, l.max)
		}
	}
	for _, p := range c.Portals {
		if p.Group < 0 || p.Group > 65535 {
			return fmt.Errorf("target: portal group tag %d is not from 0 to 65535", p.Group)
		}
		if strings.ContainsAny(p.Address, "\x00,") {
			return fmt.Errorf("target: %q is no portal address", p.Address)
		}
	}
	if c.RequireCHAP && (c.Secrets == nil || c.CHAPRand == nil) {
		return fmt.Errorf("target: CHAP is required, but there are no secrets or no randomness")
	}
	return nil
}
