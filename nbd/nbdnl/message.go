package nbdnl

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"
)

// The generic netlink family "nbd", version 1, of linux/nbd-netlink.h.
const (
	familyName    = "nbd"
	familyVersion = 1
	groupName     = "nbd_mc_group"
)

// Commands.
const (
	cmdConnect     = 1
	cmdDisconnect  = 2
	cmdReconfigure = 3
	cmdLinkDead    = 4
	cmdStatus      = 5
)

// Attributes.
const (
	attrIndex       = 1 // u32
	attrSize        = 2 // u64, bytes
	attrBlockSize   = 3 // u64, bytes
	attrTimeout     = 4 // u64, seconds
	attrServerFlags = 5 // u64
	attrClientFlags = 6 // u64
	attrSockets     = 7 // nested
	attrDeadTimeout = 8 // u64, seconds
	attrDeviceList  = 9 // nested
	attrBackend     = 10

	sockItem = 1 // nested
	sockFD   = 1 // u32

	deviceItem      = 1 // nested
	deviceIndex     = 1 // u32
	deviceConnected = 2 // u8

	nested   = 1 << 15
	typeMask = 1<<14 - 1
)

// Client flags.
const (
	// DestroyOnDisconnect makes the kernel remove the device when it is
	// disconnected and nobody has it open.
	DestroyOnDisconnect = 1 << 0
	// DisconnectOnClose makes the kernel disconnect it at the last close.
	DisconnectOnClose = 1 << 1
)

const (
	minBlockSize = 512
	maxBlockSize = 4096
	maxBackend   = 256

	// maxTimeout keeps seconds far from where the kernel's jiffies overflow.
	maxTimeout = 365 * 24 * time.Hour
)

// Settings describe a device to the kernel.
type Settings struct {
	Size      uint64 // bytes, a multiple of BlockSize
	BlockSize uint64 // bytes: a power of two, 512 to 4096

	// ServerFlags are the transmission flags of the NBD protocol. They cannot
	// be changed later.
	ServerFlags uint16
	ClientFlags uint64

	// Timeout is how old a request may be before its socket is given up, in
	// whole seconds; 0 is never, with one socket.
	Timeout time.Duration
	// DeadTimeout is how long requests wait for a new socket when there is
	// none, in whole seconds; 0 fails them at once.
	DeadTimeout time.Duration

	// Backend says what the device stands for: who serves it later has to name
	// the same. It is in the file backend of the device in sysfs. May be empty.
	Backend string
}

// Validate says what is wrong with the settings.
func (s Settings) Validate() error {
	switch {
	case s.BlockSize < minBlockSize, s.BlockSize > maxBlockSize,
		bits.OnesCount64(s.BlockSize) != 1:
		return fmt.Errorf("nbdnl: a block size of %d bytes: it must be a power of two from %d to %d",
			s.BlockSize, minBlockSize, maxBlockSize)
	case s.Size == 0, s.Size%s.BlockSize != 0, s.Size > math.MaxInt64:
		return fmt.Errorf("nbdnl: a size of %d bytes: it must be a multiple of %d", s.Size,
			s.BlockSize)
	case !goodTimeout(s.Timeout), !goodTimeout(s.DeadTimeout):
		return fmt.Errorf("nbdnl: timeouts of %v and %v: whole seconds, at most %v", s.Timeout,
			s.DeadTimeout, maxTimeout)
	case len(s.Backend) > maxBackend, strings.ContainsAny(s.Backend, "\x00\n"):
		return fmt.Errorf("nbdnl: the backend identifier %.40q cannot be used", s.Backend)
	}
	return nil
}

func goodTimeout(d time.Duration) bool {
	return d >= 0 && d <= maxTimeout && d%time.Second == 0
}

// Change is what Reconfigure does to a device. What is zero stays as it is.
type Change struct {
	// Backend must be what the device was made with.
	Backend string
	// Sockets replace dead ones; those for which there is none are closed, and
	// the call succeeds all the same.
	Sockets []int
	// Size, and BlockSize with it, change the device. The kernel waits for all
	// requests in flight before: no request may be waiting for a path.
	Size, BlockSize uint64
	DeadTimeout     time.Duration
}

// connectMessage asks for a device; a negative index is the first free one.
func connectMessage(index int, s Settings, sockets []int) []byte {
	m := header(cmdConnect)
	if index >= 0 {
		m = appendU32(m, attrIndex, uint32(index))
	}
	m = appendU64(m, attrSize, s.Size)
	m = appendU64(m, attrBlockSize, s.BlockSize)
	m = appendU64(m, attrTimeout, seconds(s.Timeout))
	m = appendU64(m, attrServerFlags, uint64(s.ServerFlags))
	m = appendU64(m, attrClientFlags, s.ClientFlags)
	m = appendU64(m, attrDeadTimeout, seconds(s.DeadTimeout))
	m = appendBackend(m, s.Backend)
	return appendSockets(m, sockets)
}

// reconfigureMessage leaves out the timeout of requests, because naming it sets
// queue/io_timeout back too.
func reconfigureMessage(index int, c Change) []byte {
	m := appendU32(header(cmdReconfigure), attrIndex, uint32(index))
	if c.Size > 0 {
		m = appendU64(m, attrSize, c.Size)
		m = appendU64(m, attrBlockSize, c.BlockSize)
	}
	if c.DeadTimeout > 0 {
		m = appendU64(m, attrDeadTimeout, seconds(c.DeadTimeout))
	}
	m = appendBackend(m, c.Backend)
	return appendSockets(m, c.Sockets)
}

func disconnectMessage(index int) []byte {
	return appendU32(header(cmdDisconnect), attrIndex, uint32(index))
}

// statusMessage asks for one device, or for all with a negative index.
func statusMessage(index int) []byte {
	m := header(cmdStatus)
	if index >= 0 {
		m = appendU32(m, attrIndex, uint32(index))
	}
	return m
}

// header is the generic netlink header: command, version, two reserved bytes.
func header(command uint8) []byte { return []byte{command, familyVersion, 0, 0} }

func seconds(d time.Duration) uint64 { return uint64(d / time.Second) }

// An attribute is its length with this header, its type, its value, and
// padding to a multiple of four that the length does not count.
func appendAttr(m []byte, typ uint16, value []byte) []byte {
	m = binary.NativeEndian.AppendUint16(m, uint16(4+len(value)))
	m = binary.NativeEndian.AppendUint16(m, typ)
	m = append(m, value...)
	for len(m)%4 != 0 {
		m = append(m, 0)
	}
	return m
}

func appendU32(m []byte, typ uint16, v uint32) []byte {
	return appendAttr(m, typ, binary.NativeEndian.AppendUint32(nil, v))
}

func appendU64(m []byte, typ uint16, v uint64) []byte {
	return appendAttr(m, typ, binary.NativeEndian.AppendUint64(nil, v))
}

func appendBackend(m []byte, backend string) []byte {
	if backend == "" {
		return m
	}
	return appendAttr(m, attrBackend, append([]byte(backend), 0))
}

func appendSockets(m []byte, sockets []int) []byte {
	if len(sockets) == 0 {
		return m
	}
	var list []byte
	for _, fd := range sockets {
		list = appendAttr(list, sockItem|nested, appendU32(nil, sockFD, uint32(fd)))
	}
	return appendAttr(m, attrSockets|nested, list)
}
