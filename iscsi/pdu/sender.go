package pdu

// Class orders PDUs in a Sender.
type Class uint8

const (
	// Urgent PDUs go ahead of all Bulk ones that have not been begun: commands,
	// NOPs, task management.
	Urgent Class = iota
	// Bulk is what may be long and can wait: Data-Out, Data-In. A PDU with a
	// StatSN that was counted up has to be of one class with all others of that
	// kind on its connection, or they leave in another order than numbered.
	Bulk

	classes
)

// MaxSlices is how many slices Sender.Buffers appends at most.
const MaxSlices = 64

// slicesPerPDU is how many slices a PDU has at most: header, payload, trailer.
const slicesPerPDU = 3

// Ticket names a PDU that was queued. The zero value names none, and is Gone.
type Ticket struct {
	number uint64
	class  Class
}

// Before tells whether the PDU was queued before another of the same class.
func (t Ticket) Before(other Ticket) bool {
	return t.class == other.class && t.number < other.number
}

// Sender is the queue of PDUs to be sent on one connection. Those of one class
// leave in the order in which they were pushed, and a PDU that was begun is sent
// to its end first. It has no bound of its own: whoever pushes keeps one, by Len
// and Payload.
//
// What Buffers gave stays as it is until Sent or Drop, also if PDUs are pushed in
// between.
type Sender struct {
	headerDigest bool
	dataDigest   bool
	queues       [classes]ring
	pushed       [classes]uint64 // PDUs ever pushed
	offered      [classes]int    // how many of each the last Buffers gave
	begun        Class           // class of the PDU of which sent bytes are gone
	sent         int             // 0: none is begun
	payload      int
}

// NewSender makes a sender without digests.
func NewSender() *Sender { return &Sender{} }

// SetDigests says which digests the PDUs have that are pushed from now on.
func (s *Sender) SetDigests(header, data bool) { s.headerDigest, s.dataDigest = header, data }

// Push queues a PDU. The header is copied; data, which has to be as long as the
// header says, is borrowed and stays unchanged until the PDU has left (see Gone)
// or Drop.
func (s *Sender) Push(h *Header, data []byte, class Class) Ticket {
	if len(data) != h.DataLen() || h.AHSLen() != 0 {
		panic("pdu: header and data segment differ in length")
	}
	e := s.queues[class].push()
	e.data = data
	copy(e.header[:], h[:])
	e.hlen = HeaderLen
	if s.headerDigest {
		PutDigest(e.header[HeaderLen:], Digest(h[:]))
		e.hlen += DigestLen
	}
	pad := PadLen(len(data))
	e.trailer = [3 + DigestLen]byte{}
	e.tlen = uint8(pad)
	if s.dataDigest && len(data) > 0 {
		PutDigest(e.trailer[pad:], UpdateDigest(Digest(data), zeroPad[:pad]))
		e.tlen += DigestLen
	}
	s.payload += len(data)
	s.pushed[class]++
	return Ticket{s.pushed[class], class}
}

// Spoil damages a digest of the PDU that was pushed last, so that its receiver
// finds an error: the header's, or that of the data. It is for tests. The PDU
// has to have that digest.
func (s *Sender) Spoil(class Class, header bool) {
	q := &s.queues[class]
	e := q.at(q.n - 1)
	if header {
		e.header[HeaderLen] ^= 1
	} else {
		e.trailer[e.tlen-1] ^= 1
	}
}

// Len is how many PDUs have not left as a whole.
func (s *Sender) Len() int { return s.queues[Urgent].n + s.queues[Bulk].n }

// Payload is how many bytes of data segments have not been taken.
func (s *Sender) Payload() int { return s.payload }

// Gone tells whether the PDU has left as a whole or was dropped, so that its data
// is not referred to any more.
func (s *Sender) Gone(t Ticket) bool {
	return t.number+uint64(s.queues[t.class].n) <= s.pushed[t.class]
}

// Buffers appends to dst the next bytes to send, at most MaxSlices slices.
func (s *Sender) Buffers(dst [][]byte) [][]byte {
	s.offered = [classes]int{}
	limit := len(dst) + MaxSlices
	if s.sent > 0 {
		dst = appendRest(dst, s.queues[s.begun].at(0), s.sent)
		s.offered[s.begun] = 1
	}
	for class := range classes {
		q := &s.queues[class]
		i := s.offered[class]
		for ; i < q.n && len(dst)+slicesPerPDU <= limit; i++ {
			e := q.at(i)
			dst = append(dst, e.header[:e.hlen])
			if len(e.data) > 0 {
				dst = append(dst, e.data)
			}
			if e.tlen > 0 {
				dst = append(dst, e.trailer[:e.tlen])
			}
		}
		s.offered[class] = i
	}
	return dst
}

// appendRest appends the slices of a PDU of which skip bytes have left.
func appendRest(dst [][]byte, e *element, skip int) [][]byte {
	for _, b := range [...][]byte{e.header[:e.hlen], e.data, e.trailer[:e.tlen]} {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		dst = append(dst, b[skip:])
		skip = 0
	}
	return dst
}

// Sent says that the first n bytes of what Buffers gave have been taken.
func (s *Sender) Sent(n int) {
	for n > 0 {
		if s.sent == 0 {
			s.begun = Urgent
			if s.offered[Urgent] == 0 {
				s.begun = Bulk
			}
		}
		if s.offered[s.begun] == 0 {
			panic("pdu: more sent than was given")
		}
		e := s.queues[s.begun].at(0)
		k := min(n, e.size()-s.sent)
		s.payload -= e.payloadBetween(s.sent, s.sent+k)
		s.sent += k
		n -= k
		if s.sent == e.size() {
			s.queues[s.begun].pop()
			s.offered[s.begun]--
			s.sent = 0
		}
	}
}

// payloadBetween is how many bytes of the data segment lie between two places of
// the PDU.
func (e *element) payloadBetween(from, to int) int {
	first := int(e.hlen)
	last := first + len(e.data)
	return min(max(to, first), last) - min(max(from, first), last)
}

// Drop forgets all PDUs: the connection is dead. No payload is referred to any
// more.
func (s *Sender) Drop() {
	for class := range classes {
		s.queues[class].clear()
	}
	s.offered = [classes]int{}
	s.sent, s.payload = 0, 0
}
