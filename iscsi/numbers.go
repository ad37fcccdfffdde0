package iscsi

// numbers keeps account of things that a target numbers one by one: the DataSN or
// R2TSN of a task, the StatSN of a connection. A number that is missing is one
// below the highest that is known to exist.
//
// Numbers here are ints that do not wrap; they keep the order that the 32 bits on
// the wire have within half their circle.
type numbers struct {
	next  int     // all before it have arrived
	known int     // all before it exist
	asked int     // those missing before it have been asked for
	later extents // arrived, beyond next
}

// number is the one that sn on the wire stands for: that nearest to next.
func (n *numbers) number(sn uint32) int { return n.next + int(int32(sn-uint32(n.next))) }

// fresh says whether a number has not arrived yet.
func (n *numbers) fresh(i int) bool {
	if i < n.next {
		return false
	}
	for _, e := range n.later {
		if e.from <= i && i < e.to {
			return false
		}
	}
	return true
}

// arrive notes a fresh number. It is false if there are too many gaps.
func (n *numbers) arrive(i int) bool {
	n.exists(i)
	if i == n.next && len(n.later) == 0 {
		n.next++
		return true
	}
	if !n.later.add(i, i+1) {
		return false
	}
	if n.later[0].from == n.next {
		n.next = n.later[0].to
		n.later = append(n.later[:0], n.later[1:]...)
	}
	return true
}

// exists notes that a number was used, whether it has arrived or not.
func (n *numbers) exists(i int) { n.known = max(n.known, i+1) }

// missing says whether any is.
func (n *numbers) missing() bool { return n.next < n.known }

// run is the first run of missing numbers at or after from; ok is false if there
// is none.
func (n *numbers) run(from int) (r extent, ok bool) {
	from = max(from, n.next)
	for _, e := range n.later {
		if from < e.from {
			return extent{from, e.from}, true
		}
		from = max(from, e.to)
	}
	return extent{from, n.known}, from < n.known
}

// restart forgets all from next on, and counts on from there.
func (n *numbers) restart(next int) {
	*n = numbers{next: next, known: next, asked: next, later: n.later[:0]}
}
