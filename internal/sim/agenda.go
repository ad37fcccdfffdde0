package sim

import (
	"math"
	"time"
)

const never = time.Duration(math.MaxInt64)

// An action is something that happens at a time.
type action interface{ act() }

// call makes an action of a function.
type call func()

func (f call) act() { f() }

type event struct {
	at  time.Duration
	seq uint64
	do  action
}

// agenda is the simulated clock and what is still to happen. What is due at the same time
// happens in the order in which it was entered.
type agenda struct {
	now  time.Duration
	heap []event
	seq  uint64
}

// at enters an action; what should have happened already happens next.
func (a *agenda) at(t time.Duration, do action) {
	a.seq++
	a.heap = append(a.heap, event{max(t, a.now), a.seq, do})
	for i := len(a.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !a.less(i, up) {
			break
		}
		a.heap[i], a.heap[up] = a.heap[up], a.heap[i]
		i = up
	}
}

func (a *agenda) after(d time.Duration, do action) { a.at(a.now+d, do) }

func (a *agenda) less(i, j int) bool {
	x, y := &a.heap[i], &a.heap[j]
	return x.at < y.at || x.at == y.at && x.seq < y.seq
}

// step lets the next action happen; it is false if there is none before limit.
func (a *agenda) step(limit time.Duration) bool {
	if len(a.heap) == 0 || a.heap[0].at > limit {
		return false
	}
	e := a.heap[0]
	last := len(a.heap) - 1
	a.heap[0] = a.heap[last]
	a.heap[last] = event{}
	a.heap = a.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && a.less(child+1, child) {
			child++
		}
		if child >= last || !a.less(child, i) {
			break
		}
		a.heap[i], a.heap[child] = a.heap[child], a.heap[i]
		i = child
	}
	a.now = e.at
	e.do.act()
	return true
}
