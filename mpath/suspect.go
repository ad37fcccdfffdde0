package mpath

import (
	"errors"
	"log/slog"
	"time"

	"braid/barrier"
)

// A path is suspect when a command takes much longer than it usually does there. That is no
// proof of anything: the path is asked for a sign of life at once, new commands go
// elsewhere, and reads are sent again elsewhere. Only silence, while another path answers,
// ends it early. One that has no connection is suspect at once; if it is refused a new one,
// it ends as soon as another path answers.
const (
	slowFactor  = 8                      // times the usual service time
	slowMin     = 250 * time.Millisecond // and no less
	slowMax     = 5 * time.Second        // and no more
	silentLimit = time.Second            // without a sign of life that was asked for
)

var (
	errSilent  = errors.New("no sign of life, while another path answers")
	errRefused = errors.New("no portal lets it in again, while another path answers")
	errUnused  = errors.New("its connection was lost before it was used")
)

// unused reports whether the session is still being verified, or is there only to fence. To
// recover it is worth nothing, as no I/O is out on it, and takes longer than a new one.
func (s *slot) unused() bool {
	switch s.state {
	case recording, probing, proving, fencing, settling:
		return true
	}
	return false
}

// patience is how long a read or write may take before its path is suspect.
func (s *slot) patience() time.Duration {
	return min(max(slowFactor*s.stats.ServiceTime, slowMin), slowMax)
}

// oldest is the longest unanswered read or write that is not the only thing asked of the
// device, nil if there is none. Commands that may well be slow are left out.
func (s *slot) oldest() *op {
	for o := s.out.head; o != nil; o = o.next {
		if o.kind <= opWrite && o.cmd.Timeout == ioTimeout {
			return o
		}
	}
	return nil
}

// dueBy is when a command makes its path suspect. A path that has cleared itself has its
// patience again.
func (s *slot) dueBy(o *op) time.Duration { return max(o.sent, s.clearedAt) + s.patience() }

// stepSuspect finds out whether a path is slow or cut, and what follows.
func (d *Device) stepSuspect(s *slot) {
	if s.path == nil {
		s.suspectAt = never
		return
	}
	cut, refused := s.path.Cut()
	if !s.inLedger {
		s.suspectAt = never
		if cut && s.unused() {
			s.path.Kill(d.now, errUnused)
			d.lose(s)
		}
		return
	}
	o := s.oldest()
	switch {
	case s.suspectAt == never:
		if !cut && (o == nil || d.now < s.dueBy(o)) {
			return
		}
		d.suspect(s, cut)
	case !cut && (s.proven >= s.suspectAt || o == nil):
		s.suspectAt, s.clearedAt = never, d.now // it answered something that was asked later
		return
	}
	d.hedge(s, cut)
	since, silent := s.path.Silent()
	if silent {
		d.askVerified(since)
	}
	if silent && s.asked < since {
		s.asked = d.now // the silence is younger than what they were asked last
		d.checkSiblings()
	}
	late := silent && o != nil && d.now >= since+silentLimit
	if (late || refused) && d.othersAnswer(s, since) {
		cause := errSilent
		if refused {
			cause = errRefused
		}
		s.path.Kill(d.now, cause)
		d.lose(s)
	}
}

func (d *Device) suspect(s *slot, cut bool) {
	s.suspectAt, s.asked = d.now, d.now
	if cut {
		d.log(slog.LevelInfo, "path is cut", "path", s.name)
	} else {
		d.log(slog.LevelInfo, "path is slow", "path", s.name, "usually", s.stats.ServiceTime,
			"patience", s.patience())
	}
	s.path.Probe(d.now)
	d.checkSiblings()
}

// askVerified asks those for a sign of life that are verified and wait for others to show one.
func (d *Device) askVerified(since time.Duration) {
	for _, s := range d.slots {
		if s.state == proving && s.proven < since && s.out.n == 0 {
			d.check(s)
		}
	}
}

// othersAnswer reports whether another path answered something that was sent since then. One
// that is verified, and waits for s to show that it lives, is as good. But where it is the
// only one, the end of s ends the last session that knows what became of the cache: that costs
// no more than time only while every copy is there.
func (d *Device) othersAnswer(s *slot, since time.Duration) bool {
	for _, o := range d.slots {
		if o == s || o.proven < since {
			continue
		}
		if o.inLedger || o.state == proving && !d.ledger.Bare() {
			return true
		}
	}
	return false
}

// suspectDeadline is when the slot's suspicion has to be looked at.
func (s *slot) suspectDeadline(now time.Duration) time.Duration {
	if !s.inLedger || s.path == nil {
		return never
	}
	if s.suspectAt == never {
		if o := s.oldest(); o != nil {
			return s.dueBy(o)
		}
		return never
	}
	next := never
	if since, silent := s.path.Silent(); silent && since+silentLimit > now {
		next = since + silentLimit
	}
	if o := s.nextHedge(); o != nil {
		next = min(next, o.sent+s.patience())
	}
	return next
}

// hedge sends the reads again, elsewhere and into memory of their own, that a suspect path
// has not answered in time, or all if it is cut: each at most once.
func (d *Device) hedge(s *slot, cut bool) {
	for o := s.nextHedge(); o != nil && (cut || d.now >= o.sent+s.patience()); o = s.nextHedge() {
		o.hedged = true
		if d.ledger.Read(o.off, o.off+uint64(len(o.data))) != barrier.Clear {
			continue
		}
		other := d.choose(o, 1<<s.index)
		if other == nil || other == s || other.suspectAt != never {
			return
		}
		mem := d.cfg.Pool.Get(len(o.data))
		if mem == nil {
			return
		}
		h := d.newOp(opRead)
		h.req, h.piece, h.off, h.data = o.req, o.piece, o.off, mem
		h.own, h.hedged, h.twin, o.twin = true, true, o, h
		d.buildRead(h)
		h.epoch = d.ledger.Epoch()
		s.stats.Hedged++
		d.submit(other, h)
	}
}

// nextHedge is the oldest read that could be sent again elsewhere.
func (s *slot) nextHedge() *op {
	for o := s.out.head; o != nil; o = o.next {
		if o.kind == opRead && !o.hedged && o.req != nil && o.whole {
			return o
		}
	}
	return nil
}

// spare takes the answer to a read that was sent twice, if the other one decides. What the
// answer tells of the device counts all the same.
func (d *Device) spare(s *slot, o *op) bool {
	lost := o.kind == opRead && o.req == nil
	failed := o.twin != nil && (o.cmd.Err != nil || o.cmd.Transferred < len(o.data))
	if !lost && !failed {
		return false
	}
	if o.cmd.Err != nil {
		d.notice(s, judge(o.cmd.Err).notice)
	}
	if lost {
		d.bury(o)
	} else {
		d.forsake(o)
	}
	return true
}

// won takes the first answer to a read that was sent twice. The memory that it lies in
// becomes the request's; the other one's stays in use until its session is done with it.
func (d *Device) won(o *op) {
	loser := o.twin
	o.twin, loser.twin = nil, nil
	if o.own {
		loser.data, o.req.Data[o.piece] = o.req.Data[o.piece], o.data
	}
	loser.req = nil
}

// bury ends the one that lost: nobody refers to its memory any more.
func (d *Device) bury(o *op) {
	d.cfg.Pool.Put(o.data)
	d.freeOp(o)
}

// forsake ends one of the two that failed: the other one answers for both.
func (d *Device) forsake(o *op) {
	other := o.twin
	other.twin = nil
	if !o.own {
		o.data, o.req.Data[o.piece] = o.req.Data[o.piece], other.data
	}
	d.bury(o)
}
