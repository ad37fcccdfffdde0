// Package barrier decides what a flush must cover, when a write may be sent,
// and which copies of written data must still be kept, for a device that is
// reached over several sessions that know nothing of each other.
//
// It is a library that the device consults: no data passes through it, it does
// no I/O, starts no goroutine, reads no clock, and is not safe for concurrent
// use. Two types do the work:
//
//   - Ledger knows every write that is out, doubtful, or acknowledged but not yet
//     known to be on stable storage. It lets at most one write to a block out at
//     a time, and it keeps the copies that are sent again when a session or a
//     cache was lost.
//   - Coordinator runs the flush rounds on top of it: which sessions must answer
//     a SYNCHRONIZE CACHE, where new writes go meanwhile, and when the flush is
//     acknowledged.
//
// # A write's life
//
//	Begin -> (waits for its blocks) -> Ready -> Sent -> Answered -> acknowledged
//	                                     ^        |
//	                                     +- Unknown: sent again, not acknowledged
//	                                        before the lost session is fenced
//
// An acknowledged write that is not stable is kept, under the session that
// answered it and the number of that answer. A SYNC raises the session's synced
// number only to the count of answers read before it was sent, and releases the
// copies up to there. When a session is lost, its copies are written again: the
// same Write goes through the same life once more.
//
// Why numbers and not a dirty flag: a flag set before the write and cleared after
// the sync loses an acknowledged write (write marks, flush A syncs, the write is
// acknowledged, A clears, flush B sees clean and skips). Numbers given when a write
// is sent lose one too, because answers come out of order.
package barrier
