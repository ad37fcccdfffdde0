// Package scsi holds what an initiator and a target of block devices have to
// say to each other in SCSI: command descriptor blocks, status, sense data and
// the parameter data of the few commands that matter here.
//
// It follows SPC-4, SBC-3 and SAM-5. Every answer has a parser, for the
// initiator, and an Append method, for the target, side by side. Parsers take
// any bytes whatever: what is too short to mean anything is a *FormatError, what
// is cut off at the allocation length is read as far as it goes, and lengths
// found in the data never decide how much memory is used: only len(b) does.
//
// Nothing here does I/O or keeps state, and all of it may be used from any
// goroutine.
package scsi
