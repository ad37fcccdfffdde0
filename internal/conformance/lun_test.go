package conformance

import (
	"encoding/binary"
	"sync"
)

// A disk answers SCSI commands over the Links of a Target, as a small disk with a
// write cache does. Statuses can be put in the way of writes.
type disk struct {
	mu     sync.Mutex // of all that the connections share
	data   []byte
	script []refusal // for the writes to come, one after the other
	writes map[uint32]*writeView
	seen   map[byte]int // commands, by operation code
	ttt    uint32
}

// A refusal is a status other than GOOD.
type refusal struct {
	status         byte
	key, asc, ascq byte
}

// A writeView is a write whose data is on its way.
type writeView struct {
	q     *PDU
	data  []byte
	got   int
	asked int
	sn    uint32
}

// nopSeen stands for NOP-Out among the operation codes seen; no command has it.
const nopSeen = 0xff

const (
	blockSize  = 512
	diskBlocks = 16384
)

func newDisk() *disk {
	return &disk{data: make([]byte, diskBlocks*blockSize), writes: map[uint32]*writeView{},
		seen: map[byte]int{}}
}

// take answers one PDU that came over a link in the full feature phase.
func (d *disk) take(l *Link, p *PDU) (over bool) {
	switch p.Op() {
	case SCSI:
		d.command(l, p)
	case DataOut:
		if w := d.writes[p.ITT()]; w != nil {
			w.got += copy(w.data[p.Offset():], p.Data)
			if p.Final() {
				d.step(l, w)
			}
		}
	case NopOut:
		if p.ITT() != None {
			d.seen[nopSeen]++
			l.Send(l.Nop(p.ITT(), None, 0, p.Data))
		}
	case TaskReq:
		l.Send(l.Managed(p.ITT(), 0))
	case TextReq:
		l.Send(l.TextAnswer(p.ITT(), FBit, None, Text("TargetName="+targetName)))
	case LogoutReq:
		l.Send(l.Out(p.ITT(), 0, 0, 0))
		return true
	}
	return false
}

func (d *disk) command(l *Link, p *PDU) {
	cdb := p.H[32:48]
	d.seen[cdb[0]]++
	switch cdb[0] {
	case 0x00, 0x35, 0x91: // TEST UNIT READY, SYNCHRONIZE CACHE
		l.Good(p.ITT())
	case 0x28, 0x88: // READ
		at, n := extentOf(cdb)
		d.read(l, p, d.data[at:at+n])
	case 0x2a, 0x8a: // WRITE
		w := &writeView{q: p, data: make([]byte, p.U32(20))}
		w.got = copy(w.data, p.Data)
		w.asked = w.got
		d.writes[p.ITT()] = w
		if !p.Final() {
			w.asked = min(len(w.data), l.T.Judge.Key("FirstBurstLength"))
			return
		}
		d.step(l, w)
	case 0x12:
		d.read(l, p, inquiry(cdb))
	case 0x9e: // READ CAPACITY(16)
		b := make([]byte, 32)
		binary.BigEndian.PutUint64(b, diskBlocks-1)
		binary.BigEndian.PutUint32(b[8:], blockSize)
		d.read(l, p, b)
	case 0x1a, 0x5a: // MODE SENSE: the caching page, with WCE
		b := make([]byte, 4, 24)
		b[2] = 0x10 // DPOFUA
		if cdb[0] == 0x5a {
			b = make([]byte, 8, 28)
			b[3] = 0x10
		}
		b = append(b, 0x08, 0x12, 0x04)
		b = append(b, make([]byte, 17)...)
		if cdb[0] == 0x5a {
			b[1] = byte(len(b) - 2)
		} else {
			b[0] = byte(len(b) - 1)
		}
		d.read(l, p, b)
	case 0xa0: // REPORT LUNS
		b := make([]byte, 16)
		b[3], b[9] = 8, lun
		d.read(l, p, b)
	default:
		l.Send(l.Status(p.ITT(), 2, sense(5, 0x20, 0)))
	}
}

// extentOf reads where a READ or WRITE goes, in bytes.
func extentOf(cdb []byte) (at, n int) {
	if cdb[0]>>5 == 4 {
		return int(binary.BigEndian.Uint64(cdb[2:])) * blockSize,
			int(binary.BigEndian.Uint32(cdb[10:])) * blockSize
	}
	return int(binary.BigEndian.Uint32(cdb[2:])) * blockSize,
		int(binary.BigEndian.Uint16(cdb[7:])) * blockSize
}

func inquiry(cdb []byte) []byte {
	if cdb[1]&1 == 0 {
		b := make([]byte, 36)
		b[2], b[3], b[4] = 6, 2, 31
		copy(b[8:], "braid   conformance     1   ")
		return b
	}
	page := func(b ...byte) []byte {
		return append([]byte{0, cdb[2], byte(len(b) >> 8), byte(len(b))}, b...)
	}
	switch cdb[2] {
	case 0x00:
		return page(0x00, 0x83, 0xb0)
	case 0x83:
		return page(0x01, 0x03, 0, 8, 0x50, 0x01, 0x40, 0x50, 1, 2, 3, 4)
	case 0xb0:
		return page(make([]byte, 60)...)
	}
	return nil
}

// read sends data and GOOD, cut to what the initiator takes at a time and expects.
func (d *disk) read(l *Link, q *PDU, data []byte) {
	if data == nil {
		l.Send(l.Status(q.ITT(), 2, sense(5, 0x24, 0)))
		return
	}
	expected := int(q.U32(20))
	data = data[:min(len(data), expected)]
	sn := uint32(0)
	for at := 0; at < len(data); at += 4096 {
		end := min(at+4096, len(data))
		var flags byte
		if end == len(data) {
			flags = FBit
		}
		l.Send(l.Data(q, sn, uint32(at), flags, data[at:end]))
		sn++
	}
	p := withCount(l.Status(q.ITT(), 0, nil), int(sn))
	if left := expected - len(data); left > 0 {
		p.H[1] |= 0x02 // underflow
		p.Set(44, 4, uint64(left))
	}
	l.Send(p)
}

// step goes on with a write: the next R2T, or its status.
func (d *disk) step(l *Link, w *writeView) {
	if w.got < len(w.data) {
		n := min(len(w.data)-w.asked, l.T.Judge.Key("MaxBurstLength"))
		d.ttt++
		l.Send(l.Ready(w.q, w.sn, d.ttt, w.asked, n))
		w.sn++
		w.asked += n
		return
	}
	delete(d.writes, w.q.ITT())
	if len(d.script) > 0 {
		r := d.script[0]
		d.script = d.script[1:]
		var data []byte
		if r.status == 2 {
			data = sense(r.key, r.asc, r.ascq)
		}
		l.Send(l.Status(w.q.ITT(), r.status, data))
		return
	}
	at, _ := extentOf(w.q.H[32:48])
	copy(d.data[at:], w.data)
	l.Send(withCount(l.Status(w.q.ITT(), 0, nil), int(w.sn)))
}
