package stack

import (
	"time"

	"braid/internal/loop"
	"braid/nbd"
)

// Info describes the device as NBD clients see it, once it is ready.
func (k *Stack) Info() nbd.Info { return (*device)(k).Info() }

// AcceptKernel serves a socket whose other end the Linux kernel has. adopt is
// called for its Stream; gone when it is not served any more. False says that
// there is no room or that the stack is stopping; adopt was not called then.
func (k *Stack) AcceptKernel(now time.Duration, adopt func(loop.Stream) loop.Socket,
	gone func()) bool {
	if k.server == nil {
		return false
	}
	conn := k.server.AcceptKernel(now)
	if conn == nil {
		return false
	}
	k.dev.Resumed(conn.ID())
	c := &client{Conn: conn, stack: k, gone: gone}
	c.sock = adopt(c)
	k.clients = append(k.clients, c)
	return true
}
