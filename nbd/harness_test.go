package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// testPool lends buffers, and notices what does not come back, or twice, or
// cut.
type testPool struct {
	tb    testing.TB
	limit int // bytes; 0 for none
	used  int
	lent  map[*byte]int
	spare map[int][][]byte
}

func newTestPool(tb testing.TB) *testPool {
	return &testPool{tb: tb, lent: map[*byte]int{}, spare: map[int][][]byte{}}
}

func (p *testPool) Get(n int) []byte {
	if n <= 0 || n > Chunk {
		p.tb.Fatalf("Get(%d)", n)
	}
	if p.limit > 0 && p.used+n > p.limit {
		return nil
	}
	var b []byte
	if s := p.spare[n]; len(s) > 0 {
		b = s[len(s)-1]
		p.spare[n] = s[:len(s)-1]
	} else {
		b = make([]byte, n)
	}
	p.used += n
	p.lent[unsafe.SliceData(b)] = n
	return b
}

func (p *testPool) Put(b []byte) {
	k := unsafe.SliceData(b)
	if n, ok := p.lent[k]; !ok || n != len(b) {
		p.tb.Fatalf("Put of a buffer that is not lent, or of %d bytes for %d", len(b), n)
	}
	delete(p.lent, k)
	p.used -= len(b)
	for i := range min(len(b), 64) {
		b[i] = 0xdb // whoever still looks at it reads this
	}
	p.spare[len(b)] = append(p.spare[len(b)], b)
}

// memDevice keeps its data in memory. What it is given waits in queue until the
// test has it done.
type memDevice struct {
	info  Info
	data  []byte
	queue []*Request
}

func newMemDevice(size int) *memDevice {
	return &memDevice{
		info: Info{Size: uint64(size), MinBlock: 512, MaxBlock: 1 << 20, Trim: true},
		data: make([]byte, size),
	}
}

func (d *memDevice) Info() Info { return d.info }

func (d *memDevice) Submit(_ time.Duration, r *Request) { d.queue = append(d.queue, r) }

// perform does what r asks for.
func (d *memDevice) perform(r *Request) {
	span := d.data[min(r.Offset, uint64(len(d.data))):]
	span = span[:min(r.Length, uint64(len(span)))]
	switch r.Op {
	case Read:
		for _, b := range r.Data {
			span = span[copy(b, span):]
		}
	case Write:
		for _, b := range r.Data {
			span = span[copy(span, b):]
		}
	case Trim, WriteZeroes:
		clear(span)
	}
}

// complete does the i-th request of the queue and answers it.
func (d *memDevice) complete(now time.Duration, i int) {
	r := d.queue[i]
	d.queue = append(d.queue[:i], d.queue[i+1:]...)
	if r.Err == 0 {
		d.perform(r)
	}
	r.Conn().Complete(now, r)
}

// completeAll does all that is in the queue, in its order.
func (d *memDevice) completeAll(now time.Duration) {
	for len(d.queue) > 0 {
		d.complete(now, 0)
	}
}

// A wire is the client's side and the transport: what the client has sent and
// the Conn has not read yet, and what the Conn has sent.
type wire struct {
	tb   testing.TB
	c    *Conn
	now  time.Duration
	in   []byte
	out  []byte
	bufs [][]byte
}

// pump moves at most n bytes from the client to the Conn and returns how many
// it took.
func (w *wire) pump(n int) int {
	moved := 0
	for n > 0 && len(w.in) > 0 {
		w.bufs = w.c.RecvBuffers(w.bufs[:0])
		k := 0
		for _, b := range w.bufs {
			if len(b) == 0 {
				w.tb.Fatal("empty receive buffer")
			}
			m := copy(b, w.in[:min(n, len(w.in))])
			w.in = w.in[m:]
			n -= m
			k += m
		}
		if k == 0 {
			if len(w.bufs) == 0 && w.c.WantsRead() {
				w.tb.Fatal("WantsRead, but nowhere to")
			}
			return moved
		}
		moved += k
		w.c.Received(w.now, k)
	}
	return moved
}

// drain moves at most n bytes from the Conn to the client.
func (w *wire) drain(n int) int {
	moved := 0
	for n > 0 {
		w.bufs = w.c.SendBuffers(w.bufs[:0])
		if (len(w.bufs) > 0) != w.c.HasOutput() {
			w.tb.Fatal("HasOutput and SendBuffers differ")
		}
		k := 0
		for _, b := range w.bufs {
			if len(b) == 0 {
				w.tb.Fatal("empty send buffer")
			}
			b = b[:min(n, len(b))]
			w.out = append(w.out, b...)
			n -= len(b)
			k += len(b)
		}
		if k == 0 {
			return moved
		}
		moved += k
		w.c.Sent(w.now, k)
	}
	return moved
}

const everything = 1 << 40

// send lets the client send b and the Conn read it, as far as it will.
func (w *wire) send(b ...byte) {
	w.in = append(w.in, b...)
	w.pump(everything)
}

// take returns all that the Conn has to say.
func (w *wire) take() []byte {
	w.drain(everything)
	b := w.out
	w.out = nil
	return b
}

// newTestServer serves a device of 4 MiB, without room for doubt.
func newTestServer(
	tb testing.TB, edit func(*ServerConfig, *memDevice),
) (*Server, *memDevice, *testPool) {
	d, p := newMemDevice(4<<20), newTestPool(tb)
	cfg := ServerConfig{Name: "disk", Description: "a test", Device: d, Pool: p}
	if edit != nil {
		edit(&cfg, d)
	}
	return NewServer(cfg), d, p
}

// accept returns a client that has just connected.
func accept(tb testing.TB, s *Server) *wire {
	c := s.Accept(0)
	if c == nil {
		tb.Fatal("not accepted")
	}
	return &wire{tb: tb, c: c}
}

// ready returns a client in transmission.
func ready(tb testing.TB, s *Server, structured bool) *wire {
	w := accept(tb, s)
	w.send(0, 0, 0, 3)
	if structured {
		w.send(option(optionStructuredReply, nil)...)
	}
	w.send(option(7, goData("disk"))...)
	w.take()
	if w.c.State() != "transmission" {
		tb.Fatalf("state %s, %v", w.c.State(), w.c.Err())
	}
	return w
}

// option encodes an option of a client.
func option(id uint32, data []byte) []byte {
	b := append([]byte(nil), "IHAVEOPT"...)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// goData encodes the data of INFO and GO.
func goData(name string, infos ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(infos)))
	for _, i := range infos {
		b = binary.BigEndian.AppendUint16(b, i)
	}
	return b
}

// request encodes a request header and its payload.
func request(flags, kind uint16, handle, offset uint64, length uint32, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint64(b, handle)
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, payload...)
}

// answered is a reply as a client sees it.
type answered struct {
	handle uint64
	err    Errno
	text   string
	data   []byte
}

var errShort = errors.New("reply is not whole")

// parseReply decodes the first reply of b. reads tells the length of the data
// that a simple reply to handle carries.
func parseReply(b []byte, reads func(handle uint64) int) (a answered, rest []byte, err error) {
	if len(b) < 16 {
		return a, b, errShort
	}
	switch magic := binary.BigEndian.Uint32(b); magic {
	case 0x67446698:
		a.err, a.handle = Errno(binary.BigEndian.Uint32(b[4:])), binary.BigEndian.Uint64(b[8:])
		n := 0
		if a.err == 0 {
			n = reads(a.handle)
		}
		if len(b) < 16+n {
			return a, b, errShort
		}
		a.data = b[16 : 16+n]
		return a, b[16+n:], nil
	case 0x668e33ef:
		return parseChunk(b)
	default:
		return a, b, fmt.Errorf("magic %#x", magic)
	}
}

func parseChunk(b []byte) (a answered, rest []byte, err error) {
	if len(b) < 20 {
		return a, b, errShort
	}
	flags, kind := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	a.handle = binary.BigEndian.Uint64(b[8:])
	n := int(binary.BigEndian.Uint32(b[16:]))
	if len(b) < 20+n {
		return a, b, errShort
	}
	body, rest := b[20:20+n], b[20+n:]
	switch {
	case flags != 1:
		return a, b, fmt.Errorf("chunk flags %#x", flags)
	case kind == 0 && n == 0:
	case kind == 1 && n >= 9:
		a.data = body[8:]
	case kind == 0x8001 && n >= 6 && int(binary.BigEndian.Uint16(body[4:])) == n-6:
		a.err, a.text = Errno(binary.BigEndian.Uint32(body)), string(body[6:])
	default:
		return a, b, fmt.Errorf("chunk type %#x of %d bytes", kind, n)
	}
	return a, rest, nil
}

// describe is the transcript of a handshake: what the server said, a line each.
func describe(tb testing.TB, b []byte) string {
	var sb strings.Builder
	if bytes.HasPrefix(b, []byte("NBDMAGIC")) {
		fmt.Fprintf(&sb, "greeting flags=%#x\n", binary.BigEndian.Uint16(b[16:]))
		b = b[18:]
	}
	for len(b) > 0 {
		if len(b) < 20 || binary.BigEndian.Uint64(b) != 0x3e889045565a9 {
			fmt.Fprintf(&sb, "raw %d bytes\n", len(b))
			break
		}
		id, kind := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		n := binary.BigEndian.Uint32(b[16:])
		data := b[20 : 20+n]
		b = b[20+n:]
		fmt.Fprintf(&sb, "option %d: %s\n", id, describeReply(tb, kind, data))
	}
	return sb.String()
}

func describeReply(tb testing.TB, kind uint32, data []byte) string {
	switch kind {
	case 1:
		if len(data) != 0 {
			tb.Fatal("ACK with data")
		}
		return "ACK"
	case 2:
		n := binary.BigEndian.Uint32(data)
		return fmt.Sprintf("SERVER %q %q", data[4:4+n], data[4+n:])
	case 3:
		be, rest := binary.BigEndian, data[2:]
		switch t := be.Uint16(data); t {
		case 0:
			return fmt.Sprintf("INFO export size=%d flags=%#x", be.Uint64(rest), be.Uint16(rest[8:]))
		case 1:
			return fmt.Sprintf("INFO name %q", rest)
		case 2:
			return fmt.Sprintf("INFO description %q", rest)
		case 3:
			return fmt.Sprintf("INFO block size %d %d %d",
				be.Uint32(rest), be.Uint32(rest[4:]), be.Uint32(rest[8:]))
		}
	}
	names := map[uint32]string{1: "UNSUP", 3: "INVALID", 6: "UNKNOWN", 7: "SHUTDOWN", 9: "TOO_BIG"}
	return fmt.Sprintf("ERR_%s %q", names[kind&^(1<<31)], data)
}
