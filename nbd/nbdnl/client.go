package nbdnl

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNoDriver says that the kernel has no NBD driver, or has not loaded it.
var ErrNoDriver = errors.New("the kernel's nbd driver is not loaded")

// An OpError is what the kernel answered to a request about a device.
type OpError struct {
	Op    string // connect, reconfigure, disconnect, status
	Index int    // of the device; negative: any
	Err   error  // a unix.Errno
}

// Error implements error.
func (e *OpError) Error() string {
	device := "a free device"
	if e.Index >= 0 {
		device = fmt.Sprintf("nbd%d", e.Index)
	}
	text := fmt.Sprintf("nbd driver: %s %s: %v", e.Op, device, e.Err)
	switch {
	case errors.Is(e.Err, unix.EPERM):
		return text + ": this needs root (CAP_SYS_ADMIN)"
	case errors.Is(e.Err, unix.EINVAL):
		return text + ": the kernel's log may say why"
	}
	return text
}

// Unwrap returns the kernel's error.
func (e *OpError) Unwrap() error { return e.Err }

// A Client talks to the kernel's NBD driver. It is safe for concurrent use;
// calls wait for each other.
type Client struct {
	mu      sync.Mutex
	sock    *nl.NetlinkSocket
	handles map[int]*nl.SocketHandle
	family  uint16
	group   uint32 // multicast group of LINK_DEAD
}

// Open finds the driver; the error is ErrNoDriver if it is not there.
func Open() (*Client, error) {
	family, err := netlink.GenlFamilyGet(familyName)
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoDriver
	}
	if err != nil {
		return nil, fmt.Errorf("nbd driver: %w", err)
	}
	c := &Client{family: family.ID}
	for _, g := range family.Groups {
		if g.Name == groupName {
			c.group = g.ID
		}
	}
	if c.sock, err = nl.Subscribe(unix.NETLINK_GENERIC); err != nil {
		return nil, fmt.Errorf("nbd driver: %w", err)
	}
	c.handles = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: {Socket: c.sock}}
	c.sock.SetExtAck(true) // an explanation that older kernels do not give
	return c, nil
}

// Close gives the connection to the kernel back. Devices stay.
func (c *Client) Close() { c.sock.Close() }

func (c *Client) do(op string, index int, message []byte) ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := nl.NewNetlinkRequest(int(c.family), unix.NLM_F_ACK)
	r.Sockets = c.handles
	r.AddRawData(message)
	answers, err := r.Execute(unix.NETLINK_GENERIC, c.family)
	if err != nil {
		return nil, &OpError{op, index, err}
	}
	return answers, nil
}

func (c *Client) doOne(op string, index int, message []byte) ([]byte, error) {
	answers, err := c.do(op, index, message)
	if err == nil && len(answers) != 1 {
		err = &OpError{op, index, fmt.Errorf("%d answers, not one", len(answers))}
	}
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// Connect makes a device that sends its requests to sockets, which are the
// kernel's from then on beside the caller's, and returns its index. A negative
// index is the first free one; unix.EBUSY says that the one named is in use.
func (c *Client) Connect(index int, s Settings, sockets ...int) (int, error) {
	if err := s.Validate(); err != nil {
		return 0, err
	}
	m, err := c.doOne("connect", index, connectMessage(index, s, sockets))
	if err != nil {
		return 0, err
	}
	return parseIndex(m, cmdConnect)
}

// Reconfigure changes a device that is connected; unix.EINVAL says that it is
// not, or that it stands for another backend.
func (c *Client) Reconfigure(index int, change Change) error {
	_, err := c.do("reconfigure", index, reconfigureMessage(index, change))
	return err
}

// Disconnect takes the sockets of a device away. All that it has in flight, and
// all that is still asked of it, fails.
func (c *Client) Disconnect(index int) error {
	_, err := c.do("disconnect", index, disconnectMessage(index))
	return err
}

// Status lists the devices that the driver has.
func (c *Client) Status() ([]State, error) {
	m, err := c.doOne("status", -1, statusMessage(-1))
	if err != nil {
		return nil, err
	}
	return parseStatus(m)
}
