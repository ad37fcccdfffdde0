package mpath

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"braid/barrier"
	"braid/iscsi/scsi"
)

const (
	rBlocks = 64 // blocks that the random run works on
	rSize   = rBlocks * lunBlock
)

// A chaos run submits random requests while paths die, come back, refuse, and answer out of
// order, and holds what is read against what was answered.
type chaos struct {
	*rig
	rand    *rand.Rand
	retain  bool
	acked   [rBlocks]byte             // what the last acknowledged write put there
	unknown [rBlocks]map[byte]bool    // besides acked, what may be there
	times   [rBlocks]int              // how often a write to it was acknowledged
	covers  map[*Request][rBlocks]int // times, when a flush was submitted
	busy    [rBlocks]int              // writes under way
	next    byte
}

func (c *chaos) blocks(q *Request) (from, to uint64) {
	return q.Offset / lunBlock, (q.Offset + q.Length) / lunBlock
}

// request submits something. Writes do not overlap: the order of their acknowledgements
// would not tell which came last.
func (c *chaos) request() {
	off := c.rand.Uint64N(rBlocks)
	n := 1 + c.rand.Uint64N(min(8, rBlocks-off))
	q := &Request{Offset: off * lunBlock, Length: n * lunBlock, Client: c.rand.Uint64N(3)}
	switch k := c.rand.IntN(10); {
	case k < 4:
		q.Op, q.Data = Read, chunks(q.Length, 0xee)
	case k < 9:
		for b := off; b < off+n; b++ {
			if c.busy[b] > 0 {
				return
			}
		}
		c.next = c.next%200 + 1
		q.Op, q.FUA, q.User = Write, c.rand.IntN(8) == 0, c.next
		if q.Data = chunks(q.Length, c.next); c.rand.IntN(6) == 0 {
			q.Op, q.User, q.Data = WriteZeroes, byte(0), nil
		}
		for b := off; b < off+n; b++ {
			c.busy[b]++
			c.unknown[b][q.User.(byte)] = true
		}
	default:
		*q = Request{Op: Flush, Client: q.Client}
		c.covers[q] = c.times
	}
	c.submit(q)
}

func (c *chaos) finished(q *Request) {
	from, to := c.blocks(q)
	switch q.Op {
	case Read:
		if q.Err != OK {
			if q.Reason != errSpoilt {
				c.t.Fatalf("a read failed: %v", q.Reason)
			}
			return
		}
		for b := from; b < to; b++ {
			c.judge(b, q.Data[0][(b-from)*lunBlock:(b-from+1)*lunBlock], "read")
		}
	case Write, WriteZeroes:
		for b := from; b < to; b++ {
			c.busy[b]--
			if q.Err == OK {
				c.acked[b] = q.User.(byte)
				c.times[b]++
				clear(c.unknown[b])
			}
		}
		if q.Err != OK && q.Err != EIO {
			c.t.Fatalf("a write failed: %d %v", q.Err, q.Reason)
		}
		if q.FUA && q.Err == OK {
			c.durable(from, to, &c.times, "write with FUA")
		}
	case Flush:
		if q.Err == OK {
			was := c.covers[q]
			c.durable(0, rBlocks, &was, "flush")
		}
		delete(c.covers, q)
	}
}

// durable expects stable storage to hold what was acknowledged, if nothing newer was since.
func (c *chaos) durable(from, to uint64, was *[rBlocks]int, what string) {
	if c.d.ledger.Losses() > 0 {
		return // clients were told
	}
	for b := from; b < to; b++ {
		got := c.lun.stable[b*lunBlock]
		if was[b] == c.times[b] && got != c.acked[b] && !c.unknown[b][got] {
			c.t.Fatalf("after a %s block %d is %d on stable storage, acknowledged was %d",
				what, b, got, c.acked[b])
		}
	}
}

// judge expects a block to hold what was acknowledged last, or what is under way.
func (c *chaos) judge(b uint64, got []byte, what string) {
	if !bytes.Equal(got, bytes.Repeat(got[:1], lunBlock)) {
		c.t.Fatalf("%s: block %d is torn", what, b)
	}
	if got[0] != c.acked[b] && !c.unknown[b][got[0]] {
		c.t.Fatalf("%s: block %d is %d, acknowledged was %d", what, b, got[0], c.acked[b])
	}
}

// trouble makes something go wrong.
func (c *chaos) trouble() {
	i := c.rand.IntN(len(c.d.slots))
	p, _ := c.d.slots[i].path.(*fakePath)
	if p == nil || p.err != nil {
		return
	}
	switch c.rand.IntN(8) {
	case 0, 1:
		p.unsent = c.rand.IntN(4) == 0
		p.kill(errCut)
		p.lun = c.lun
	case 2:
		p.answer = once(scsi.OpWrite16, status(scsi.Busy))
	case 3:
		p.answer = once(scsi.OpRead16, check(scsi.AbortedCommand, 0x0b, 0))
	case 4:
		p.answer = once(scsi.OpSynchronizeCache16, status(scsi.TaskSetFull))
	case 5:
		p.answer = once(scsi.OpWrite16, check(scsi.MediumError, 0x0c, 0))
	case 6:
		if c.retain && c.rand.IntN(3) == 0 {
			c.restart()
		}
	case 7:
		p.answer = once(scsi.OpWrite16, check(scsi.UnitAttention, 0x29, 0x07))
	}
}

// restart is the target's: every session ends, and so does what they had been sent.
func (c *chaos) restart() {
	c.lun.loseCache()
	for _, p := range c.paths {
		p.kill(errCut)
		p.ghosts = nil
	}
}

// work lets some commands be executed and answered, in any order, and ghosts walk.
func (c *chaos) work() {
	for _, p := range c.paths {
		if p.err != nil && len(p.ghosts) > 0 && c.rand.IntN(4) == 0 && !c.reinstated(p) {
			p.haunt()
		}
		if p.err == nil && len(p.queue) > 1 && c.rand.IntN(2) == 0 {
			c.rand.Shuffle(len(p.queue), func(i, j int) {
				p.queue[i], p.queue[j] = p.queue[j], p.queue[i]
			})
		}
		p.hold = func(*scsi.Command, scsi.CDB) bool { return c.rand.IntN(3) == 0 }
		p.run()
	}
}

// reinstated reports whether a later session of the slot came up in the same portal group:
// the target has ended the tasks of p then.
func (c *chaos) reinstated(p *fakePath) bool {
	seen := false
	for _, o := range c.paths {
		if o == p {
			seen = true
		} else if seen && o.slot == p.slot && o.up {
			p.ghosts = nil
			return true
		}
	}
	return false
}

// TestChaos: no request is lost or ended twice, nothing that was acknowledged is taken back,
// and what was flushed is stable.
func TestChaos(t *testing.T) {
	runs := 30
	if testing.Short() {
		runs = 10
	}
	for seed := range uint64(runs) {
		for _, mode := range []barrier.Mode{barrier.Drain, barrier.Hold, barrier.Epoch} {
			t.Run(fmt.Sprintf("seed %d mode %d", seed, mode), func(t *testing.T) { runChaos(t, seed, mode) })
		}
	}
}

func runChaos(t *testing.T, seed uint64, mode barrier.Mode) {
	rnd := rand.New(rand.NewPCG(seed, uint64(mode)))
	c := &chaos{rand: rnd, retain: seed%4 != 0, covers: map[*Request][rBlocks]int{}}
	for b := range c.unknown {
		c.unknown[b] = map[byte]bool{}
	}
	c.rig = ready(t, 1+int(seed%3), func(cfg *Config, l *fakeLUN) {
		cfg.Barrier, cfg.Selector = mode, Selector(seed%3)
		cfg.Rand = rand.New(rand.NewPCG(seed, 99))
		l.mode.DPOFUA = seed%2 == 0
		if !c.retain {
			cfg.Retain = 0
		} else if seed%5 == 0 {
			cfg.Retain = 16 << 10
		}
	})
	for range 600 {
		if c.rand.IntN(2) == 0 && len(c.over) < 10000 {
			c.request()
		}
		if c.rand.IntN(30) == 0 {
			c.trouble()
		}
		c.work()
		c.now += time.Duration(c.rand.IntN(200)) * ms / 10
		c.d.Step(c.now)
		for _, q := range c.done() {
			c.finished(q)
		}
	}
	for _, p := range c.paths {
		p.hold, p.answer = nil, nil
	}
	c.heal()
}

// heal lets everything go well: every request must come to an end, once.
func (c *chaos) heal() {
	for range 4000 {
		for _, p := range c.paths {
			p.hold, p.answer = nil, nil
			p.run()
		}
		c.now += 50 * ms
		c.d.Step(c.now)
		for _, q := range c.done() {
			c.finished(q)
		}
		if c.d.Idle() {
			break
		}
	}
	for q, over := range c.over {
		if !over {
			c.t.Fatalf("%+v never ended", q)
		}
	}
	c.want(c.flush0(), OK)
	c.after(time.Minute)
	st := c.d.Status(c.now)
	if st.Retained != 0 || st.Unstable != 0 || st.Doubtful != 0 || st.InFlight != 0 {
		c.t.Errorf("at rest: %+v", st)
	}
	for b := range uint64(rBlocks) {
		c.judge(b, c.lun.stable[b*lunBlock:(b+1)*lunBlock], "at rest")
	}
}

// flush0 flushes until a loss that was to be told is told.
func (c *chaos) flush0() *Request {
	for range 3 {
		q := c.flush()
		c.after(time.Minute) // for a session that has to come back first
		if c.isDone(q) && q.Err == OK {
			return q
		}
	}
	return c.flush()
}
