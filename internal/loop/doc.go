// Package loop is the transport of the data path: one locked thread that waits
// in epoll, moves bytes between non-blocking sockets and the engines' own
// buffers, and calls one Driver. Engines see Stream, Socket and Network only.
//
// One round, the same order every time:
//
//  1. wait     epoll_wait, until the earliest deadline at most
//  2. clock    CLOCK_MONOTONIC is read once; the whole round has this now
//  3. dials    connections asked for since the last round are begun
//  4. events   connects that ended, new clients, which sockets are ready
//  5. timers   dials and orderly closes that took too long
//  6. read     every ready socket in turn, bounded bytes and calls each
//  7. inbox    functions posted by other goroutines
//  8. step     Driver.Step
//  9. flush    every kicked or newly writable socket is written, bounded
//
// In step 9 a stream is asked for SendBuffers and told Sent, nothing else. A
// Kick in step 9 makes another whole round, Step included, before the loop
// sleeps; so does a socket that had more to read or write than its share.
//
// Sockets are registered once, edge-triggered. A stream that pauses reading then
// costs no system call, and the hang-up of its peer is told once instead of
// waking the loop for ever, which level-triggered EPOLLHUP would do: it cannot
// be masked. The price is that the loop remembers which sockets are readable.
// EPOLLOUT is asked for only between a short write and the flush that ends the
// backlog: unix sockets would otherwise wake the loop for every reply read.
// Listening sockets are level-triggered, so a backlog left over is told again.
//
// A stream that wants no reading still learns of its peer's end: at once when
// both directions are down, and when the peer merely ended its sending, as soon
// as nothing unread is left.
//
// Everything except Post, Stop and Done belongs to the loop's thread, or to the
// one goroutine that sets the loop up before Run. Nothing recovers a panic.
package loop
