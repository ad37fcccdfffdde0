package target

import (
	"math/bits"
	"time"

	"braid/iscsi/pdu"
)

// earlyKind is what came before its turn.
type earlyKind uint8

const (
	earlyNone earlyKind = iota
	earlyTask           // a SCSI command
	earlyPDU            // another request
	earlyHole           // a number that is used up: nothing to do
)

// early is a request that came before one with a lower CmdSN.
type early struct {
	kind   earlyKind
	task   *task
	conn   *Conn
	header pdu.Header
	data   *buffer
	n      int // bytes of data
}

// earlyQueue holds the requests of the command window that came early, by CmdSN.
// The window bounds it.
type earlyQueue struct {
	slots []early
	mask  uint32
	count int
}

func (q *earlyQueue) init(depth int) {
	n := 1 << bits.Len(uint(depth))
	q.slots, q.mask = make([]early, n), uint32(n-1)
}

func (q *earlyQueue) at(cmdSN uint32) *early { return &q.slots[cmdSN&q.mask] }

func (q *earlyQueue) put(cmdSN uint32, e early) {
	*q.at(cmdSN) = e
	q.count++
}

func (q *earlyQueue) take(cmdSN uint32) (early, bool) {
	e := q.at(cmdSN)
	if e.kind == earlyNone {
		return early{}, false
	}
	taken := *e
	*e = early{}
	q.count--
	return taken, true
}

func (q *earlyQueue) drop(t *Target, e *early) {
	if e.task != nil {
		t.abort(e.task)
	}
	if e.data != nil {
		t.pool.put(e.data)
	}
}

// clear forgets all.
func (q *earlyQueue) clear(t *Target) {
	for i := range q.slots {
		q.drop(t, &q.slots[i])
		q.slots[i] = early{}
	}
	q.count = 0
}

// forget forgets what came over c.
func (q *earlyQueue) forget(t *Target, c *Conn) {
	for i := range q.slots {
		if e := &q.slots[i]; e.kind != earlyNone && e.kind != earlyHole && e.conn == c {
			q.drop(t, e)
			*e = early{}
			q.count--
		}
	}
}

// order is what is to be done with an ordered request.
type order uint8

const (
	orderNow   order = iota // it is its turn
	orderEarly              // keep it
	orderNever              // outside the window, or there already: ignore it
)

func (s *session) order(cmdSN uint32) order {
	switch {
	case pdu.Less(cmdSN, s.expCmdSN), pdu.Less(s.maxCmdSN, cmdSN):
		return orderNever
	case cmdSN == s.expCmdSN:
		return orderNow
	case s.early.at(cmdSN).kind != earlyNone:
		return orderNever
	}
	return orderEarly
}

// useUp counts a request that was refused: its number is used all the same.
func (s *session) useUp(now time.Duration, cmdSN uint32) {
	switch s.order(cmdSN) {
	case orderNow:
		s.expCmdSN++
		s.window()
		s.deliverEarly(now)
	case orderEarly:
		s.early.put(cmdSN, early{kind: earlyHole})
	}
}

// deliverEarly delivers what has its turn now.
func (s *session) deliverEarly(now time.Duration) {
	if s.draining || s.over {
		return // the outer call goes on
	}
	s.draining = true
	for s.early.count > 0 && !s.over {
		e, ok := s.early.take(s.expCmdSN)
		if !ok {
			break
		}
		s.expCmdSN++
		s.window()
		switch e.kind {
		case earlyTask:
			s.t.deliver(now, e.task)
		case earlyPDU:
			var data []byte
			if e.data != nil {
				data = e.data.b[:e.n]
			}
			if e.conn.state == stateFull && e.conn.session == s {
				e.conn.dispatch(now, &e.header, data)
			}
			if e.data != nil {
				s.t.pool.put(e.data)
			}
		}
	}
	s.draining = false
	s.runManagement(now)
	for _, c := range s.conns {
		c.fill(now)
	}
}
