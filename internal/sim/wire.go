package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"braid/internal/loop"
)

// way is a direction on a wire.
type way uint8

const (
	inward  way = iota // from who dialled
	outward            // to who dialled
)

func (d way) back() way { return 1 - d }

// A wire is what the connections to one address run over.
type wire struct {
	a      *agenda
	rng    *rand.Rand
	near   *host // who dials
	far    *host // who is dialled
	accept func(s *sock) loop.Stream

	base, jitter time.Duration
	patience     time.Duration // with a dial
	dark         [2]bool
	cut          bool // dials are refused
	sndCap       int
	rcvCap       int

	pairs  []*pair
	dials  []*sock // nobody has answered them yet
	spare  [][]byte
	held   []*lane // wait for light
	silent []*lane // their acknowledgements do
}

// A pair is one connection.
type pair struct{ near, far *sock }

func (p *pair) over() bool {
	return p.near.state == sockClosed && p.far.state == sockClosed && !p.far.served
}

func (w *wire) latency() time.Duration {
	d := w.base
	if w.jitter > 0 {
		d += time.Duration(w.rng.Int64N(int64(w.jitter)))
	}
	return d
}

// synPauses is how long a kernel waits before it sends a SYN again.
var synPauses = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// dial starts a connection for s.
func (w *wire) dial(stream loop.Stream) *sock {
	s := &sock{h: w.near, stream: stream, rxCap: w.rcvCap}
	w.a.after(w.patience, call(func() { s.refuse(errTimeout) }))
	w.dials = slices.DeleteFunc(w.dials, func(o *sock) bool { return o.state != sockDialing })
	w.dials = append(w.dials, s)
	w.syn(s, 0)
	return s
}

// syn sends a SYN, and again if nothing comes of it.
func (w *wire) syn(s *sock, try int) {
	w.a.after(w.latency(), call(func() {
		switch {
		case s.state != sockDialing || s.out != nil:
		case w.dark[inward] || w.far.off:
			if try < len(synPauses) {
				w.a.after(synPauses[try], call(func() { w.syn(s, try+1) }))
			}
		case w.cut:
			w.refuse(s)
		default:
			w.open(s)
		}
	}))
}

func (w *wire) refuse(s *sock) {
	w.a.after(w.latency(), call(func() {
		if !w.dark[outward] {
			s.refuse(errRefused)
		}
	}))
}

// open is the arrival of a SYN.
func (w *wire) open(s *sock) {
	far := &sock{h: w.far, rxCap: w.rcvCap, state: sockActive}
	far.stream = w.accept(far)
	if far.stream == nil {
		w.refuse(s)
		return
	}
	s.out = &lane{w: w, way: inward, from: s, to: far, capacity: w.sndCap}
	far.out = &lane{w: w, way: outward, from: far, to: s, capacity: w.sndCap}
	s.from, far.from = far.out, s.out
	w.tidy()
	w.pairs = append(w.pairs, &pair{s, far})
	far.out.push(nil, segSYN)
	far.Kick() // it may speak first
	w.far.soon()
}

// tidy forgets connections that are over.
func (w *wire) tidy() {
	kept := w.pairs[:0]
	for _, p := range w.pairs {
		if !p.over() {
			kept = append(kept, p)
		}
	}
	clear(w.pairs[len(kept):])
	w.pairs = kept
}

// live lists the connections that are not over.
func (w *wire) live() []*pair {
	w.tidy()
	return w.pairs
}

// bury ends every socket of h, whose process was killed.
func (w *wire) bury(h *host) {
	if h == w.near {
		for _, s := range w.dials {
			if s.state == sockDialing {
				s.orphan()
			}
		}
	}
	for _, p := range w.live() {
		if h == w.near {
			p.near.orphan()
		} else {
			p.far.orphan()
		}
	}
}

// other is the far end of a connection, nil if it was never there.
func (w *wire) other(near *sock) *sock {
	for _, p := range w.pairs {
		if p.near == near {
			return p.far
		}
	}
	return nil
}

// setDark makes a direction swallow everything, or carry again: senders then try again
// after a while.
func (w *wire) setDark(d way, dark bool) {
	w.dark[d] = dark
	if !dark {
		w.relight()
	}
}

// take gives an empty buffer for n bytes on their way.
func (w *wire) take(n int) []byte {
	if last := len(w.spare) - 1; last >= 0 {
		b := w.spare[last]
		w.spare = w.spare[:last]
		if cap(b) >= n {
			return b[:0:n]
		}
	}
	return make([]byte, 0, n)
}

func (w *wire) giveBack(b []byte) {
	if cap(b) > 0 && len(w.spare) < 64 {
		w.spare = append(w.spare, b)
	}
}

// relight lets lanes go on that waited for light, or for the machine at their end.
func (w *wire) relight() {
	lanes := append(append([]*lane(nil), w.held...), w.silent...)
	w.held, w.silent = nil, nil
	for _, l := range lanes {
		w.a.after(time.Duration(w.rng.Int64N(int64(w.patience/8))), call(func() {
			l.lit()
			if l.held {
				w.held = append(w.held, l)
			} else if l.unacked > 0 {
				w.silent = append(w.silent, l)
			}
		}))
	}
}

// cutPair breaks a connection from the middle. Each end hears of it in its own time; one
// may not hear of it at all.
func (w *wire) cutPair(p *pair) {
	ends := []*sock{p.near, p.far}
	deaf := w.rng.IntN(8)
	for i, s := range ends {
		if s.from == nil || deaf == i {
			continue
		}
		w.a.after(time.Duration(w.rng.Int64N(int64(20*time.Millisecond))), call(func() {
			if !s.from.dead {
				s.from.sever()
			}
		}))
	}
}
