package mpath

import "time"

// Load is what a path has to do: bytes, and so many more for each command.
const commandLoad = 16 << 10

const (
	serviceShift = 4  // a new answer weighs a sixteenth
	priceShift   = 10 // bits of a price below one nanosecond

	// restFactor is for how many times its service time a path may be passed over before
	// it is asked again: finding out whether a slow path is fast again costs one client's
	// place a fiftieth of the time at most.
	restFactor = 50
	restMax    = 10 * time.Second

	// queueTime bounds what is out on a path by the time that the path will take for it.
	// Targets end a session whose data they have asked for and not got for some seconds.
	// What waits in the device can still go elsewhere.
	queueTime = time.Second
	// queueFirst is how much load a path gets before its first answer.
	queueFirst = 4 * Chunk
)

// A service is how long a path takes for its load. Commands wait behind one another where
// the rate is what limits a path: the time from sending to answer grows with what was out
// when the command was sent, and the one divided by the other does not depend on how much
// that was. Where it is the distance, or a slow disk, the time stays the same; then the
// price that is found is that of the load that the path has had.
type service struct {
	time  time.Duration // moving average from sending to answer
	load  int64         // moving average of the load when it was sent, its own included
	price uint64        // nanoseconds << priceShift for each unit of load; 0: not known
	used  time.Duration // when a command was sent last
	rest  time.Duration // how long without one until it is asked again
}

// take notes an answer. One that ends a rest stands for itself: what was found before is
// too old.
func (v *service) take(t time.Duration, load uint64, rested bool) {
	if rested || v.price == 0 {
		v.time, v.load = t, int64(load)
	} else {
		v.time += (t - v.time) >> serviceShift
		v.load += (int64(load) - v.load) >> serviceShift
	}
	v.price = max(uint64(v.time)<<priceShift/uint64(v.load), 1)
	v.rest = min(restFactor*v.time, restMax)
}

// rested reports whether a path without a command is to be asked again.
func (v *service) rested(now time.Duration) bool { return now-v.used >= v.rest }

// load is what a command counts on its path.
func (o *op) load() uint64 {
	if o.kind > opWrite {
		return 0
	}
	return o.size + commandLoad
}

// expected is how long a path that gets a command will take for all that it then has, in
// units of the price. A path that has nothing out and has rested long is asked in any case.
func (s *slot) expected(now time.Duration, load uint64) uint64 {
	if s.load == 0 && s.service.rested(now) {
		return 0
	}
	return (s.load + load) * max(s.service.price, 1)
}

// full reports whether a path has enough to do.
func (s *slot) full() bool {
	switch {
	case s.load < Chunk:
		return false
	case s.service.price == 0:
		return s.load >= queueFirst
	}
	return s.load*s.service.price >= uint64(queueTime)<<priceShift
}
