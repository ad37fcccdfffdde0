package nbd

// An Op is what a Request asks for.
type Op uint8

// The operations that reach a Device.
const (
	Read        Op = iota
	Write          // FUA may be set
	Flush          // Offset and Length are zero
	Trim           // FUA may be set
	WriteZeroes    // FUA, NoHole and FastZero may be set
	Cache          // advice that the range will be read soon

	opCount = iota
)

func (o Op) String() string {
	switch o {
	case Read:
		return "READ"
	case Write:
		return "WRITE"
	case Flush:
		return "FLUSH"
	case Trim:
		return "TRIM"
	case WriteZeroes:
		return "WRITE_ZEROES"
	case Cache:
		return "CACHE"
	}
	return "?"
}

// A Request is one request of one client. The exported fields are for the
// Device: it reads those of the first block, and sets those of the second
// before it completes the request.
type Request struct {
	Op       Op
	FUA      bool // answer only when the data is on stable storage
	NoHole   bool // WriteZeroes must not deallocate
	FastZero bool // WriteZeroes must fail with ENOTSUP where it is not fast
	Offset   uint64
	Length   uint64
	// Data is what is to be written, or where a read belongs: Length bytes in
	// chunks of Chunk, of which the last may be shorter. Chunk i is for the
	// bytes from Offset + i*Chunk.
	Data [][]byte

	Err      Errno
	Message  string // why, shown to a client that knows structured replies
	Retained bool   // of a write: the Device keeps Data's buffers and Puts them

	// Backend is the Device's own. It is nil in a new request.
	Backend any

	conn   *Conn
	next   *Request // in the conn's queue of replies, or in the freelist
	state  requestState
	handle uint64 // the client's, opaque
	cost   int64  // what it is charged in the budget
	left   uint64 // bytes of payload still to be received
	size   uint64 // bytes of the whole reply
	head   [sizeStructuredHeader + sizeErrorHeader + maxMessage]byte
	headed uint64 // bytes of head that are used
}

// requestState says who has the request; it catches a request that is
// completed twice.
type requestState uint8

const (
	requestFree      requestState = iota
	requestReceiving              // its payload is being received, or drained
	requestSubmitted              // the Device has it
	requestReplying               // in the queue of replies
)

// Conn is the connection that the request came on, to which it is completed.
func (r *Request) Conn() *Conn { return r.conn }

// newRequest takes a request from the freelist.
func (s *Server) newRequest(c *Conn, handle uint64) *Request {
	r := s.free
	if r == nil {
		r = new(Request)
	} else {
		s.free = r.next
		r.next = nil
	}
	r.conn, r.handle, r.state = c, handle, requestReceiving
	return r
}

// freeRequest puts a request that nobody refers to on the freelist.
func (s *Server) freeRequest(r *Request) {
	*r = Request{Data: r.Data[:0], next: s.free}
	s.free = r
}

// takeBuffers gives r buffers for its Length bytes, all or none: a request that
// held a part of them while it waited for the rest could starve another one
// that does the same.
func (s *Server) takeBuffers(r *Request) bool {
	r.Data = r.Data[:0]
	for left := r.Length; left > 0; {
		n := min(left, Chunk)
		b := s.pool.Get(int(n))
		if b == nil {
			s.putBuffers(r)
			return false
		}
		r.Data = append(r.Data, b)
		left -= n
	}
	return true
}

// putBuffers gives r's buffers back.
func (s *Server) putBuffers(r *Request) {
	for i, b := range r.Data {
		s.pool.Put(b)
		r.Data[i] = nil
	}
	r.Data = r.Data[:0]
}

// forgetBuffers drops r's buffers, which are the Device's now.
func (r *Request) forgetBuffers() {
	clear(r.Data)
	r.Data = r.Data[:0]
}

// data returns the part of the data that starts off bytes into it, up to the
// end of its chunk.
func (r *Request) data(off uint64) []byte {
	return r.Data[off/Chunk][off%Chunk:]
}
