package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A workload is what the clients ask for: every slot of a client has one request open, or
// thinks about the next.
type workload struct {
	w     *world
	rng   *rand.Rand
	left  int           // requests still to be asked
	asked int           // so far
	open  int           // asked, and neither answered nor given up
	think time.Duration // mean
}

func newWorkload(w *world, rng *rand.Rand) *workload {
	c := &w.cfg
	return &workload{
		w: w, rng: rng, left: c.Ops,
		think: c.Think,
	}
}

func (k *workload) begin() {
	for _, c := range k.w.people {
		for range k.w.cfg.Slots {
			k.later(c)
		}
	}
}

// later lets a slot of c ask after a while.
func (k *workload) later(c *client) {
	d := time.Duration(k.rng.ExpFloat64() * float64(k.think))
	k.w.agenda.after(min(d, 10*k.think), call(func() { k.ask(c) }))
}

func (k *workload) ask(c *client) {
	if k.left == 0 {
		return
	}
	k.left--
	r := k.draw(c)
	k.asked++
	if slices.Contains(k.w.cfg.Unasked, k.asked) {
		k.later(c)
		return
	}
	k.open++
	c.send(r)
}

// freed says that a request of c is over.
func (k *workload) freed(c *client) {
	k.open--
	if !k.w.closing {
		k.later(c)
	}
}

// draw makes up a request.
func (k *workload) draw(from *client) *request {
	c := &k.w.cfg
	blocks := c.Blocks - c.Growth
	if from.size > 0 {
		blocks = from.size / uint64(c.BlockSize)
	}
	r := &request{}
	anew := from.anew
	from.anew = false
	switch n := k.rng.IntN(100); {
	case anew && n < 50: // before any write, which would have to wait for fences
		r.kind = opFlush
	case n < 36:
		r.kind = opRead
	case n < 74:
		r.kind = opWrite
	case n < 83:
		r.kind = opFlush
	case n < 89:
		r.kind = opTrim
	case n < 98:
		r.kind = opZero
		r.noHole = k.rng.IntN(2) == 0
	default:
		r.kind = opCache
	}
	if r.kind == opFlush {
		return r
	}
	r.fua = k.rng.IntN(8) == 0 && r.kind != opRead && r.kind != opCache
	if k.rng.IntN(80) == 0 { // above the size of one command
		r.n = (256<<10+uint64(k.rng.IntN(400<<10)))/uint64(c.BlockSize) + 1
		r.lba = k.rng.Uint64N(blocks - r.n + 1)
		return r
	}
	span := c.Hot
	if k.rng.IntN(16) == 0 {
		span = blocks
	}
	r.n = 1 + k.rng.Uint64N(min(8, span))
	r.lba = k.rng.Uint64N(span - r.n + 1)
	return r
}
