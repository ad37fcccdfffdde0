package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"braid/nbd"
)

// An nbdClient is a plain client of an NBD export, one request at a time: enough
// to put a load on a device and to check what comes back (proto.md of the NBD
// reference implementation).
type nbdClient struct {
	conn   net.Conn
	in     *bufio.Reader
	size   uint64
	cookie uint64
	head   [28]byte
}

const (
	nbdOptGo       = 7
	nbdRepAck      = 1
	nbdRepInfo     = 3
	nbdInfoExport  = 0
	nbdRequest     = 0x25609513
	nbdSimpleReply = 0x67446698
	nbdOptReply    = 0x0003e889045565a9
	maxOptReply    = 64 << 10
)

// dialNBD opens the default export of a unix socket.
func dialNBD(path string) (*nbdClient, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	c := &nbdClient{conn: conn, in: bufio.NewReaderSize(conn, 128<<10)}
	if err := c.handshake(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("NBD handshake: %w", err)
	}
	return c, nil
}

func (c *nbdClient) handshake() error {
	var hello [18]byte
	if _, err := io.ReadFull(c.in, hello[:]); err != nil {
		return err
	}
	if string(hello[:16]) != "NBDMAGICIHAVEOPT" {
		return errors.New("that is no NBD server")
	}
	out := binary.BigEndian.AppendUint32(nil, 3) // fixed newstyle, no zeroes
	out = append(out, "IHAVEOPT"...)
	out = binary.BigEndian.AppendUint32(out, nbdOptGo)
	out = binary.BigEndian.AppendUint32(out, 4+2) // empty name, no wishes
	out = append(out, 0, 0, 0, 0, 0, 0)
	if _, err := c.conn.Write(out); err != nil {
		return err
	}
	for {
		done, err := c.optionReply()
		if done || err != nil {
			return err
		}
	}
}

func (c *nbdClient) optionReply() (done bool, err error) {
	var head [20]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return false, err
	}
	kind, n := binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint32(head[16:])
	if binary.BigEndian.Uint64(head[:]) != nbdOptReply || n > maxOptReply {
		return false, errors.New("malformed option reply")
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return false, err
	}
	switch {
	case kind == nbdRepAck:
		return true, nil
	case kind == nbdRepInfo && n >= 12 && binary.BigEndian.Uint16(data) == nbdInfoExport:
		c.size = binary.BigEndian.Uint64(data[2:])
	case kind>>31 != 0:
		return false, fmt.Errorf("refused with %#x: %s", kind, data)
	}
	return false, nil
}

// do sends one request and waits for its answer. data is what is written, or
// where what is read goes.
func (c *nbdClient) do(op nbd.Op, offset uint64, data []byte) error {
	kinds := [...]uint16{nbd.Read: 0, nbd.Write: 1, nbd.Flush: 3}
	c.cookie++
	h := binary.BigEndian.AppendUint32(c.head[:0], nbdRequest)
	h = binary.BigEndian.AppendUint16(h, 0)
	h = binary.BigEndian.AppendUint16(h, kinds[op])
	h = binary.BigEndian.AppendUint64(h, c.cookie)
	h = binary.BigEndian.AppendUint64(h, offset)
	h = binary.BigEndian.AppendUint32(h, uint32(len(data)))
	buffers := net.Buffers{h}
	if op == nbd.Write {
		buffers = append(buffers, data)
	}
	if _, err := buffers.WriteTo(c.conn); err != nil {
		return err
	}
	var reply [16]byte
	if _, err := io.ReadFull(c.in, reply[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(reply[:]) != nbdSimpleReply ||
		binary.BigEndian.Uint64(reply[8:]) != c.cookie {
		return errors.New("malformed reply")
	}
	if code := nbd.Errno(binary.BigEndian.Uint32(reply[4:])); code != 0 {
		return fmt.Errorf("%v of %d bytes at %d: %w", op, len(data), offset, code)
	}
	if op != nbd.Read {
		return nil
	}
	_, err := io.ReadFull(c.in, data)
	return err
}

func (c *nbdClient) close() { c.conn.Close() }
