package conformance

import (
	"encoding/binary"
	"io"
)

// A Capture writes TCP streams as a pcap file (LINKTYPE_RAW, IPv4), with what
// the network would have added made up, so that other dissectors can read them.
type Capture struct {
	w       io.Writer
	err     error
	now     uint64 // microseconds
	streams uint32
}

// NewCapture begins a file.
func NewCapture(w io.Writer) *Capture {
	c := &Capture{w: w}
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(h[4:], 2)
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], 1<<18)
	binary.LittleEndian.PutUint32(h[20:], 101)
	c.write(h[:])
	return c
}

// Err is the first error of writing.
func (c *Capture) Err() error { return c.err }

func (c *Capture) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

// A Stream is one TCP connection in a Capture.
type Stream struct {
	c      *Capture
	number uint32
	seq    [2]uint32 // next, of the initiator and of the target
}

const (
	flagFIN = 1
	flagSYN = 2
	flagPSH = 8
	flagACK = 16
)

// Stream begins a connection with its handshake.
func (c *Capture) Stream() *Stream {
	c.streams++
	s := &Stream{c: c, number: c.streams}
	s.segment(0, flagSYN, nil)
	s.segment(1, flagSYN|flagACK, nil)
	s.segment(0, flagACK, nil)
	return s
}

// Number tells the stream within its file, from 0 on.
func (s *Stream) Number() int { return int(s.number) - 1 }

// FromInitiator and FromTarget add bytes.
func (s *Stream) FromInitiator(b []byte) { s.data(0, b) }
func (s *Stream) FromTarget(b []byte)    { s.data(1, b) }

// Close ends it in order.
func (s *Stream) Close() {
	s.segment(0, flagFIN|flagACK, nil)
	s.segment(1, flagFIN|flagACK, nil)
}

func (s *Stream) data(from int, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 32768)
		s.segment(from, flagPSH|flagACK, b[:n])
		b = b[n:]
	}
}

// segment writes one packet.
func (s *Stream) segment(from int, flags byte, data []byte) {
	const headers = 40
	s.c.now += 10
	p := make([]byte, 16+headers, 16+headers+len(data))
	binary.LittleEndian.PutUint32(p[0:], uint32(s.c.now/1e6))
	binary.LittleEndian.PutUint32(p[4:], uint32(s.c.now%1e6))
	binary.LittleEndian.PutUint32(p[8:], uint32(headers+len(data)))
	binary.LittleEndian.PutUint32(p[12:], uint32(headers+len(data)))

	ip, tcp := p[16:36], p[36:56]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(headers+len(data)))
	ip[8], ip[9] = 64, 6
	initiator := [4]byte{10, byte(s.number >> 16), byte(s.number >> 8), byte(s.number)}
	ports := [2]uint16{uint16(20000 + s.number%40000), 3260}
	ends := [2][4]byte{initiator, {10, 255, 0, 1}}
	copy(ip[12:], ends[from][:])
	copy(ip[16:], ends[1-from][:])
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))

	binary.BigEndian.PutUint16(tcp[0:], ports[from])
	binary.BigEndian.PutUint16(tcp[2:], ports[1-from])
	binary.BigEndian.PutUint32(tcp[4:], s.seq[from])
	if flags&flagACK != 0 {
		binary.BigEndian.PutUint32(tcp[8:], s.seq[1-from])
	}
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	s.seq[from] += uint32(len(data))
	if flags&(flagSYN|flagFIN) != 0 {
		s.seq[from]++
	}
	s.c.write(append(p, data...))
}
