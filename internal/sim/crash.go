package sim

// What is promised when a target loses its cache.
//
// A write that was acknowledged and not flushed lives in two places: the target's cache,
// and the copy that the daemon keeps. It is there as long as one of them is. It may be
// gone when the cache was lost since the write began, and there is no copy: the daemon that
// answered it died, it was told to forget its copies, or it keeps none at all. From then on
// such a write counts as one that was never acknowledged.
//
// A daemon that lives and has no copy must tell: the next flush of every client that was
// connected at the loss fails. A flush that succeeds without that promises the lost writes
// like any others. Where no copies are kept at all, a client that came after a write was
// acknowledged is promised nothing of it; but the kernel means the device, and not one of its
// connections.
type crash struct {
	possible bool // what is acknowledged may be lost in this run

	noCopies bool // retain = 0, or shared
	loss     uint64
	dead     int // the last daemon that died

	unflushed []promise
	owed      []promise // lost, and somebody has to be told
	told      map[int]uint64
	came      map[int]uint64
	tolds     map[int]int // errors of flushes since the client came
}

// A promise is one acknowledged write to one block.
type promise struct {
	op     uint32
	lba    uint64
	acked  uint64
	daemon int    // that acknowledged it
	lost   uint64 // when
	passed bool   // lost, and the daemon that ended left word of it to the next one
}

func newCrash() crash {
	return crash{told: map[int]uint64{}, came: map[int]uint64{}, tolds: map[int]int{}}
}

// arrived takes note of a new connection of a client. The kernel is there all the time.
func (c *crash) arrived(client int, moment uint64, kernel bool) {
	c.tolds[client] = 0
	if !kernel {
		c.came[client] = moment
	}
}

// mayTell reports whether there may have been a loss to tell of.
func (c *crash) mayTell() bool { return c.noCopies || c.dead > 0 }

// told takes note that a flush of a client failed. It knows then that what was not flushed
// may be lost, and no later flush promises it again.
func (a *auditor) told(client int) {
	c := &a.crash
	c.told[client] = a.moment
	c.tolds[client]++
	if c.mayTell() {
		a.soften(a.moment)
	}
}

// cacheLost takes note that unstable data in the target is gone, or some of it.
func (a *auditor) cacheLost() {
	a.moment++
	a.crash.loss = a.moment
	a.lin.event(a.moment, a.now())
	a.soften(a.moment)
}

// daemonDied takes note that a daemon was killed, or has ended. If it left word of a loss, the
// next one has to tell of it.
func (a *auditor) daemonDied(number int, untold bool) {
	a.moment++
	for i := range a.crash.owed {
		a.crash.owed[i].passed = untold
	}
	a.crash.dead = number
	a.lin.event(a.moment, a.now())
	a.lin.died(a.moment)
	a.soften(a.moment)
}

// copiesForgotten takes note that the daemon is told, at some time from now on, to forget
// its copies: somebody else has written. Nothing is known of when, and of what it has.
func (a *auditor) copiesForgotten() {
	a.crash.noCopies = true
	a.soften(a.moment)
}

// late looks at a write whose answer was on its way when the cache was lost. Who has been
// told of that loss since has been told of this one too.
func (c *crash) late(a *auditor, r *request) {
	if c.loss > r.begun {
		a.soften(c.loss)
	}
}

// soften takes back the promise of what may be gone.
func (a *auditor) soften(lost uint64) {
	c := &a.crash
	if !c.possible {
		return
	}
	kept := c.unflushed[:0]
	for _, p := range c.unflushed {
		begun := a.ops[p.op].begun
		died := p.daemon <= c.dead
		told := false
		for _, t := range c.told {
			told = told || t > p.acked && c.mayTell()
		}
		if !told && (c.loss <= begun || !(c.noCopies || died)) {
			kept = append(kept, p)
			continue
		}
		if w := a.blocks[p.lba].find(p.op); w != nil && w.acked != 0 {
			w.promised, w.acked = w.acked, 0
		}
		a.lin.soften(p.op, p.lba)
		if !died {
			p.lost = lost
			c.owed = append(c.owed, p)
		}
	}
	c.unflushed = kept
	if owed := c.owed[:0]; c.dead > 0 { // who should have told is dead
		for _, p := range c.owed {
			if p.daemon > c.dead || p.passed {
				owed = append(owed, p)
			}
		}
		c.owed = owed
	}
}

// flushed judges a flush that succeeded: all that it covers is on the disk.
func (a *auditor) flushed(r *request) {
	c := &a.crash
	kept := c.unflushed[:0]
	for _, p := range c.unflushed {
		if p.acked >= r.begun || c.noCopies && p.acked <= c.came[r.client] {
			kept = append(kept, p)
			continue
		}
		b := &a.blocks[p.lba]
		if b.checked != r.id {
			b.checked = r.id
			a.judgeStable(r, p.lba, p.lba+1, r.begun, 0)
		}
		if w := b.find(p.op); w != nil {
			w.firm = true
		}
		a.lin.flushed(p.op, p.lba, a.moment)
	}
	c.unflushed = kept
	for _, p := range c.owed {
		if p.acked < r.begun && p.lost > c.told[r.client] && p.acked > c.came[r.client] {
			a.judgeOwed(r, p)
		}
	}
}

// judgeOwed holds a block against a write that was lost and of which nobody told the
// client.
func (a *auditor) judgeOwed(r *request, p promise) {
	b := &a.blocks[p.lba]
	o := b.find(p.op)
	if o == nil {
		return // overwritten since
	}
	a.disk.ReadStable(a.scratch, p.lba)
	op, err := readStamp(a.scratch, p.lba, true)
	if err != nil {
		a.find("after %v: block %d of the disk holds %v", r, p.lba, err)
		return
	}
	a.judged++
	older := true
	known := false
	for i := range b.writes {
		w := &b.writes[i]
		if w.op == op || op == zeroOp && w.zero {
			end := max(w.acked, w.promised)
			older = older && w != o && end != 0 && end < o.begun
			known = true
		}
	}
	if older || !known {
		a.find("after %v, which succeeded, the stable content of block %d is the value of %v: %v "+
			"was lost, and client %d was not told", r, p.lba, a.name(op), a.name(p.op), r.client)
	}
}
