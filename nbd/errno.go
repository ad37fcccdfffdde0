package nbd

import "strconv"

// An Errno is an error value of the wire (proto.md, "Error values"); 0 is
// success.
type Errno uint32

// The error values that the protocol allows.
const (
	EPERM     Errno = 1   // write to a read-only export, write protect
	EIO       Errno = 5   // whatever has no better name
	ENOMEM    Errno = 12  // the protocol advises against it
	EINVAL    Errno = 22  // out of range, unaligned, unknown
	ENOSPC    Errno = 28  // write beyond the end, thin exhaustion
	EOVERFLOW Errno = 75  // too large to be answered unfragmented
	ENOTSUP   Errno = 95  // zeroing would not be fast
	ESHUTDOWN Errno = 108 // the server is stopping
)

func (e Errno) String() string {
	switch e {
	case 0:
		return "OK"
	case EPERM:
		return "EPERM"
	case EIO:
		return "EIO"
	case ENOMEM:
		return "ENOMEM"
	case EINVAL:
		return "EINVAL"
	case ENOSPC:
		return "ENOSPC"
	case EOVERFLOW:
		return "EOVERFLOW"
	case ENOTSUP:
		return "ENOTSUP"
	case ESHUTDOWN:
		return "ESHUTDOWN"
	}
	return "errno " + strconv.FormatUint(uint64(e), 10)
}

// Error lets an Errno be an error. A zero Errno is not to be used as one.
func (e Errno) Error() string { return e.String() }

// wire is the value to send: e itself where the protocol knows it, else EIO.
func (e Errno) wire() Errno {
	switch e {
	case 0, EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN:
		return e
	}
	return EIO
}
