package loop

import "time"

// A Stream is an engine's end of one byte stream: it says where received bytes
// go and which bytes are to be sent, and never touches a socket. All methods
// are called by one goroutine. Bytes are lent: what RecvBuffers returned belongs
// to the engine and is written only until the next Received; what SendBuffers
// returned stays unchanged until the next Sent or Closed.
type Stream interface {
	// Connected says that the outgoing connection asked for is established.
	// It is not called for accepted ones.
	Connected(now time.Duration)

	// RecvBuffers appends to dst where the next bytes of the peer belong, in
	// order. Nothing appended means: do not read now.
	RecvBuffers(dst [][]byte) [][]byte

	// Received says that n bytes were put into what RecvBuffers returned.
	Received(now time.Duration, n int)

	// SendBuffers appends to dst the next bytes for the peer, in order.
	SendBuffers(dst [][]byte) [][]byte

	// Sent says that the first n bytes of what SendBuffers returned were
	// taken by the transport.
	Sent(now time.Duration, n int)

	// Closed says, once, that the connection is gone: refused, reset, ended
	// by the peer (io.EOF). It is not called after Socket.Close.
	Closed(now time.Duration, err error)
}

// A Socket is the transport's end of a Stream.
type Socket interface {
	// Kick says that the stream has something to send, or wants to read
	// again. It never calls back; the work is done before the loop sleeps.
	Kick()

	// Close ends the connection. With reset it is torn down so that nothing
	// still queued is sent (SO_LINGER 0); else what the stream has to send
	// is sent first, bounded in time. The stream is not called any more,
	// except, without reset, for SendBuffers and Sent.
	Close(reset bool)

	// Unacked is how many bytes the transport took that the peer's transport
	// has not acknowledged yet, and 0 where that is not known.
	Unacked() int
}

// A Network opens connections. The loop is one, the simulator is another.
type Network interface {
	// Dial starts to connect to HOST:PORT and returns at once; the outcome is
	// told by Connected or Closed, never before Dial returned.
	Dial(address string, s Stream) Socket
}
