package nbdnl

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Watcher tells which devices lose a socket.
type Watcher struct {
	sock *nl.NetlinkSocket
	dead chan int
}

// Watch begins to listen to the driver.
func (c *Client) Watch() (*Watcher, error) {
	if c.group == 0 {
		return nil, fmt.Errorf("nbd driver: it has no multicast group %s", groupName)
	}
	sock, err := nl.Subscribe(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("nbd driver: %w", err)
	}
	// Subscribe takes groups as a bit mask, in which this one may have no place.
	err = unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP,
		int(c.group))
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("nbd driver: %w", err)
	}
	w := &Watcher{sock: sock, dead: make(chan int, 16)}
	go w.run()
	return w, nil
}

// Dead receives the index of each device that lost a socket. It is closed with
// the Watcher. What nobody takes is dropped.
func (w *Watcher) Dead() <-chan int { return w.dead }

// Close ends the Watcher.
func (w *Watcher) Close() { w.sock.Close() }

func (w *Watcher) run() {
	defer close(w.dead)
	for {
		messages, from, err := w.sock.Receive()
		switch {
		case err == unix.ENOBUFS: // some were lost
			continue
		case err != nil:
			return
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range messages {
			index, err := parseIndex(m.Data, cmdLinkDead)
			if err != nil {
				continue
			}
			select {
			case w.dead <- index:
			default:
			}
		}
	}
}
