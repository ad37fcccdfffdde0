package iscsi

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

// A Config is what a session needs to know. Durations that are zero take the
// default named; NopInterval zero sends no NOP-Out of its own.
type Config struct {
	// Offer is what login asks for. ErrorRecoveryLevel is lowered to what is
	// implemented, MaxOutstandingR2T to 8; MaxConnections is at least the portals.
	Offer login.Offer

	// ISID is the initiator's half of the session's name, RFC 7143 section
	// 11.12.5.
	ISID [6]byte

	// Portals are HOST:PORT of the connections to make. The first leads; if
	// it cannot be reached the next one does.
	Portals []string

	// LUN is where every command of Submit goes.
	LUN scsi.LUN

	// Former, if not nil, is a lost session with this ISID whose connections are closed
	// first, for a target that would not survive their reinstatement. A target that knows
	// nothing of it costs one refused login.
	Former *Former

	NopInterval   time.Duration // without life for so long, ask with a NOP-Out
	NopTimeout    time.Duration // 5 s: without life for so long after asking, dead
	LoginTimeout  time.Duration // 15 s: dial and login of one connection; one text exchange
	AbortTimeout  time.Duration // 10 s: for the answer to ABORT TASK
	LogoutTimeout time.Duration // 5 s: for commands to end, and again for the answer

	// RetryMin and RetryMax bound the backoff after which a connection that
	// could not join is tried again: 0.5 s and 30 s.
	RetryMin, RetryMax time.Duration

	// MaxRedirects bounds how many redirects one login follows: 4.
	MaxRedirects int

	// Rand is the source of jitter, CHAPRand of challenges.
	Rand     *rand.Rand
	CHAPRand io.Reader

	// Counters counts what error recovery does; nil counts for this session
	// alone.
	Counters *Counters

	// Log takes rare events, as log/slog does; nil is silent.
	Log func(level slog.Level, msg string, args ...any)
}

const (
	// implementedERL is the highest error recovery level that the engine
	// implements, and so the highest that it may offer.
	implementedERL = 2

	// maxR2T bounds MaxOutstandingR2T, so that a task can hold its transfers
	// without allocation.
	maxR2T = 8

	// sendAhead is how much payload one connection queues ahead of the
	// transport: beyond it a NOP-Out or a read would wait too long behind it.
	sendAhead = 256 << 10

	// stagingBytes is the receive buffer of a connection, for headers and
	// small data segments; large ones are read in place.
	stagingBytes = 64 << 10
)

func orDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

func (c *Config) setDefaults() {
	orDefault(&c.NopTimeout, 5*time.Second)
	orDefault(&c.LoginTimeout, 15*time.Second)
	orDefault(&c.AbortTimeout, 10*time.Second)
	orDefault(&c.LogoutTimeout, 5*time.Second)
	orDefault(&c.RetryMin, 500*time.Millisecond)
	orDefault(&c.RetryMax, 30*time.Second)
	if c.MaxRedirects <= 0 {
		c.MaxRedirects = 4
	}
	if c.Counters == nil {
		c.Counters = &Counters{}
	}
	if c.Log == nil {
		c.Log = func(slog.Level, string, ...any) {}
	}
	o := &c.Offer
	if o.ErrorRecoveryLevel > implementedERL {
		c.Log(slog.LevelDebug, "error recovery level lowered to what is implemented",
			"asked", o.ErrorRecoveryLevel, "offered", implementedERL)
		o.ErrorRecoveryLevel = implementedERL
	}
	if o.ErrorRecoveryLevel > 0 {
		// What is missing is told by the order of what comes.
		o.DataPDUInOrder, o.DataSequenceInOrder = true, true
	}
	o.MaxOutstandingR2T = max(1, min(o.MaxOutstandingR2T, maxR2T))
	o.MaxConnections = max(1, o.MaxConnections, len(c.Portals))
	if o.ErrorRecoveryLevel == 2 {
		// Room for one that takes the place of a lost one before that is logged out.
		o.MaxConnections = max(2, o.MaxConnections)
	}
	if o.Discovery {
		o.MaxConnections = 1
	}
}
