package nbd

import "time"

// Chunk is the size of a request's buffers: its data is a list of chunks of
// this size, of which the last may be shorter.
const Chunk = 256 << 10

// Limits that are ours. Those of the protocol are in proto.go.
const (
	// stagingSize is how much of a client's stream is read ahead of the parser:
	// fifteen writes of 4 KiB, or two thousand reads.
	stagingSize = 64 << 10

	// longPayload is the length of payloads that come in rows, most often. What of the
	// next one is read ahead has to be copied to its place, so behind and after a long
	// one no more is read ahead than aheadOfLong: headers.
	longPayload = 16 << 10
	aheadOfLong = 512

	// recvBatch bounds what one RecvBuffers asks for, so that a client which
	// sends large writes does not keep the others waiting.
	recvBatch = 1 << 20

	// sendBatch and sendVectors bound what one SendBuffers lends.
	sendBatch   = 1 << 20
	sendVectors = 256

	// defaultMaxBlock is the largest READ or WRITE where Info names none. The
	// Linux kernel never sends more.
	defaultMaxBlock = 32 << 20

	// ceilingMaxBlock bounds what Info may name.
	ceilingMaxBlock = 64 << 20

	// maxDrain is the largest payload of a refused write that is read and
	// thrown away. A client that announces more has lost its mind or means
	// harm, and its connection ends.
	maxDrain = 2 * ceilingMaxBlock

	// maxOption is the longest option data that is looked at: a name of the
	// greatest length and six thousand information requests.
	maxOption = 16 << 10

	// maxOptionDrain is the longest option data that is skipped.
	maxOptionDrain = 1 << 20

	// maxOptions is how many options one handshake may have. libnbd sends
	// about ten.
	maxOptions = 256

	// maxHandshakeOutput is how many bytes of unread option replies stop the
	// parser.
	maxHandshakeOutput = 16 << 10

	// requestCost is charged for each request beside its payload, for what it
	// and the Device's view of it take, so that requests without payload are
	// bounded too, those of clients that went away included.
	requestCost = 4 << 10

	// maxMessage is the longest text of an error chunk.
	maxMessage = 96

	// minBuffer is the least that a buffer of a Pool is taken to occupy.
	minBuffer = 4 << 10

	defaultMaxRequests = 256
	defaultMaxClients  = 16

	// handshakeTimeout is how long a client may take to reach transmission.
	handshakeTimeout = 10 * time.Second

	// replyTimeout is how long replies may wait for a client to read anything.
	replyTimeout = 60 * time.Second
)
