package target

import (
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

type taskState uint8

const (
	taskNew        taskState = iota
	taskCollecting           // waits for its turn, or for data
	taskDelayed              // waits for its time
	taskStored               // the store has it
	taskSending              // has Data-In to send
	taskAnswered             // its status is not acknowledged
	taskHeld                 // it has a status, but no connection
	taskPostponed            // waits for room to keep its answer
)

// A task is one SCSI command.
type task struct {
	t       *Target
	state   taskState
	conn    *Conn    // nil: a ghost
	session *session // nil: a ghost
	nexus   *nexus
	unit    *unit // nil: no logical unit there

	itt, cmdSN uint32
	expected   uint32 // bytes: the expected data transfer length
	lun        scsi.LUN
	cdb        scsi.CDB

	immediate bool
	write     bool        // W: the initiator sends data
	read      bool        // R
	delivered bool        // its turn has come
	parked    bool        // in the session's list and table
	aborted   bool        // taskStored: nobody wants the outcome any more
	reset     bool        // taskStored: another nexus aborted it; the answer is TASK ABORTED
	tmf       *management // waits until the store is done with it
	ending    *ending     // so does this

	preempting *ending // that it is the answer of: PREEMPT AND ABORT

	// refused: it will not be executed, for the reason in status and sense.
	refused bool
	status  scsi.Status
	sense   scsi.Sense
	statSN  uint32 // taskAnswered
	tag     uint32 // SNACK tag

	out dataOut
	in  dataIn

	op     Op
	done   func(now time.Duration)
	next   *task // in the session's list; in the free list
	prev   *task
	due    time.Duration
	serial uint64
	index  int // in the delay queue, -1: not there
	step   int // of a command that takes several operations
	ranges []scsi.Range
}

// dataIn is the state of a command's data to the initiator.
type dataIn struct {
	avail  uint64 // bytes that the command has to give
	length int    // bytes that are sent: no more than expected
	sent   int
	burst  int // bytes since the last F bit
	dataSN uint32
	from   lender // pages to send from; nil: data is in buf
	offset uint64
	buf    *buffer

	// Error recovery level 1 and above.
	runs   []dataRun  // what was sent, the last of them dataSN-1
	acked  uint32     // DataSN before which DataACK has acknowledged all
	held   int        // bytes in runs
	ttt    uint32     // for DataACK; 0: none yet
	ticket pdu.Ticket // of what was sent last
}

func (t *Target) newTask() *task {
	if n := len(t.spare); n > 0 {
		k := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return k
	}
	k := &task{t: t, index: -1}
	k.done = func(now time.Duration) { t.storeDone(now, k) }
	return k
}

// park makes a task that has to wait for something known to its session.
func (k *task) park() {
	k.keep()
	if k.parked || k.session == nil {
		return
	}
	s := k.session
	k.parked = true
	s.tasks[k.itt] = k
	k.prev, k.next = s.last, nil
	if s.last != nil {
		s.last.next = k
	} else {
		s.first = k
	}
	s.last = k
}

func (k *task) unpark() {
	if !k.parked {
		return
	}
	s := k.session
	k.parked = false
	delete(s.tasks, k.itt)
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		s.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		s.last = k.prev
	}
	k.prev, k.next = nil, nil
}

// keep copies data that the receiver lends for the length of a call. Without a
// buffer for it the task is refused.
func (k *task) keep() bool {
	o := &k.out
	if !o.lent {
		return true
	}
	o.lent = false
	if o.buf = k.t.pool.get(len(o.data)); o.buf == nil {
		o.data, o.limit, o.got = nil, 0, 0
		k.refuse(scsi.TaskSetFull, scsi.Sense{})
		return false
	}
	o.data = o.buf.b[:copy(o.buf.b, o.data)]
	return true
}

// discharge ends what the session counts of a task.
func (k *task) discharge() {
	k.unpark()
	s := k.session
	if s == nil || !k.delivered {
		return
	}
	k.delivered = false
	if k.immediate {
		s.immediate--
		return
	}
	s.active--
	s.window()
}

// free ends a task.
func (t *Target) free(k *task) {
	k.discharge()
	if k.index >= 0 {
		t.delayed.remove(k)
	}
	runs := k.in.runs
	k.dropRuns(len(k.in.runs))
	switch b := k.in.buf; {
	case b == nil:
	case k.conn == nil || k.conn.send.Gone(k.in.ticket):
		t.pool.put(b)
	default:
		k.conn.releases.push(release{ticket: k.in.ticket, buf: b})
	}
	k.releaseOut()
	if k.preempting != nil {
		k.preempting.task = nil
	}
	*k = task{t: t, done: k.done, index: -1, ranges: k.ranges[:0]}
	k.in.runs = runs[:0]
	t.spare = append(t.spare, k)
}

// releaseOut gives the memory for data from the initiator to others.
func (k *task) releaseOut() {
	o := &k.out
	if o.starving {
		k.t.stopWaiting(k)
	}
	if o.placing {
		k.conn.recv.Unplace()
	}
	o.placing, o.data, o.lent = false, nil, false
	if o.buf != nil {
		k.t.pool.put(o.buf)
		o.buf = nil
		k.t.serveWaiting()
	}
}

// abort ends a task without an answer. One that its store is working on ends
// when the store is done.
func (t *Target) abort(k *task) {
	switch k.state {
	case taskStored:
		k.aborted = true
		k.discharge()
		return
	case taskSending:
		k.conn.queue.remove(k)
	case taskPostponed:
		k.conn.backlog.remove(k)
	}
	t.free(k)
}

// delayQueue is a heap of tasks by the time at which they are due.
type delayQueue struct{ heap []*task }

func (q *delayQueue) less(i, j int) bool {
	a, b := q.heap[i], q.heap[j]
	return a.due < b.due || a.due == b.due && a.serial < b.serial
}

func (q *delayQueue) swap(i, j int) {
	h := q.heap
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (q *delayQueue) push(k *task) {
	k.index = len(q.heap)
	q.heap = append(q.heap, k)
	q.up(k.index)
}

func (q *delayQueue) remove(k *task) {
	i, last := k.index, len(q.heap)-1
	q.swap(i, last)
	q.heap[last] = nil
	q.heap = q.heap[:last]
	k.index = -1
	if i < last {
		q.down(i)
		q.up(i)
	}
}

func (q *delayQueue) up(i int) {
	for i > 0 && q.less(i, (i-1)/2) {
		q.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (q *delayQueue) down(i int) {
	for {
		child := 2*i + 1
		if child+1 < len(q.heap) && q.less(child+1, child) {
			child++
		}
		if child >= len(q.heap) || !q.less(child, i) {
			return
		}
		q.swap(i, child)
		i = child
	}
}

func (q *delayQueue) deadline() time.Duration {
	if len(q.heap) == 0 {
		return Never
	}
	return q.heap[0].due
}

// delay makes a task wait until due.
func (t *Target) delay(k *task, due time.Duration) {
	t.serial++
	k.state, k.due, k.serial = taskDelayed, due, t.serial
	k.park()
	t.delayed.push(k)
}

// runDelayed executes what is due.
func (t *Target) runDelayed(now time.Duration) {
	for t.delayed.deadline() <= now {
		k := t.delayed.heap[0]
		t.delayed.remove(k)
		if k.state == taskCollecting {
			t.dataLate(now, k)
		} else {
			t.execute(now, k)
		}
	}
}

// refuse says that the task will not be executed. The first reason counts.
func (k *task) refuse(status scsi.Status, sense scsi.Sense) {
	if !k.refused {
		k.refused, k.status, k.sense = true, status, sense
	}
}

// sequence is the acknowledgement that goes with a PDU without status.
func (c *Conn) sequence() (statSN, expCmdSN, maxCmdSN uint32) {
	return c.statSN, c.session.expCmdSN, c.session.maxCmdSN
}

func (k *task) answers() bool { return k.conn != nil && k.conn.state == stateFull && !k.aborted }
