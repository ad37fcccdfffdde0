package sim

import (
	"fmt"
	"time"
)

// opKind is what a client asks for.
type opKind uint8

const (
	opRead opKind = iota
	opWrite
	opFlush
	opTrim
	opZero
	opCache
)

var opNames = [...]string{"read", "write", "flush", "trim", "zero", "cache"}

// A request is one request of a client, as the client knows it.
type request struct {
	id       uint32 // from 1
	kind     opKind
	fua      bool
	noHole   bool
	lba, n   uint64 // blocks
	begun    uint64 // moments: the auditor counts what it is told
	ended    uint64 // 0: not yet, or nobody knows
	started  time.Duration
	finished bool
	asks     bool // it only asks how things are, and may fail
	client   int
	daemon   int // which one it was last sent to
}

func (r *request) String() string {
	s := fmt.Sprintf("#%d %s", r.id, opNames[r.kind])
	if r.kind != opFlush {
		s += fmt.Sprintf(" [%d,%d)", r.lba, r.lba+r.n)
	}
	if r.fua {
		s += " fua"
	}
	return s
}

// changes reports whether it changes blocks.
func (r *request) changes() bool {
	return r.kind == opWrite || r.kind == opTrim || r.kind == opZero
}

// syncs reports whether the answer means that something is stable.
func (r *request) syncs() bool { return r.kind == opFlush || r.fua }

// A disk tells what a block would hold after a loss of the cache.
type disk interface {
	ReadStable(dst []byte, lba uint64)
}

// An auditor judges answers. It knows what clients asked for and when, when they were
// answered, and what is on the disk; of the engines it knows nothing. Time is a count of
// moments: the beginnings and the answers of requests.
//
// Every block is a register. A value that a write gave it may be read unless the write
// was over before a later one that was acknowledged before the read began. "Later" is
// known in two ways: it began after the other was acknowledged, or a read that began after
// the other was acknowledged returned it. A write that was never acknowledged may come at
// any time, and may be taken back by a loss of the cache, or by the copy of an older write
// that is written again when a session was lost. What a loss of the cache may do to
// those that were acknowledged stands in crash.go.
type auditor struct {
	blockSize int
	blocks    []register
	disk      disk
	ops       []*request // by id
	moment    uint64
	open      map[*request]bool
	scratch   []byte
	lastWhole uint64
	crash     crash
	lin       linear
	now       func() time.Duration

	excused func(r *request, errno uint32) bool // may it end with an error?

	fault string // the first finding

	reads, writes, flushes, judged, errors int
}

// register is a block's history.
type register struct {
	touched bool
	checked uint32 // the last flush that was held against its stable content
	writes  []access
}

// access is one write to one block.
type access struct {
	op    uint32
	zero  bool
	begun uint64
	acked uint64 // 0: not acknowledged
	seen  uint64 // when the last read began that returned it

	promised uint64 // acknowledged once, and a crash may have taken it back since
	firm     bool   // a flush, or FUA, made it stable: no crash takes it back
}

func newAuditor(blockSize int, blocks uint64, d disk) *auditor {
	return &auditor{
		blockSize: blockSize, blocks: make([]register, blocks), disk: d,
		ops: make([]*request, 1), moment: 1, open: map[*request]bool{}, scratch: make([]byte, blockSize),
		crash: newCrash(),
	}
}

func (a *auditor) find(format string, args ...any) {
	if a.fault == "" {
		a.fault = fmt.Sprintf(format, args...)
	}
}

// begin takes note of a request that is about to be sent.
func (a *auditor) begin(r *request) {
	r.id = uint32(len(a.ops))
	a.ops = append(a.ops, r)
	a.moment++
	r.begun = a.moment
	a.open[r] = true
	switch r.kind {
	case opWrite, opTrim, opZero:
		for lba := r.lba; lba < r.lba+r.n; lba++ {
			b := &a.blocks[lba]
			if !b.touched {
				b.touched = true
				b.writes = append(b.writes,
					access{op: zeroOp, zero: true, acked: 1, begun: 1, firm: true})
			}
			b.writes = append(b.writes, access{op: r.id, zero: r.kind != opWrite, begun: r.begun})
		}
		a.lin.begin(r)
	}
}

// again takes note that a request whose answer was never seen is sent once more.
func (a *auditor) again(r *request) {
	if r.kind == opRead || r.kind == opFlush {
		a.moment++
		r.begun = a.moment
	} else if r.changes() {
		a.lin.resent(r)
	}
}

// lost takes note that nobody waits for a request any more and its outcome is not known.
func (a *auditor) lost(r *request) {
	r.finished = true
	delete(a.open, r)
}

// end judges an answer.
func (a *auditor) end(r *request, errno uint32, data []byte) {
	if r.finished {
		a.find("%v is answered twice", r)
		return
	}
	r.finished = true
	a.moment++
	if errno != 0 { // what it did is not known, now or ever
		delete(a.open, r)
		a.errors++
		if r.syncs() {
			a.told(r.client)
		}
		if r.changes() {
			a.lin.fail(r, a.moment)
		}
		if !a.excused(r, errno) {
			a.find("%v ends with error %d", r, errno)
		}
		return
	}
	r.ended = a.moment
	switch r.kind {
	case opRead:
		a.reads++
		a.judgeRead(r, data)
	case opWrite, opTrim, opZero:
		a.writes++
		a.acknowledge(r)
		if r.fua {
			a.judgeStable(r, r.lba, r.lba+r.n, a.moment, r.id)
		}
	case opFlush:
		a.flushes++
		a.flushed(r)
	}
	delete(a.open, r)
}

func (a *auditor) acknowledge(r *request) {
	for lba := r.lba; lba < r.lba+r.n; lba++ {
		b := &a.blocks[lba]
		if w := b.find(r.id); w != nil {
			w.acked, w.firm = a.moment, r.fua
		}
		if !r.fua {
			a.crash.unflushed = append(a.crash.unflushed,
				promise{op: r.id, lba: lba, acked: a.moment, daemon: r.daemon})
		}
		if len(b.writes) > 12 {
			a.forget(b)
		}
	}
	a.lin.acknowledge(r, a.moment, a.now())
	a.crash.late(a, r)
}

// find finds what a request did to the block, nil if that is forgotten.
func (b *register) find(op uint32) *access {
	for i := range b.writes {
		if b.writes[i].op == op {
			return &b.writes[i]
		}
	}
	return nil
}

// judgeRead holds the blocks of a read against their histories.
func (a *auditor) judgeRead(r *request, data []byte) {
	if len(data) != int(r.n)*a.blockSize {
		a.find("%v returned %d bytes", r, len(data))
		return
	}
	for i := range r.n {
		lba := r.lba + i
		content := data[int(i)*a.blockSize:][:a.blockSize]
		op, err := readStamp(content, lba, true)
		if err != nil {
			a.find("%v: block %d holds %v", r, lba, err)
			return
		}
		a.judged++
		a.lin.read(r, lba, op, a.moment)
		if why := a.blocks[lba].judge(op, r.begun, r.begun, 0); why != nil {
			a.find("%v: block %d: %s", r, lba, a.explain(lba, why))
			return
		}
	}
}

// judgeStable holds the stable content of blocks against what was acknowledged before a
// moment, or against one write if only is not 0: r promised that it is there.
func (a *auditor) judgeStable(r *request, from, to, before uint64, only uint32) {
	for lba := from; lba < to; lba++ {
		a.disk.ReadStable(a.scratch, lba)
		a.lastWhole++
		op, err := readStamp(a.scratch, lba, a.lastWhole%8 == 0)
		if err != nil {
			a.find("after %v: block %d of the disk holds %v", r, lba, err)
			return
		}
		a.judged++
		if why := a.blocks[lba].judge(op, before+1, 0, only); why != nil {
			a.find("after %v the stable content of block %d is not what was promised: %s",
				r, lba, a.explain(lba, why))
			return
		}
	}
}

// A doubt says why a block cannot hold what it holds.
type doubt struct {
	op     uint32
	later  uint32 // the acknowledged write that came after it, 0 if it is none of the known
	byRead bool
}

// judge says whether the value of op may be there for who looks at a moment, and takes
// note of a read that saw it, if seen is not 0. With only, nothing but that write stands
// against it.
func (b *register) judge(op uint32, moment, seen uint64, only uint32) *doubt {
	if !b.touched {
		if op == zeroOp {
			return nil
		}
		return &doubt{op: op}
	}
	var why *doubt
	var fits *access
	count := 0
	for i := range b.writes {
		w := &b.writes[i]
		if w.op != op && !(op == zeroOp && w.zero) {
			continue
		}
		if d := b.superseded(w, moment, only, false); d != nil {
			why = d
			continue
		}
		fits = w
		count++
	}
	if count == 0 {
		if why == nil {
			why = &doubt{op: op}
		}
		return why
	}
	if count == 1 && seen != 0 {
		fits.seen = max(fits.seen, seen)
	}
	return nil
}

// superseded finds a write that was acknowledged before moment and came after w. With firm
// only one counts that no crash takes back.
func (b *register) superseded(w *access, moment uint64, only uint32, firm bool) *doubt {
	end := w.acked
	if end == 0 {
		end = w.promised
	}
	if end == 0 {
		return nil
	}
	for i := range b.writes {
		o := &b.writes[i]
		if o.acked == 0 || o.acked >= moment || o == w || only != 0 && o.op != only ||
			firm && !o.firm {
			continue
		}
		if end < o.begun || w.acked != 0 && end < o.seen {
			return &doubt{w.op, o.op, end >= o.begun}
		}
	}
	return nil
}

// forget drops what no request can return rightly any more.
func (a *auditor) forget(b *register) {
	oldest := a.moment
	for r := range a.open {
		oldest = min(oldest, r.begun)
	}
	kept := b.writes[:0]
	var doomed []bool
	for i := range b.writes {
		doomed = append(doomed, b.superseded(&b.writes[i], oldest, 0, a.crash.possible) != nil)
	}
	for i, w := range b.writes {
		if !doomed[i] {
			kept = append(kept, w)
		}
	}
	b.writes = kept
}

func (a *auditor) explain(lba uint64, d *doubt) string {
	was := fmt.Sprintf("the value of %v", a.name(d.op))
	switch {
	case d.later == 0:
		return was + ", which was overwritten long ago, or never written"
	case d.byRead:
		return fmt.Sprintf("%s, but a read saw %v after it, which was acknowledged since",
			was, a.name(d.later))
	}
	return fmt.Sprintf("%s, but %v came after it and was acknowledged", was, a.name(d.later))
}

func (a *auditor) name(op uint32) string {
	if op == zeroOp || int(op) >= len(a.ops) {
		return "the beginning"
	}
	return a.ops[op].String()
}

// final holds the whole stable image against all that was acknowledged.
func (a *auditor) final() {
	a.moment++
	for lba := range uint64(len(a.blocks)) {
		a.disk.ReadStable(a.scratch, lba)
		op, err := readStamp(a.scratch, lba, true)
		if err != nil {
			a.find("at the end block %d of the disk holds %v", lba, err)
			return
		}
		if why := a.blocks[lba].judge(op, a.moment, 0, 0); why != nil {
			a.find("at the end block %d of the disk holds %s", lba, a.explain(lba, why))
			return
		}
	}
}
