// Package iscsi is the initiator side of iSCSI (RFC 7143) as an engine: a
// Session of one or more TCP connections that turns SCSI commands into PDUs and
// back. It opens no socket, reads no clock, starts no goroutine. The transport
// asks each Conn what to do (Want), feeds it received bytes, takes bytes to send,
// and says when a socket came or went; the owner submits commands, pops those
// that are done, and calls Tick when Deadline is due.
//
// A session lives once: it opens, is up, and ends with the first cause that is
// found (Err). Nothing in it is repaired at error recovery level 0: a lost
// connection, a digest error or a breach of the protocol ends the session, and
// every command is handed back as lost (scsi.NexusLostError). A connection that
// fails while it still joins a session which is up only degrades that session. One that
// follows a lost session of several connections can close those first (former.go).
//
// From level 1 on PDUs that are lost, or damaged in their data, are found by gaps in
// their numbers (numbers.go, statsn.go) and asked for again (snack.go); a ping finds
// what leaves no gap, and commands that did not arrive are sent again (cmdretry.go).
// At level 2 the tasks of a lost connection go on over another one (recovery.go,
// reassign.go), which is made first if there is none (reinstate.go). All of it is
// bounded in count and time, and falls to the next lower level when it fails. A breach
// of the protocol ends the session at every level.
//
// Numbering (RFC 7143 section 4.2.2): CmdSN is one counter of the session, taken
// when a command moves into a connection's Sender, so that the numbers of one
// connection leave in order; StatSN is counted per connection; DataSN and R2TSN
// per task. All PDUs of a task stay on the connection that carried its command.
//
// The way of a command: Submit puts it into the task table and the queue; pump
// moves it to the least loaded connection while the command window is open;
// Data-In is placed straight into Command.Data, Data-Out is cut from it when the
// transport asks for bytes; the status completes it, and Completed returns it.
package iscsi
