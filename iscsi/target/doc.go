// Package target is an iSCSI target: RFC 7143's other side, with logical units of
// SBC-3 in memory or in files. It serves `braid target`, tests and the simulator.
//
// It is an engine. Bytes and the time go in, bytes and the next deadline come
// out; it has no goroutine, lock, clock or socket, and chance comes from a source
// that is passed in. Each connection is a loop.Stream.
//
//	Accept -> Conn: login -> session -> SCSI command -> its turn (CmdSN)
//	       -> data (immediate, unsolicited, R2T) -> execution in a Store
//	       -> Data-In, status
//
// After every call the owner looks at the connections: HasOutput and Resumed ask
// for the socket to be kicked, Want for it to be closed.
//
// Stores are RAM; Volatile, RAM behind a cache that can be lost; and File, whose
// operations are done elsewhere and handed back. Faults (faults.go) can be called
// or scripted (script.go): cut, blackhole, stall, delay, restart, loss of cache,
// logins and commands refused, access states, and ghosts, writes of a lost nexus
// that are executed later.
//
// Error recovery: at level 1 what is sent is kept until it is acknowledged
// (unacked.go, snack.go), and Data-Out that was lost is asked for again
// (recoverout.go). At level 2 the tasks of a connection that dies wait to be
// reassigned to another one (failed.go, reassign.go); below, it takes its session
// along.
//
// Commands are executed in the order of their delivery, and all task attributes
// are treated as SIMPLE.
package target
