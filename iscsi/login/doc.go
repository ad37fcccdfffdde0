// Package login is the Login Phase of iSCSI: text keys, their negotiation and
// CHAP (RFC 7143 sections 6, 12 and 13, RFC 7144 section 7, RFC 1994).
//
// There are two steppers, one for each side of one connection. Neither knows a
// socket, a clock or a session; PDU fields and text go in and come out.
//
//	Initiator: Next gives a Login Request, Receive takes the answer, and so on
//	           until Receive says done.
//	Target:    Receive takes a Login Request and gives the answer to it.
//
// The course of a login, as the initiator asks for it:
//
//  1. Security stage. The first request names both ends (and the type of
//     session, on a leading connection) and offers AuthMethod. Without
//     credentials it also asks for the next stage at once.
//  2. With CHAP: CHAP_A is offered, the challenge comes, the answer goes,
//     together with a challenge of our own if the target is to prove itself.
//  3. Operational stage. All keys that matter are offered in one request that
//     asks for the full feature phase. Keys that the target offers itself
//     are answered in further, bounded, rounds.
//  4. The result is checked as a whole and becomes Params.
//
// Text longer than one PDU may carry during login (8192 bytes) is cut into
// several, in both directions (RFC 7143 section 6.2). All text is bounded.
//
// Secrets never appear in an error, and values from the peer only quoted and
// cut short.
package login
