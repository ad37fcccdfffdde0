package stack

import (
	"time"

	"braid/internal/loop"
	"braid/mpath"
	"braid/nbd"
)

// client is an NBD client with its socket.
type client struct {
	*nbd.Conn
	stack *Stack
	sock  loop.Socket
	gone  func() // called when it is served no more; nil for most
}

// Closed implements loop.Stream.
func (c *client) Closed(now time.Duration, err error) {
	c.Conn.Closed(now, err)
	if c.gone != nil {
		c.gone()
	}
}

// Sent implements loop.Stream. A reply that left makes room for requests that are not read
// yet: the kick brings the Step that lets their clients go on.
func (c *client) Sent(now time.Duration, n int) {
	c.Conn.Sent(now, n)
	for _, o := range c.stack.clients {
		if !o.WantsRead() {
			c.sock.Kick()
			return
		}
	}
}

// Accept takes a new NBD client; nil turns it away. It is a loop.Acceptor.
func (k *Stack) Accept(now time.Duration, sock loop.Socket) loop.Stream {
	if k.server == nil {
		return nil
	}
	conn := k.server.Accept(now)
	if conn == nil {
		return nil
	}
	k.dev.Arrived(conn.ID())
	c := &client{Conn: conn, stack: k, sock: sock}
	k.clients = append(k.clients, c)
	return c
}

// tickClients sends what clients are owed and lets those go that are done.
func (k *Stack) tickClients(now time.Duration) {
	if k.server == nil {
		return
	}
	if k.server.Deadline() <= now {
		k.server.Tick(now)
	}
	kept := k.clients[:0]
	for _, c := range k.clients {
		switch {
		case c.State() == "closed":
			continue
		case c.Finished():
			c.sock.Close(c.Err() != nil)
			c.Closed(now, nil)
			continue
		case c.HasOutput() || c.Resumed():
			c.sock.Kick()
		}
		kept = append(kept, c)
	}
	clear(k.clients[len(kept):])
	k.clients = kept
}

// device is what the NBD server sees of the stack.
type device Stack

// Info implements nbd.Device.
func (d *device) Info() nbd.Info {
	lun := d.dev.LUN()
	preferred := max(lun.PhysicalBlock, 4096)
	return nbd.Info{
		Size: lun.Bytes(), MinBlock: lun.BlockSize, PreferredBlock: preferred,
		ReadOnly: d.dev.ReadOnly(), Rotational: lun.Rotational,
		Trim: lun.CanTrim(), ZeroFast: d.dev.CanZeroFast(),
	}
}

// ops are nbd's operations in the device's words.
var ops = [...]mpath.Op{
	nbd.Read: mpath.Read, nbd.Write: mpath.Write, nbd.Flush: mpath.Flush,
	nbd.Trim: mpath.Trim, nbd.WriteZeroes: mpath.WriteZeroes, nbd.Cache: mpath.Cache,
}

// Submit implements nbd.Device.
func (d *device) Submit(now time.Duration, q *nbd.Request) {
	k := (*Stack)(d)
	r := k.request()
	*r = mpath.Request{
		Op: ops[q.Op], FUA: q.FUA, NoHole: q.NoHole, Offset: q.Offset, Length: q.Length,
		Data: q.Data, Client: q.Conn().ID(), User: q,
	}
	k.dev.Submit(now, r)
}

// request takes a request from those that are over.
func (k *Stack) request() *mpath.Request {
	if n := len(k.freeRequests); n > 0 {
		r := k.freeRequests[n-1]
		k.freeRequests = k.freeRequests[:n-1]
		return r
	}
	return new(mpath.Request)
}

func (k *Stack) free(r *mpath.Request) {
	*r = mpath.Request{}
	k.freeRequests = append(k.freeRequests, r)
}
