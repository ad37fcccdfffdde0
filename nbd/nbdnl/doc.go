// Package nbdnl attaches /dev/nbdN: it tells the Linux kernel's NBD driver, by
// generic netlink (include/uapi/linux/nbd-netlink.h), which sockets to send the
// requests of a block device to, and keeps it supplied with one.
//
//   - message.go and parse.go are the messages, as bytes. Client exchanges them
//     with the kernel.
//   - Attach makes a device or takes over one that an earlier process left
//     behind, and from then on replaces its socket whenever that is lost. A
//     device outlives the process that serves it: meanwhile its I/O waits.
//   - Users tells who uses a device, so that it is detached only if nobody does.
//
// One socket with a timeout of zero is the default, because nothing else lets a
// request wait for hours and still be asked again soon after a restart. With
// several sockets the driver takes a timeout of zero for 30 s: a request that is
// older has its socket cut off. With a timeout above zero, requests that a dead
// process had are asked again only when it is over.
//
// What the driver does at a lost socket (checked on Linux 6.1):
//
//   - New requests wait up to DeadTimeout for a new socket.
//   - Requests that the lost socket had are not sent again at once, but when
//     their timer ticks next (queue/io_timeout in sysfs, which Attach sets) and
//     a new socket is there by then.
//   - A new socket is taken only if there is a dead one to replace. Else it is
//     closed and the call still succeeds: it shows only by the end of the
//     stream.
//
// Nothing here is on the data path: every call may block, some as long as the
// device has requests in flight.
package nbdnl
