// Package stack puts the engines of one device together: NBD clients above, the multipath
// device in the middle, iSCSI sessions below. It does no I/O of its own: it works on any
// loop.Network, which is the epoll loop in the daemon and a simulated network in the
// simulator, so that both run the same product.
//
// Between two Steps the network feeds bytes to the connections it was given; Step then lets
// the device act on what they brought, answers clients, and tells the network what to dial,
// send and close.
package stack
