package iscsi

// A ring is a first-in first-out queue that grows by doubling and allocates
// nothing in the steady state.
type ring[T any] struct {
	items []T // length is zero or a power of two
	head  int
	n     int
}

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) push(v T) {
	if r.n == len(r.items) {
		grown := make([]T, max(16, 2*len(r.items)))
		for i := range r.n {
			grown[i] = r.items[(r.head+i)&(len(r.items)-1)]
		}
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)&(len(r.items)-1)] = v
	r.n++
}

// peek returns the oldest item; the ring must not be empty.
func (r *ring[T]) peek() T { return r.items[r.head] }

// pop removes and returns the oldest item; the ring must not be empty.
func (r *ring[T]) pop() T {
	if r.n == 0 {
		panic("iscsi: pop of an empty ring")
	}
	var zero T
	v := r.items[r.head]
	r.items[r.head] = zero
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	return v
}
