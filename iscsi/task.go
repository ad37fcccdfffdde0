package iscsi

import (
	"math"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

type taskKind uint8

const (
	kindFree taskKind = iota
	kindCommand
	kindLogin
	kindNop
	kindAbort
	kindLogout
	kindText
)

type taskState uint8

const (
	taskQueued taskState = iota // in the session's queue; nothing was sent
	taskIssued                  // with a connection's Sender, or answered for in part
	taskEnded                   // answered, but not handed back yet: see Conn.complete
)

// A task is what one initiator task tag stands for.
type task struct {
	itt      uint32
	kind     taskKind
	state    taskState
	aborting bool // its ABORT TASK was answered, is under way, or waits for its turn
	gapped   bool // in repair.gapped
	refused  bool // the target will not send its lost data again
	left     bool // its connection was lost after the command had left
	moved    bool // counted in Session.moved
	touched  bool // something of it was sent or has come since the last look
	tries    int  // in a row, in vain: to have it get on
	conn     *Conn
	cmd      *scsi.Command
	order    uint64 // of submission
	cmdSN    uint32
	deadline time.Duration // when it is aborted

	// The Sender's names of its SCSI Command and of its last Data-Out.
	command, lastData pdu.Ticket

	in  reading
	out writing
}

const (
	taskChunk   = 64
	taskFirst   = 2 * taskChunk // tags before any is used twice
	taskMax     = 0xffff        // index 0xffff is left out: no tag is ever 0xffffffff
	indexMask   = 0xffff
	generations = 0x10000
)

// A taskTable finds tasks by initiator task tag without a map: the lower half of
// the tag is the slot, the upper half counts the uses of the slot. Slots are used
// in turn, so that a tag comes back after at least taskFirst * 65536 tasks.
type taskTable struct {
	chunks [][]task // of taskChunk each, so that tasks do not move
	slots  int
	free   ring[uint16]

	// earliest is a lower bound of the deadlines of all commands.
	earliest time.Duration
}

func (tt *taskTable) init() {
	tt.earliest = math.MaxInt64
	for tt.slots < taskFirst {
		tt.grow()
	}
}

func (tt *taskTable) grow() {
	chunk := make([]task, taskChunk)
	for i := range chunk {
		if tt.slots == taskMax {
			break
		}
		chunk[i].itt = uint32(tt.slots)
		tt.free.push(uint16(tt.slots))
		tt.slots++
	}
	tt.chunks = append(tt.chunks, chunk)
}

// get takes a tag into use. It returns nil if all 65535 are in use.
func (tt *taskTable) get(kind taskKind) *task {
	if tt.free.len() == 0 {
		if tt.slots == taskMax {
			return nil
		}
		tt.grow()
	}
	t := tt.slot(int(tt.free.pop()))
	t.kind = kind
	return t
}

func (tt *taskTable) slot(i int) *task { return &tt.chunks[i/taskChunk][i%taskChunk] }

// find returns the task of a tag, nil if the tag is not in use.
func (tt *taskTable) find(itt uint32) *task {
	i := int(itt & indexMask)
	if i >= tt.slots {
		return nil
	}
	t := tt.slot(i)
	if t.itt != itt || t.kind == kindFree {
		return nil
	}
	return t
}

// findFor returns the task of a tag if it is of that kind and on that connection.
func (tt *taskTable) findFor(itt uint32, kind taskKind, c *Conn) *task {
	t := tt.find(itt)
	if t == nil || t.kind != kind || t.conn != c {
		return nil
	}
	return t
}

func (tt *taskTable) put(t *task) {
	if t.kind == kindFree {
		panic("iscsi: task freed twice")
	}
	tt.free.push(uint16(t.itt & indexMask))
	itt := t.itt + generations
	t.forget()
	*t = task{itt: itt, in: t.in, out: t.out}
}

// forget leaves nothing of a task's transfers but the memory that they took.
func (t *task) forget() {
	t.in = reading{seen: t.in.seen[:0], sn: numbers{later: t.in.sn.later[:0]}}
	t.out = writing{seen: t.out.seen[:0], sn: numbers{later: t.out.sn.later[:0]}}
}

// inUse counts the tags in use.
func (tt *taskTable) inUse() int { return tt.slots - tt.free.len() }

// watch sets a command's deadline; a timeout of zero is none.
func (tt *taskTable) watch(t *task, now, timeout time.Duration) {
	t.deadline = math.MaxInt64
	if timeout > 0 {
		t.deadline = now + timeout
		tt.earliest = min(tt.earliest, t.deadline)
	}
}

// expired calls late for each command whose deadline has passed and puts its
// deadline out of sight. All slots are looked at, but only when the earliest
// deadline noted has passed, which is about once per command timeout.
func (tt *taskTable) expired(now time.Duration, late func(*task)) {
	if now < tt.earliest {
		return
	}
	tt.earliest = math.MaxInt64
	for i := range tt.slots {
		t := tt.slot(i)
		if t.kind != kindCommand {
			continue
		}
		if t.deadline <= now {
			t.deadline = math.MaxInt64
			late(t)
			continue
		}
		tt.earliest = min(tt.earliest, t.deadline)
	}
}
