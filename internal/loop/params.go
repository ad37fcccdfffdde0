package loop

import (
	"math"
	"time"
)

// maxTime is the deadline that never comes.
const maxTime = time.Duration(math.MaxInt64)

const (
	// readShare and writeShare bound what one socket moves in one round, so that
	// a flooding peer delays the others by no more than this each.
	readShare  = 1 << 20
	writeShare = 1 << 20

	// readCalls bounds the reads of one socket in one round, for engines that
	// offer little space at a time.
	readCalls = 16

	// writeCalls does the same for writes.
	writeCalls = 16

	// acceptShare bounds the new clients of one listener in one round.
	acceptShare = 16

	// acceptPause is how long a listener rests when the process or the machine
	// is out of descriptors or memory; its backlog would wake the loop for ever.
	acceptPause = 100 * time.Millisecond

	// maxIovecs is the most buffers in one call; the kernel's limit is 1024.
	maxIovecs = 256

	// maxEvents is the most sockets told by one wait.
	maxEvents = 128

	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 16

	// listenBacklog is the queue of clients not accepted yet.
	listenBacklog = 128

	// discardSize is the scratch space for bytes nobody wants any more, from a
	// peer of a socket that is being closed.
	discardSize = 64 << 10

	defaultInbox   = 4096
	defaultDial    = 5 * time.Second
	defaultLookup  = 10 * time.Second
	defaultClose   = 2 * time.Second
	keepIdle       = 60 // seconds without a byte before an accepted client is probed
	keepInterval   = 15 // seconds between probes
	keepProbeCount = 4  // unanswered probes that end the connection
)
