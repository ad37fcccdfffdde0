package mpath

// Chunk is the size of the pieces in which a request's data lies in memory.
const Chunk = 256 << 10

// Op is what a request asks for.
type Op uint8

// The operations of a device.
const (
	Read Op = iota
	Write
	Flush
	Trim
	WriteZeroes
	Cache // nothing to be done
)

// Errno is how a request ended, with Linux's and NBD's numbers.
type Errno uint32

// Errors of requests.
const (
	OK        Errno = 0
	EPERM     Errno = 1
	EIO       Errno = 5
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	ESHUTDOWN Errno = 108
)

// A Request is one request of a client. It is lent to the device from Submit until
// Completed returns it.
type Request struct {
	Op     Op
	FUA    bool   // answer only when it is on stable storage
	NoHole bool   // WriteZeroes: the blocks must stay allocated
	Offset uint64 // bytes
	Length uint64 // bytes
	// Data is Length bytes in pieces of Chunk, the last may be shorter.
	Data [][]byte
	// Client tells connections apart. Later connections have larger numbers.
	Client uint64
	// User is the submitter's own.
	User any

	Err Errno
	// Reason says why, where the device refused.
	Reason error
	// Retained says that the device keeps the buffers of Data, and gives them to
	// its Pool.
	Retained bool

	parts  int    // commands that have not ended yet
	tag    uint64 // of the flush round during which it was admitted
	scope  uint64 // slots that took a part, as bits
	moves  uint64 // of the ledger, before the first part was sent
	losses uint64 // likewise
	bare   bool   // no copies are kept of it
	stable bool   // every part goes with FUA
	next   *Request
}

// changes reports whether the request changes blocks.
func (r *Request) changes() bool { return r.Op == Write || r.Op == Trim || r.Op == WriteZeroes }

// fail keeps the first error.
func (r *Request) fail(e Errno, reason error) {
	if r.Err == OK {
		r.Err, r.Reason = e, reason
	}
}

// requests is a queue.
type requests struct {
	head, tail *Request
	n          int
}

func (q *requests) push(r *Request) {
	r.next = nil
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.next = r
	}
	q.tail = r
	q.n++
}

func (q *requests) pop() *Request {
	r := q.head
	if r == nil {
		return nil
	}
	if q.head = r.next; q.head == nil {
		q.tail = nil
	}
	r.next = nil
	q.n--
	return r
}
