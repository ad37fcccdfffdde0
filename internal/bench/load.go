package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

const (
	requestLen    = 28
	replyLen      = 16
	receiveBuffer = 4 << 20
)

// batch is a client that keeps its window full, sends what it has in one call, and takes
// all answers that are there in another: the least that a client can cost.
func batch(r row, socket string, length time.Duration) (load, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := dialNBD(socket)
	if err != nil {
		return load{}, err
	}
	defer c.close()
	before := usage()
	begun := time.Now()
	w := window{row: r, fd: c.fd, read: make([]byte, receiveBuffer),
		payload: make([]byte, r.block), rng: rand.New(rand.NewPCG(1, uint64(begun.UnixNano())))}
	more := func() bool {
		return time.Since(begun) < length && (r.blocks == 0 || w.done < float64(r.blocks))
	}
	for w.free = r.depth; more(); {
		if err := w.submit(); err != nil {
			return load{}, err
		}
		if err := w.collect(); err != nil {
			return load{}, err
		}
	}
	for w.free < r.depth {
		if err := w.collect(); err != nil {
			return load{}, err
		}
	}
	took := time.Since(begun).Seconds()
	return load{ios: w.done, seconds: took, cpu: usage() - before,
		latency: took / w.done * 1e6 * float64(r.depth)}, nil
}

// usage is the processor time of this thread.
func usage() time.Duration {
	var u syscall.Rusage
	const thread = 1
	syscall.Getrusage(thread, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A window is the requests under way.
type window struct {
	row
	fd      int
	rng     *rand.Rand
	free    int
	done    float64
	next    int64 // of a sequential workload
	send    []byte
	read    []byte
	have    int // bytes in read
	skip    int // payload still to come
	payload []byte
}

// submit sends as many requests as the window has room for.
func (w *window) submit() error {
	w.send = w.send[:0]
	for ; w.free > 0; w.free-- {
		var h [requestLen]byte
		binary.BigEndian.PutUint32(h[0:], protocol.TRANSMISSION_MAGIC_REQUEST)
		if w.writes() {
			binary.BigEndian.PutUint16(h[6:], protocol.TRANSMISSION_TYPE_REQUEST_WRITE)
		}
		binary.BigEndian.PutUint64(h[16:], uint64(w.offset()))
		binary.BigEndian.PutUint32(h[24:], uint32(w.block))
		w.send = append(w.send, h[:]...)
		if w.writes() {
			w.send = append(w.send, w.payload...)
		}
	}
	for b := w.send; len(b) > 0; {
		n, err := syscall.Write(w.fd, b)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

func (w *window) writes() bool { return w.rw == "write" || w.rw == "randwrite" }

func (w *window) offset() int64 {
	blocks := int64(lunBytes / w.block)
	if w.rw == "randread" || w.rw == "randwrite" {
		return w.rng.Int64N(blocks) * int64(w.block)
	}
	w.next = (w.next + 1) % blocks
	return w.next * int64(w.block)
}

// collect takes the answers that are there, at least a part of one.
func (w *window) collect() error {
	n, err := syscall.Read(w.fd, w.read[w.have:])
	if err != nil || n == 0 {
		return fmt.Errorf("read: %d bytes, %v", n, err)
	}
	b := w.read[:w.have+n]
	for {
		k := min(w.skip, len(b))
		w.skip -= k
		b = b[k:]
		if w.skip > 0 || len(b) < replyLen {
			break
		}
		if binary.BigEndian.Uint32(b) != protocol.TRANSMISSION_MAGIC_REPLY {
			return errors.New("the stream of replies is broken")
		}
		if e := binary.BigEndian.Uint32(b[4:]); e != 0 {
			return fmt.Errorf("a request failed with %d", e)
		}
		b = b[replyLen:]
		if !w.writes() {
			w.skip = w.block
		}
		w.free++
		w.done++
	}
	w.have = copy(w.read, b)
	return nil
}

// A nbdClient is a connection in its transmission phase, with simple replies.
type nbdClient struct {
	file interface{ Close() error }
	fd   int
}

func (c *nbdClient) close() { c.file.Close() }

// dialNBD connects and asks for the default export.
func dialNBD(socket string) (*nbdClient, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var greeting [18]byte
	if _, err := io.ReadFull(conn, greeting[:]); err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, 3) // fixed newstyle, no zeroes
	b = binary.BigEndian.AppendUint64(b, protocol.NEGOTIATION_MAGIC_OPTION)
	b = binary.BigEndian.AppendUint32(b, protocol.NEGOTIATION_ID_OPTION_GO)
	b = binary.BigEndian.AppendUint32(b, 6)
	b = append(b, 0, 0, 0, 0, 0, 0) // the default export, no information wanted
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	for {
		var h [20]byte
		if _, err := io.ReadFull(conn, h[:]); err != nil {
			return nil, err
		}
		kind, n := binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:])
		if binary.BigEndian.Uint64(h[:]) != protocol.NEGOTIATION_MAGIC_REPLY || kind >= 1<<31 {
			return nil, fmt.Errorf("the export was refused: %x", h)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(n)); err != nil {
			return nil, err
		}
		if kind == protocol.NEGOTIATION_TYPE_REPLY_ACK {
			break
		}
	}
	f, err := conn.(*net.UnixConn).File() // a blocking descriptor of its own
	if err != nil {
		return nil, err
	}
	return &nbdClient{file: f, fd: int(f.Fd())}, nil
}
