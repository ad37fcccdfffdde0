// Package mpath makes one block device of several paths to one logical unit.
//
// A Device takes requests, splits them into SCSI commands, spreads those over its
// paths, and does what keeps the promise of a disk when paths and targets fail: it
// retries, fences lost sessions, writes unstable data again, and runs flushes over
// all sessions by the rules of package barrier.
//
// It is an engine: it does no I/O, starts no goroutine and reads no clock. Its owner
// submits requests, calls Step whenever something may have happened, pops what is
// completed, and sleeps no longer than until Deadline. It is not safe for concurrent
// use.
//
// # The way of a request
//
//	Submit -> admission (writes: room for copies, hold, start-up fence)
//	       -> parts, one SCSI command each (split.go)
//	       -> reads: ledger.Read -> place -> Path
//	       -> writes: ledger.Begin -> ledger.Ready -> place -> ledger.Sent -> Path
//	Step   -> answers of every path (answer.go), judged in one place (verdict.go)
//	       -> lost paths: ledger.Lost, fence, new session (slot.go)
//	       -> flush rounds (flush.go) -> acknowledgements -> Completed
package mpath
