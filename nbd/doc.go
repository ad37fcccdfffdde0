// Package nbd is the server side of the NBD protocol (doc/proto.md of the
// reference implementation) as an engine: bytes and the time go in, bytes and
// requests come out. It starts no goroutine, takes no lock, reads no clock and
// does no I/O.
//
// A Server serves one export to several clients, each of them a Conn. What is
// served lies behind Device, which the user of the package supplies.
//
// The way of a request:
//
//  1. The transport puts bytes where Conn.RecvBuffers says: into the rest of a
//     write's payload first, then into the connection's staging buffer.
//  2. Conn.Received parses all that is staged. A request is admitted only when
//     its client, and all clients together, have room for it and the Pool has
//     its buffers; else the connection is paused and reads no more.
//  3. A request goes to Device.Submit when it is whole: a write when its last
//     byte is there. From here to Conn.Complete it belongs to the Device.
//  4. Conn.Complete queues the reply. A read's reply leaves straight from the
//     request's buffers; a write's buffers go back to the Pool here, unless the
//     device has retained them.
//  5. Conn.Sent takes a reply that has left off the queue, gives its buffers
//     back and makes room. Server.Resume lets paused connections go on.
//
// A request of a client that has gone away stays with the Device until it is
// completed; then its buffers go back, and nobody is answered.
package nbd
