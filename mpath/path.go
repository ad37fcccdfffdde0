package mpath

import (
	"errors"
	"time"

	"braid/iscsi/scsi"
)

// A Path is a session to the logical unit: one I_T nexus. It lives once: when it has
// failed it stays dead and is replaced by a new one.
type Path interface {
	// Submit sends a command. It never completes within the call. A command for a
	// dead path is handed back as not sent.
	Submit(now time.Duration, c *scsi.Command)

	// Heard returns the next unit attention that the target told of its own accord.
	Heard() (scsi.Attention, bool)

	// Completed returns the next command that has ended, nil if there is none.
	Completed() *scsi.Command

	// Up reports whether commands may be submitted.
	Up() bool

	// Err is why the path is dead, nil while it lives. Once it is not nil, every
	// command is handed back by Completed. An error with a method
	// Permanent() bool that returns true says that trying again cannot help.
	Err() error

	// Nexus is valid once the path was up, also after its death.
	Nexus() scsi.Nexus

	// LastSent is when the transport last took a byte.
	LastSent() time.Duration

	// LastLife is when the target last showed life: a byte was received or acknowledged,
	// or the target itself ended the connection. Zero if it never did; ok is false where
	// that says nothing about when the target lost the session.
	LastLife() (at time.Duration, ok bool)

	// Probe asks for a sign of life now. Silent tells since when one that was asked
	// for is missing, if it is.
	Probe(now time.Duration)
	Silent() (since time.Duration, ok bool)

	// Cut reports whether the session has no connection at present, but may get one again,
	// and whether that is refused so far. One that is cut is silent since then.
	Cut() (cut, refused bool)

	// Recovering reports whether a connection of the session was lost and its commands are
	// yet to be taken to another one. Other commands may have to wait for those.
	Recovering() bool

	// Logout ends the session in order; then Err is scsi.ErrLoggedOut.
	Logout(now time.Duration)

	// Kill ends it at once.
	Kill(now time.Duration, cause error)

	// Tick lets due timers act; Deadline is when the next one is.
	Tick(now time.Duration)
	Deadline() time.Duration
}

// A Connector opens sessions.
type Connector interface {
	// Open starts a session with the identity (ISID) of slot, through the portals
	// of slot via, which is slot itself but for a session that only fences. It
	// returns at once; the path becomes up or dead later.
	Open(now time.Duration, slot, via int) Path
}

// A PathError names the path that met an error.
type PathError struct {
	Path string // as in SlotConfig.Name
	Err  error
}

func (e *PathError) Error() string { return e.Path + ": " + e.Err.Error() }

func (e *PathError) Unwrap() error { return e.Err }

// permanent reports whether err says that trying again cannot help.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// orderly reports whether err says that the target asked for the end of the session, and
// every command was answered before it.
func orderly(err error) bool {
	var p interface{ Orderly() bool }
	return errors.As(err, &p) && p.Orderly()
}
