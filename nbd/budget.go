package nbd

import "math/bits"

// A budget bounds the bytes in flight. Each client has a reserve, room for one
// largest request that nobody else can take; what lies beyond is shared. So a
// client that does not read its replies, or whose requests are slow, never
// keeps another from going on. What a client that went away has left with the
// Device is counted as shared.
type budget struct {
	reserve   int64 // per client
	perClient int64 // the most of one client
	total     int64
	clients   int   // the most at a time
	live      int   // connected now
	beyond    int64 // in use beyond the reserves
}

// newBudget makes limits consistent: a client can always have one largest
// request out, and there are no more clients than there are reserves for.
func newBudget(largest, perClient, total int64, clients int) budget {
	total = max(total, largest)
	clients = int(min(int64(clients), total/largest))
	return budget{
		reserve:   largest,
		perClient: max(perClient, largest),
		total:     total,
		clients:   clients,
	}
}

// join admits a client, if its reserve is there.
func (b *budget) join() bool {
	if b.live >= b.clients || int64(b.live+1)*b.reserve+b.beyond > b.total {
		return false
	}
	b.live++
	return true
}

// leave turns what the client still holds into shared use.
func (b *budget) leave(held int64) {
	b.live--
	b.beyond += min(held, b.reserve)
}

// take charges a connected client that holds held bytes with n more, if there
// is room.
func (b *budget) take(held, n int64) bool {
	if held+n > b.perClient {
		return false
	}
	grow := max(held+n-b.reserve, 0) - max(held-b.reserve, 0)
	if grow > 0 && b.beyond+grow > b.total-int64(b.clients)*b.reserve {
		return false
	}
	b.beyond += grow
	return true
}

// give takes n bytes off a client that holds held bytes.
func (b *budget) give(held, n int64, gone bool) {
	if gone {
		b.beyond -= n
		return
	}
	b.beyond -= max(held-b.reserve, 0) - max(held-n-b.reserve, 0)
}

// charge is what n bytes of payload take of a Pool whose buffers are powers of
// two.
func charge(n uint64) int64 {
	c := n / Chunk * Chunk
	if rest := n % Chunk; rest > 0 {
		c += max(uint64(1)<<bits.Len64(rest-1), minBuffer)
	}
	return int64(c)
}
