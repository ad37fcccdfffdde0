//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// A rawClient is an NBD client of the plainest kind, for answers that qemu-io does
// not show: one request at a time, simple replies.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	size uint64
}

const (
	nbdRead  = 0
	nbdWrite = 1
	nbdFlush = 3
	nbdTrim  = 4

	nbdFUA = 1 << 0 // command flag
)

// dialRaw opens the default export of a unix socket with NBD_OPT_EXPORT_NAME.
func dialRaw(t *testing.T, socket string) *rawClient {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawClient{t: t, conn: conn}
	greeting := c.take(18)
	if string(greeting[:16]) != "NBDMAGICIHAVEOPT" {
		t.Fatalf("greeting %q", greeting)
	}
	c.send([]byte{0, 0, 0, 3}) // fixed newstyle, no zeroes
	c.send([]byte("IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"))
	c.size = binary.BigEndian.Uint64(c.take(10))
	return c
}

func (c *rawClient) take(n int) []byte {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	data := make([]byte, n)
	if _, err := io.ReadFull(c.conn, data); err != nil {
		c.t.Fatalf("NBD: %v", err)
	}
	return data
}

func (c *rawClient) send(data []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(data); err != nil {
		c.t.Fatalf("NBD: %v", err)
	}
}

// do sends a request and gives the error of the reply, and the data of a read.
func (c *rawClient) do(command, flags int, offset uint64, length int, data []byte) ([]byte,
	syscall.Errno) {
	c.t.Helper()
	request := binary.BigEndian.AppendUint32(nil, 0x25609513)
	request = binary.BigEndian.AppendUint16(request, uint16(flags))
	request = binary.BigEndian.AppendUint16(request, uint16(command))
	request = append(request, "request1"...)
	request = binary.BigEndian.AppendUint64(request, offset)
	request = binary.BigEndian.AppendUint32(request, uint32(length))
	c.send(append(request, data...))
	reply := c.take(16)
	if binary.BigEndian.Uint32(reply) != 0x67446698 || string(reply[8:]) != "request1" {
		c.t.Fatalf("reply %x", reply)
	}
	errno := syscall.Errno(binary.BigEndian.Uint32(reply[4:]))
	if command == nbdRead && errno == 0 {
		return c.take(length), 0
	}
	return nil, errno
}

func (c *rawClient) flush() syscall.Errno {
	c.t.Helper()
	_, errno := c.do(nbdFlush, 0, 0, 0, nil)
	return errno
}

// write fills a range with a byte, which must succeed.
func (c *rawClient) write(offset uint64, n int, pattern byte) {
	c.t.Helper()
	if _, errno := c.do(nbdWrite, 0, offset, n, bytes.Repeat([]byte{pattern}, n)); errno != 0 {
		c.t.Errorf("write at %d: %v", offset, errno)
	}
}

// holds checks that a range has that byte everywhere.
func (c *rawClient) holds(offset uint64, n int, pattern byte) {
	c.t.Helper()
	data, errno := c.do(nbdRead, 0, offset, n, nil)
	if errno != 0 || !bytes.Equal(data, bytes.Repeat([]byte{pattern}, n)) {
		c.t.Errorf("read at %d: %v, and not %#x everywhere", offset, errno, pattern)
	}
}
