// Package conformance judges what an iSCSI initiator says on the wire. It has a
// view of its own: every field is found by the offsets that the figures of RFC
// 7143 section 11 draw, and nothing of the product is imported, so that a mistake
// in the product's codec cannot hide behind the same mistake here.
//
// A Judge watches both directions of all connections of one session and complains
// about every breach of a rule that binds initiators: reserved bits, sequence
// numbers, tags, lengths, bursts, digests, padding, the syntax and order of keys.
// A Link is the target's end of one connection, played by hand. A Capture is the
// same bytes as a pcap file, for a dissector that others have written.
//
// The tests of the package put the product's initiator under this judgement, one
// test for each case that docs/conformance.md lists.
package conformance
