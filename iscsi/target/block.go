package target

import (
	"time"

	"braid/iscsi/scsi"
)

const sameBytes = 64 << 10 // WRITE SAME writes in pieces of this many bytes

// executeRead reads blocks. From memory they are sent as they lie there.
func (t *Target) executeRead(now time.Duration, k *task) {
	in := &k.in
	off := k.cdb.LBA << k.unit.shift
	in.length = int(min(in.avail, uint64(k.expected)))
	if !k.read {
		in.length = 0
	}
	k.count(OpRead, uint64(in.length))
	if k.unit.lend != nil || in.length == 0 {
		in.from, in.offset = k.unit.lend, off
		t.sendIn(now, k)
		return
	}
	if in.buf = t.pool.get(in.length); in.buf == nil {
		t.respond(now, k, scsi.TaskSetFull, nil)
		return
	}
	k.op = Op{Kind: OpRead, Offset: off, Length: uint64(in.length), Data: in.buf.b[:in.length]}
	t.submit(now, k)
}

// own makes sure that a task's data outlives the call, where the store may not be
// done with it by then. It is false if the task had to be refused.
func (t *Target) own(now time.Duration, k *task) bool {
	if k.unit.lend != nil || k.keep() {
		return true
	}
	t.respond(now, k, k.status, &k.sense)
	return false
}

// executeWrite writes blocks, only whole ones if the initiator sends less than
// the CDB says.
func (t *Target) executeWrite(now time.Duration, k *task) {
	if !t.own(now, k) {
		return
	}
	data := k.out.data
	data = data[:len(data)>>k.unit.shift<<k.unit.shift]
	if len(data) == 0 {
		t.respond(now, k, scsi.Good, nil)
		return
	}
	k.op = Op{
		Kind: OpWrite, Offset: k.cdb.LBA << k.unit.shift,
		Length: uint64(len(data)), Data: data,
	}
	k.count(OpWrite, k.op.Length)
	t.submit(now, k)
}

// executeVerify compares blocks with those that the initiator sent, if it did.
func (t *Target) executeVerify(now time.Duration, k *task) {
	if !t.own(now, k) {
		return
	}
	n := len(k.out.data)
	if n == 0 {
		t.respond(now, k, scsi.Good, nil)
		return
	}
	if k.in.buf = t.pool.get(n); k.in.buf == nil {
		t.respond(now, k, scsi.TaskSetFull, nil)
		return
	}
	k.op = Op{
		Kind: OpRead, Offset: k.cdb.LBA << k.unit.shift,
		Length: uint64(n), Data: k.in.buf.b[:n],
	}
	t.submit(now, k)
}

// executeUnmap makes the ranges of the parameter list read as zeroes.
func (t *Target) executeUnmap(now time.Duration, k *task) {
	fail := func(sense scsi.Sense) { t.respond(now, k, scsi.CheckCondition, &sense) }
	if k.out.want == 0 {
		t.respond(now, k, scsi.Good, nil) // no parameter list is no error
		return
	}
	ranges, err := scsi.ParseUnmapParameters(k.ranges[:0], k.out.data)
	k.ranges = ranges
	switch {
	case err != nil:
		fail(parameterError)
		return
	case len(ranges) > maxUnmapRanges:
		fail(invalidList)
		return
	}
	total := uint64(0)
	for _, r := range ranges {
		if r.LBA > k.unit.blocks || uint64(r.Blocks) > k.unit.blocks-r.LBA {
			fail(outOfRange)
			return
		}
		total += uint64(r.Blocks)
	}
	if total > maxUnmapBlocks {
		fail(invalidList)
		return
	}
	k.step = 0
	k.count(OpZero, total<<k.unit.shift)
	if !k.nextRange() {
		t.respond(now, k, scsi.Good, nil)
		return
	}
	t.submit(now, k)
}

// nextRange makes k.op the next range of an UNMAP. It is false if there is none
// left.
func (k *task) nextRange() bool {
	for k.step < len(k.ranges) {
		r := k.ranges[k.step]
		k.step++
		if r.Blocks == 0 {
			continue
		}
		k.op = Op{
			Kind: OpZero, Offset: r.LBA << k.unit.shift,
			Length: uint64(r.Blocks) << k.unit.shift,
		}
		return true
	}
	return false
}

// executeWriteSame writes one block many times.
func (t *Target) executeWriteSame(now time.Duration, k *task) {
	u := k.unit
	off, length := k.cdb.LBA<<u.shift, uint64(k.cdb.Blocks)<<u.shift
	pattern := k.out.data
	k.count(OpZero, length)
	if isZero(pattern) {
		k.op = Op{Kind: OpZero, Offset: off, Length: length}
		t.submit(now, k)
		return
	}
	if k.in.buf = t.pool.get(sameBytes); k.in.buf == nil {
		t.respond(now, k, scsi.TaskSetFull, nil)
		return
	}
	b := k.in.buf.b[:sameBytes]
	for n := copy(b, pattern); n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
	n := min(length, sameBytes)
	k.op = Op{Kind: OpWrite, Offset: off, Length: n, Data: b[:n]}
	t.submit(now, k)
}

// nextPiece makes k.op the next piece of a WRITE SAME. It is false if there is
// none left.
func (k *task) nextPiece() bool {
	off := k.op.Offset + k.op.Length
	end := (k.cdb.LBA + uint64(k.cdb.Blocks)) << k.unit.shift
	if off >= end {
		return false
	}
	n := min(end-off, sameBytes)
	k.op = Op{Kind: OpWrite, Offset: off, Length: n, Data: k.in.buf.b[:n]}
	return true
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
