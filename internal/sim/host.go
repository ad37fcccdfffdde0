package sim

import (
	"math/rand/v2"
	"time"
)

// A host is one process with its loop: in a round it serves its sockets, takes a step, and
// sends what the step made ready.
type host struct {
	a    *agenda
	rng  *rand.Rand
	name string
	step func(now time.Duration) (next time.Duration)

	next   time.Duration // when the next round is
	frozen time.Duration // until then there is none: the process is stopped
	off    bool          // the machine is off: packets to it are lost

	ready  []*sock // may have something to read
	kicked []*sock // may have something to send, or read again
	spare  []*sock
	bufs   [][]byte
}

func newHost(a *agenda, rng *rand.Rand, name string) *host {
	return &host{a: a, rng: rng, name: name, next: never}
}

// wake lets the next round be at t or, if it is earlier already, then.
func (h *host) wake(t time.Duration) {
	t = max(t, h.a.now, h.frozen)
	if t < h.next {
		h.next = t
		h.a.at(t, h)
	}
}

// soon wakes the host as an event of the kernel does: after a moment in which more may
// come.
func (h *host) soon() {
	h.wake(h.a.now + time.Duration(1+h.rng.Int64N(int64(60*time.Microsecond))))
}

// freeze stops the process for d.
func (h *host) freeze(d time.Duration) {
	h.frozen = h.a.now + d
	h.next = never
	h.wake(h.frozen)
}

// forget drops what the process was to look at: it was killed.
func (h *host) forget() {
	clear(h.ready)
	clear(h.kicked)
	h.ready, h.kicked = h.ready[:0], h.kicked[:0]
}

// act is one round.
func (h *host) act() {
	if h.a.now != h.next || h.a.now < h.frozen {
		return // a later or an earlier round took its place
	}
	h.next = never
	list := h.ready
	h.ready = h.spare[:0]
	h.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, s := range list {
		s.queued = false
		s.read()
	}
	h.spare = list[:0]

	next := h.step(h.a.now)

	list = h.kicked
	h.kicked = h.spare[:0]
	for _, s := range list {
		s.kicked = false
		s.write()
	}
	h.spare = list[:0]
	if len(h.ready)+len(h.kicked) > 0 {
		h.soon()
	}
	if next != never {
		late := time.Duration(0)
		if next > h.a.now { // the kernel waits in milliseconds
			late = time.Duration(h.rng.Int64N(int64(time.Millisecond)))
		}
		h.wake(max(next, h.a.now+time.Microsecond) + late)
	}
}

// portion is how many of n bytes the kernel moves at a time: mostly all.
func (h *host) portion(n int) int {
	switch h.rng.IntN(16) {
	case 0:
		return 1 + h.rng.IntN(min(n, 64))
	case 1, 2:
		return 1 + h.rng.IntN(n)
	}
	return n
}
