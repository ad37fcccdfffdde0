package pdu

// minBuffer is the least staging buffer: it holds the longest header with its
// digest, and a login's data segment of 8192 bytes with room to spare.
const minBuffer = 16 << 10

const (
	// longData is the length of data segments that come in rows, most often. What of the
	// next one is read ahead has to be copied to its place, so behind and after a long
	// one no more is read ahead than aheadOfLong: headers, and what is short.
	longData    = 16 << 10
	aheadOfLong = 512
)

// A Placer says where data segments belong.
type Placer interface {
	// Place is asked once per PDU, when its whole header is there and has
	// passed its digest and carries data, and after the PDU before it has been
	// handed out. It returns where the data segment belongs, with a length of
	// h.DataLen(), or nil for the receiver's own buffer. The bytes may be
	// overwritten from now until the PDU is handed out, Unplace is called or
	// the receiver is given up. Nothing may be kept of h.
	Place(h *Header) []byte
}

// ReceiverConfig says how a Receiver is to be made.
type ReceiverConfig struct {
	MaxData int    // longest data segment allowed, in bytes: our MaxRecvDataSegmentLength
	Placer  Placer // nil: all data goes to the receiver's own buffer
	Buffer  int    // staging buffer in bytes; 16 KiB at least
}

// PDU is what a Receiver hands out. Its slices are good until the following call
// of Next, Buffers or Received; Data only then if it was not placed.
type PDU struct {
	Header *Header
	AHS    []byte // the additional header segments as they came
	Data   []byte // the data segment, or nil: what Place gave, or the receiver's own
	// DataDigestError: Data is not what the peer sent.
	DataDigestError bool
}

// Receiver turns a stream of bytes into PDUs. The owner has bytes read into
// Buffers, says so with Received, and calls Next until there is no PDU.
//
// A data segment that is placed is read in place: only what was already in the
// staging buffer when its header was looked at is copied, once.
type Receiver struct {
	placer       Placer
	maxData      int
	headerDigest bool
	dataDigest   bool
	err          error

	buf        []byte // staging: buf[start:end] is received and not yet used
	start, end int
	own        []byte // for data segments that are neither placed nor fit into buf
	long       bool   // the last header was one of a long data segment

	cur current
}

// current is the PDU that is being received.
type current struct {
	begun   bool // the header is there and checked; the rest below is set
	header  Header
	ahs     [MaxAHSLen]byte
	ahsLen  int
	dataLen int
	trailer int    // bytes of padding and data digest
	digest  bool   // a data digest follows
	crc     uint32 // of data[:filled]
	data    []byte // where the data segment goes; nil: it stays in the staging buffer
	filled  int    // bytes of data that are there
	placed  bool   // data is the Placer's
}

// NewReceiver makes a receiver without digests.
func NewReceiver(cfg ReceiverConfig) *Receiver {
	r := &Receiver{placer: cfg.Placer, buf: make([]byte, max(cfg.Buffer, minBuffer))}
	r.SetMaxData(cfg.MaxData)
	return r
}

// SetDigests says which digests PDUs have whose header Next has not met yet.
func (r *Receiver) SetDigests(header, data bool) { r.headerDigest, r.dataDigest = header, data }

// SetMaxData sets the longest data segment allowed, in bytes, of PDUs whose
// header Next has not met yet.
func (r *Receiver) SetMaxData(n int) {
	if n < 0 {
		panic("pdu: negative MaxData")
	}
	r.maxData = min(n, MaxDataLen)
}

// Empty tells whether nothing of a next PDU has been received.
func (r *Receiver) Empty() bool { return !r.cur.begun && r.start == r.end }

// Buffers appends to dst where the next bytes of the stream belong: what is
// missing of a data segment that is read in place, then the staging buffer. It
// appends nothing after an error, and while the staging buffer is full of PDUs
// that Next has not been asked for; once Next gave false there is room again.
func (r *Receiver) Buffers(dst [][]byte) [][]byte {
	if r.err != nil {
		return dst
	}
	r.compact()
	c, end := &r.cur, len(r.buf)
	if c.filled < len(c.data) {
		dst = append(dst, c.data[c.filled:])
	}
	if r.long && (c.data != nil || !c.begun) {
		end = min(end, r.end+aheadOfLong)
	}
	if r.end < end {
		dst = append(dst, r.buf[r.end:end])
	}
	return dst
}

// compact makes room at the end of the staging buffer, where it is worth it.
func (r *Receiver) compact() {
	switch {
	case r.start == r.end:
		r.start, r.end = 0, 0
	case r.start > 0 && len(r.buf)-r.end < len(r.buf)/2:
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
}

// Received says that n bytes of the stream were put into what Buffers gave.
func (r *Receiver) Received(n int) {
	if c := &r.cur; c.filled < len(c.data) {
		k := min(n, len(c.data)-c.filled)
		c.fill(k)
		n -= k
	}
	if n < 0 || n > len(r.buf)-r.end {
		panic("pdu: more received than there was room for")
	}
	r.end += n
}

// fill says that n more bytes of the data segment are in data.
func (c *current) fill(n int) {
	if c.digest {
		c.crc = UpdateDigest(c.crc, c.data[c.filled:c.filled+n])
	}
	c.filled += n
}

// Placed is the slice of the Placer into which the present data segment is being
// received, and nil if there is none.
func (r *Receiver) Placed() []byte {
	if r.cur.begun && r.cur.placed {
		return r.cur.data
	}
	return nil
}

// Unplace gives the slice that is being received into back to its owner: what
// came so far is copied, and the rest goes into the receiver's own buffer. The
// slice is not written any more. Nothing is done if there is none.
func (r *Receiver) Unplace() {
	c := &r.cur
	if r.Placed() == nil {
		return
	}
	own := r.ownBuffer(c.dataLen)
	copy(own, c.data[:c.filled])
	c.data, c.placed = own, false
}

// ownBuffer is the receiver's buffer for long data segments, n bytes of it.
func (r *Receiver) ownBuffer(n int) []byte {
	if n > len(r.own) {
		r.own = make([]byte, max(n, min(2*len(r.own), r.maxData)))
	}
	return r.own[:n:n]
}

// Next hands out the next PDU that is there as a whole; false means that more
// bytes are needed. An error is a *ProtocolError and ends the stream: it is given
// again by every further call. A data digest error is no such error, since the
// stream goes on behind it.
func (r *Receiver) Next() (PDU, bool, error) {
	if r.err != nil {
		return PDU{}, false, r.err
	}
	c := &r.cur
	if !c.begun {
		if !r.takeHeader() {
			return PDU{}, false, r.err
		}
	}
	if c.data == nil {
		return r.takeStaged()
	}
	if c.filled < c.dataLen {
		n := copy(c.data[c.filled:], r.buf[r.start:r.end])
		r.start += n
		c.fill(n)
	}
	if c.filled < c.dataLen || r.end-r.start < c.trailer {
		return PDU{}, false, nil
	}
	data := c.data
	return r.finish(data), true, nil
}

// takeStaged hands out a PDU whose data segment, if it has one, stays in the
// staging buffer.
func (r *Receiver) takeStaged() (PDU, bool, error) {
	c := &r.cur
	if r.end-r.start < c.dataLen+c.trailer {
		return PDU{}, false, nil
	}
	var data []byte
	if c.dataLen > 0 {
		data = r.buf[r.start : r.start+c.dataLen : r.start+c.dataLen]
		r.start += c.dataLen
		if c.digest {
			c.crc = Digest(data)
		}
	}
	return r.finish(data), true, nil
}

// finish takes padding and data digest, which are in the staging buffer, and
// makes ready for the next PDU.
func (r *Receiver) finish(data []byte) PDU {
	c := &r.cur
	p := PDU{Header: &c.header, Data: data}
	if c.ahsLen > 0 {
		p.AHS = c.ahs[:c.ahsLen]
	}
	if c.digest {
		at := r.start + c.trailer - DigestLen
		crc := UpdateDigest(c.crc, r.buf[r.start:at])
		p.DataDigestError = crc != GetDigest(r.buf[at:])
	}
	r.start += c.trailer
	c.begun, c.data, c.filled, c.placed = false, nil, 0, false
	return p
}

// takeHeader begins a PDU once its whole header is in the staging buffer.
func (r *Receiver) takeHeader() bool {
	c := &r.cur
	b := r.buf[r.start:r.end]
	if len(b) < HeaderLen {
		return false
	}
	h := (*Header)(b)
	n := HeaderLen + h.AHSLen()
	digest := 0
	if r.headerDigest {
		digest = DigestLen
	}
	if len(b) < n+digest {
		return false
	}
	c.header = *h
	if r.headerDigest && Digest(b[:n]) != GetDigest(b[n:]) {
		return r.fail(ErrHeaderDigest, RejectProtocolError, "the stream cannot be followed")
	}
	if h.DataLen() > r.maxData {
		return r.fail(ErrTooLong, RejectProtocolError, "longer than was declared")
	}
	c.ahsLen = copy(c.ahs[:], b[HeaderLen:n])
	r.start += n + digest
	r.begin()
	return true
}

// begin decides where the data segment of the current PDU goes.
func (r *Receiver) begin() {
	c := &r.cur
	c.begun = true
	c.dataLen = c.header.DataLen()
	r.long = c.dataLen >= longData
	c.digest = r.dataDigest && c.dataLen > 0
	c.crc = 0
	c.trailer = PadLen(c.dataLen)
	if c.digest {
		c.trailer += DigestLen
	}
	if c.dataLen == 0 {
		return
	}
	if r.placer != nil {
		if p := r.placer.Place(&c.header); p != nil {
			if len(p) != c.dataLen {
				panic("pdu: placed slice does not have the length of the data segment")
			}
			c.data, c.placed = p, true
			return
		}
	}
	if c.dataLen+c.trailer > len(r.buf) {
		c.data = r.ownBuffer(c.dataLen)
	}
}

func (r *Receiver) fail(kind error, reason RejectReason, detail string) bool {
	h := &r.cur.header
	r.err = &ProtocolError{
		Opcode: h.Opcode(), ITT: h.ITT(), Reason: reason, Detail: detail, Err: kind,
	}
	return false
}
