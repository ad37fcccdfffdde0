// Package pdu has the iSCSI protocol data units of RFC 7143 section 11: the
// 48-byte headers as Go structs, serial numbers, digests, and two engines that
// turn a byte stream into PDUs (Receiver) and PDUs into a byte stream (Sender).
//
// A family of PDUs lies in one file. Each type has a Parse function, which takes
// a header that was received, and a Marshal method, which writes all 48 bytes.
// Tags and numbers are in host order; the data segment is never touched: DataLen
// is its length in bytes without padding, and Marshal puts it into the header.
//
// Parse refuses another opcode, and what would leave the meaning of a PDU open:
// flags that exclude each other, reserved values of a field that decides what
// the PDU is, a data segment where there is none. Reserved bits and fields are
// written as zero and ignored when received (section 11.2). Every error is a
// *ProtocolError and names the reason with which a target rejects such a PDU.
//
// Nothing here does I/O, starts a goroutine or reads a clock, and nothing is
// allocated per PDU.
package pdu
