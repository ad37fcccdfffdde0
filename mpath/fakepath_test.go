package mpath

import (
	"errors"
	"math"
	"time"

	"braid/iscsi/scsi"
)

type askedError struct{}

func (askedError) Error() string { return "the target asked for logout" }
func (askedError) Orderly() bool { return true }

var errAsked = askedError{}

var errCut = errors.New("connection cut")

// A fakePath executes commands on a fakeLUN when it is run, in order, unless the test has
// other plans.
type fakePath struct {
	rig   *rig
	slot  int
	via   int
	lun   *fakeLUN
	nexus scsi.Nexus
	up    bool
	err   error
	out   bool // it was asked to log out

	queue  []*scsi.Command // not executed
	done   []*scsi.Command
	ghosts []*past // commands of a lost nexus that may yet be executed

	hold   func(c *scsi.Command, cdb scsi.CDB) bool  // commands that stay where they are
	answer func(c *scsi.Command, cdb scsi.CDB) error // a refusal, nil to execute
	asked  bool                                      // the target asked for logout: no command is taken any more
	heard  []scsi.Attention
	unsent bool // what is handed back had not been sent

	sent     int
	last     time.Duration
	life     time.Duration // the last sign of it; below 0 if that is now
	several  bool          // connections
	probes   int
	silent   time.Duration // since when a sign of life is missing; below 0 if none is
	isCut    bool          // nothing is executed
	refused  bool          // for good, so far
	recovers bool          // it has lost a connection, and has others
	received []scsi.CDB    // of I/O: reads, writes and SYNCs that were executed
}

type past struct {
	cdb  scsi.CDB
	data []byte
}

func (p *fakePath) Submit(now time.Duration, c *scsi.Command) {
	p.sent++
	if p.err != nil {
		c.Err = &scsi.NexusLostError{Cause: p.err}
		p.done = append(p.done, c)
		return
	}
	if p.asked {
		c.Err = &scsi.NexusLostError{Cause: errAsked}
		p.done = append(p.done, c)
		return
	}
	p.last = now
	p.queue = append(p.queue, c)
}

func (p *fakePath) Completed() *scsi.Command {
	if len(p.done) == 0 {
		return nil
	}
	c := p.done[0]
	p.done = p.done[1:]
	return c
}

func (p *fakePath) Heard() (a scsi.Attention, ok bool) {
	if ok = len(p.heard) > 0; ok {
		a, p.heard = p.heard[0], p.heard[1:]
	}
	return a, ok
}

func (p *fakePath) Up() bool                { return p.up && p.err == nil && !p.asked }
func (p *fakePath) Err() error              { return p.err }
func (p *fakePath) Nexus() scsi.Nexus       { return p.nexus }
func (p *fakePath) LastSent() time.Duration { return p.last }
func (p *fakePath) LastLife() (time.Duration, bool) {
	if p.life < 0 {
		return p.rig.now, true // until now
	}
	return p.life, !p.several
}
func (p *fakePath) Probe(time.Duration)           { p.probes++ }
func (p *fakePath) Silent() (time.Duration, bool) { return p.silent, p.silent >= 0 }
func (p *fakePath) Cut() (cut, refused bool)      { return p.isCut, p.refused }
func (p *fakePath) Recovering() bool              { return p.isCut || p.recovers }
func (p *fakePath) Tick(time.Duration)            {}
func (p *fakePath) Deadline() time.Duration       { return time.Duration(math.MaxInt64) }
func (p *fakePath) Logout(time.Duration)          { p.out = true }
func (p *fakePath) Kill(_ time.Duration, e error) { p.kill(e) }

// kill ends the session: what is in the queue comes back, and may be executed later.
func (p *fakePath) kill(err error) {
	if p.err != nil {
		return
	}
	p.err = err
	for _, c := range p.queue {
		cdb, _ := scsi.ParseCDB(c.CDB)
		if !p.unsent {
			p.ghosts = append(p.ghosts, &past{cdb, append([]byte(nil), c.Data...)})
		}
		c.Err = &scsi.NexusLostError{Sent: !p.unsent, Cause: err}
		p.done = append(p.done, c)
	}
	p.queue = nil
}

// haunt executes what a lost session had been sent.
func (p *fakePath) haunt() {
	for _, g := range p.ghosts {
		if g.cdb.Op == scsi.OpWrite16 {
			p.lun.write(g.cdb, g.data)
		}
	}
	p.ghosts = nil
}

// run executes what is in the queue and not held.
func (p *fakePath) run() bool {
	if p.err != nil || p.isCut {
		return false
	}
	moved := false
	rest := p.queue[:0]
	for _, c := range p.queue {
		cdb, err := scsi.ParseCDB(c.CDB)
		if err != nil {
			p.rig.t.Fatalf("CDB % x: %v", c.CDB, err)
		}
		if p.hold != nil && p.hold(c, cdb) {
			rest = append(rest, c)
			continue
		}
		moved = true
		c.Err, c.Transferred = p.execute(c, cdb), 0
		if c.Err == nil {
			c.Transferred = len(c.Data)
			if c.Dir == scsi.Read && cdb.Op != scsi.OpRead16 && cdb.Op != scsi.OpRead10 {
				c.Transferred = p.lun.transferred
			}
		}
		p.done = append(p.done, c)
	}
	p.queue = rest
	if p.asked && len(p.queue) == 0 && len(p.done) == 0 {
		p.err = errAsked
		return true
	}
	if p.out && len(p.queue) == 0 && len(p.done) == 0 {
		p.err = scsi.ErrLoggedOut
		return true
	}
	return moved
}

func (p *fakePath) execute(c *scsi.Command, cdb scsi.CDB) error {
	if p.answer != nil {
		if err := p.answer(c, cdb); err != nil {
			return err
		}
	}
	if f := p.lun.answer; f != nil && cdb.LBA != farLBA {
		if err := f(c, cdb); err != nil {
			return err
		}
	}
	if port := p.rig.ports[p.via]; port != nil {
		if done, err := port.execute(p, c, cdb); done {
			return err
		}
	}
	if _, there := p.rig.keys[p.fakeNexus()]; p.rig.reserved && !there {
		switch cdb.Op {
		case scsi.OpTestUnitReady, scsi.OpInquiry, scsi.OpRead16, scsi.OpServiceActionIn16,
			scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut, scsi.OpMaintenanceIn:
		default:
			return status(scsi.ReservationConflict)
		}
	}
	if c.Reset {
		p.rig.reset()
		return nil
	}
	switch cdb.Op {
	case scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut:
		return p.reserve(c, cdb)
	case scsi.OpRead16, scsi.OpRead10, scsi.OpWrite16, scsi.OpWrite10, scsi.OpUnmap,
		scsi.OpWriteSame16, scsi.OpSynchronizeCache16, scsi.OpSynchronizeCache10:
		if cdb.LBA != farLBA {
			p.received = append(p.received, cdb)
		}
	}
	return p.lun.execute(c, cdb)
}

// count is how many commands with an operation code were executed.
func (p *fakePath) count(op uint8) int {
	n := 0
	for _, c := range p.received {
		if c.Op == op {
			n++
		}
	}
	return n
}

func check(key scsi.Key, asc, ascq uint8) error {
	sense := scsi.Sense{Key: key, ASC: asc, ASCQ: ascq}
	return &scsi.StatusError{Status: scsi.CheckCondition, Sense: sense}
}

func status(s scsi.Status) error { return &scsi.StatusError{Status: s} }

// once refuses the first command with an operation code.
func once(op uint8, err error) func(*scsi.Command, scsi.CDB) error {
	return times(1, op, err)
}

// times refuses the first n commands with an operation code.
func times(n int, op uint8, err error) func(*scsi.Command, scsi.CDB) error {
	return func(_ *scsi.Command, cdb scsi.CDB) error {
		if cdb.Op == op && n > 0 && cdb.LBA != farLBA {
			n--
			return err
		}
		return nil
	}
}

// holding keeps commands with one of some operation codes.
func holding(codes ...uint8) func(*scsi.Command, scsi.CDB) bool {
	return func(_ *scsi.Command, cdb scsi.CDB) bool {
		for _, c := range codes {
			if cdb.Op == c {
				return true
			}
		}
		return false
	}
}
