package barrier

// rangeCharge is what a kept range without data counts against the limit.
const rangeCharge = 256

// Reserve asks for room for copies, before a write that is to be kept is begun.
// The room goes back when the copies are released. What is larger than the limit has
// room when there is nothing else: without copies it could not be made good.
func (l *Ledger) Reserve(bytes uint64) bool {
	if l.used+bytes > l.limit && l.used > 0 {
		return false
	}
	l.used += bytes
	return true
}

// Limit is how many bytes may be kept, Used how many are reserved or kept.
func (l *Ledger) Limit() uint64 { return l.limit }

// Used is how many bytes of room are reserved or hold copies.
func (l *Ledger) Used() uint64 { return l.used }

// RangeCharge is the room that a kept Zero or Trim needs.
func (l *Ledger) RangeCharge() uint64 { return rangeCharge }

// Buffer takes over a piece of memory for which cap(mem) bytes were reserved. It
// comes back by Released when no write refers to it any more.
func (l *Ledger) Buffer(mem []byte) *Buffer {
	b := l.freeBuffers
	if b == nil {
		b = new(Buffer)
	} else {
		l.freeBuffers = b.next
	}
	*b = Buffer{mem: mem}
	return b
}

// Attach makes w one of the writes that have a part of b.
func (l *Ledger) Attach(w *Write, b *Buffer) {
	b.refs++
	w.buf = b
}

// Released returns the next piece of memory that no copy needs any more, or nil.
func (l *Ledger) Released() []byte {
	n := len(l.released)
	if n == 0 {
		return nil
	}
	mem := l.released[n-1]
	l.released[n-1] = nil
	l.released = l.released[:n-1]
	return mem
}

// drop ends w's hold on its memory, or on its room if it is a range.
func (l *Ledger) drop(w *Write) {
	b := w.buf
	switch {
	case b != nil:
		w.buf = nil
		if b.refs--; b.refs > 0 {
			break
		}
		l.used -= uint64(cap(b.mem))
		l.released = append(l.released, b.mem)
		*b = Buffer{next: l.freeBuffers}
		l.freeBuffers = b
	case w.Keep && w.Kind != Data && w.state != idle:
		l.used -= rangeCharge
		w.Keep = false
	}
	w.Data = nil
}

// keep queues an acknowledged write under the session that answered it.
func (l *Ledger) keep(w *Write, s *slot) {
	w.state = kept
	p := s.kept.tail // nearly always the place: answers come in the order of their numbers
	for p != nil && p.number > w.number {
		p = p.prev
	}
	s.kept.insertAfter(p, w)
}

// forget lets a kept write go.
func (l *Ledger) forget(w *Write) {
	switch {
	case w.state == waiting:
		l.unwait(w)
	case w.in != nil:
		w.in.remove(w)
	}
	if w.Replay {
		l.replays--
		if w.state == waiting {
			l.inAir--
		}
	}
	l.kept.remove(w)
	l.free(w)
}

// release lets the copies go that a SYNC up to number made stable.
func (l *Ledger) release(s *slot, number uint64) {
	for w := s.kept.head; w != nil && w.number <= number; w = s.kept.head {
		l.forget(w)
	}
}

// cut takes the blocks of a newly acknowledged write out of every older copy, and reports
// whether one of those was being written again, or could not be.
//
// from and to tell which blocks are free for those that wait: a copy that waited for the ones
// that are cut may go with its others.
func (l *Ledger) cut(off, end uint64) (replaying bool, from, to uint64) {
	from, to = off, end
	for k := l.kept.first(off, end); k != nil; k = l.kept.first(off, end) {
		if k.state == ready || k.state == out || k.state == answered {
			panic("barrier: a newer write was acknowledged while a copy is out")
		}
		replaying = replaying || k.Replay || k.in == &l.failed
		if off <= k.Off && k.End <= end {
			l.forget(k)
			continue
		}
		if k.state == waiting {
			from, to = min(from, k.Off), max(to, k.End)
			l.waits.remove(k)
		}
		switch {
		case k.Off < off && k.End > end:
			r := l.tail(k, end)
			l.trim(k, k.Off, off)
			l.kept.insert(r)
		case k.Off < off:
			l.trim(k, k.Off, off)
		default:
			l.trim(k, end, k.End)
		}
		if k.state == waiting {
			l.waits.put(k)
		}
	}
	return replaying, from, to
}

// trim leaves a copy of [off, end) of the kept write k.
func (l *Ledger) trim(k *Write, off, end uint64) {
	if k.Kind == Data {
		k.Data = k.Data[off-k.Off : end-k.Off]
	}
	l.kept.resize(k, off, end)
}

// tail makes a write of its own of what k has from off on, in the same state and
// behind it in the same queue.
func (l *Ledger) tail(k *Write, off uint64) *Write {
	r := l.New()
	*r = Write{
		Off: off, End: k.End, Kind: k.Kind, NoUnmap: k.NoUnmap, Keep: k.Keep, Replay: k.Replay,
		state: k.state, at: k.at, number: k.number, unknown: k.unknown,
	}
	if k.Kind == Data {
		r.Data = k.Data[off-k.Off:]
	} else {
		l.used += rangeCharge
	}
	if k.buf != nil {
		l.Attach(r, k.buf)
	}
	if k.Replay {
		l.replays++
		if k.state == waiting {
			l.inAir++
		}
	}
	k.in.insertAfter(k, r)
	if k.state == waiting {
		r.wait.order = k.wait.order
		l.waits.put(r)
	}
	return r
}

// replay sends a kept write on its way again.
func (l *Ledger) replay(w *Write) {
	w.Replay, w.state, w.at, w.number = true, pending, -1, 0
	l.pending.push(w)
	l.replays++
	l.replayed++
	if w.Kind == Data {
		l.bytes += w.End - w.Off
	}
}

// replayAll sends every copy kept under s on its way again.
func (l *Ledger) replayAll(s *slot) {
	for w := s.kept.pop(); w != nil; w = s.kept.pop() {
		l.replay(w)
	}
}

// Verdict says what is to become of a read.
type Verdict uint8

// Verdicts on a read.
const (
	Clear  Verdict = iota // it may be sent
	Held                  // a copy of some of its blocks must be written first
	Spoilt                // the device refused to take such a copy again
)

// Read judges a read of [off, end): nothing that overlaps a copy is served before
// that copy has been written again.
func (l *Ledger) Read(off, end uint64) Verdict {
	if l.replays == 0 && l.failed.n == 0 {
		return Clear
	}
	verdict := Clear
	for k := l.kept.first(off, end); k != nil; k = l.kept.first(k.End, end) {
		switch {
		case k.in == &l.failed:
			return Spoilt
		case k.Replay:
			verdict = Held
		}
	}
	return verdict
}

// Retry sends the copies of blocks in [off, end) on their way again that the device refused to
// take: it may take them by now.
func (l *Ledger) Retry(off, end uint64) {
	for k := l.kept.first(off, end); k != nil; k = l.kept.first(k.End, end) {
		if k.in == &l.failed {
			l.failed.remove(k)
			l.replay(k)
		}
	}
}

// Kept is how many copies are kept, those that are written again included.
func (l *Ledger) Kept() int { return l.kept.n }

// Replays is how many copies are on their way to be written again.
func (l *Ledger) Replays() int { return l.replays }

// Moves counts the events by which unstable data may have left the session that answered
// it: it is written again, or a newer write on another session stands in for it.
func (l *Ledger) Moves() uint64 { return l.moves }

// Replayed counts the copies, and their bytes of data, that were ever sent again.
func (l *Ledger) Replayed() (writes, bytes uint64) { return l.replayed, l.bytes }

// DropCopies forgets every copy: another host has written, so they must never be
// sent. Data that only they held is lost. A copy that is out is forgotten when it is
// answered, one that Ready gave out by Discard.
func (l *Ledger) DropCopies() {
	dropped := false
	for k := l.kept.first(0, ^uint64(0)); k != nil; {
		next := l.kept.first(k.End, ^uint64(0))
		dropped = true
		switch {
		case k.state == kept || k.state == pending || k.state == waiting:
			l.forget(k)
		case k.state == ready && k.in == &l.ready:
			l.ready.remove(k)
			l.Discard(k)
		case k.state == answered:
			l.Discard(k)
		default:
			k.dropped = true
		}
		k = next
	}
	if dropped {
		l.losses++
	}
	l.admitAll()
}

// Discard takes back a copy that is not out and was dropped.
func (l *Ledger) Discard(w *Write) {
	if !w.Replay || w.in != nil || w.state != ready && w.state != answered {
		panic("barrier: a write is discarded that is no copy, or out")
	}
	l.out.remove(w)
	if w.unknown != 0 {
		l.haunt(w)
	}
	l.inAir--
	off, end := w.Off, w.End
	l.forget(w)
	l.admit(off, end)
}
